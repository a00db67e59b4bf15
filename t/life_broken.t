#!/usr/bin/perl

# A configuration that cannot be used does no harm to what runs; the servers'
# own test finds it beforehand, tells about bad sites, and leaves no process.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Client;
use Ecert::Life;
use Ecert::Process;
use Ecert::Server;
use Ecert::Test;

for my $kind (servers()) {
    subtest $kind => sub {
        my ($server, $store) = site_server($kind);
        $server->start;

        failed_reload($server, $store);
        test_tells($server, $store);
        ok $server->stop, 'stops, and the agent with it';
        test_while_stopped($server);
        agent_missing($server, $store);
    };
}
done_testing;

# apachectl tests the configuration before it sends the signal; httpd itself
# would end at a broken one, with or without us.
sub failed_reload ($server, $store) {
    my @agents = sort $server->agents;

    $server->write_config(conf => { ecert_dcv => 'perhaps' });
    my ($status, $out) = $server->configtest;
    isnt $status, 0, 'a broken configuration fails its test';
    like $out, qr/perhaps|must be On or Off/, 'which says why';
    if ($server->kind eq 'nginx') {
        $server->mark;
        $server->signal('HUP');
        ok $server->wait_log(qr/perhaps/, 15), 'a reload with it fails, too';
    }
    is_deeply [sort $server->agents], \@agents, 'the same agent goes on';
    swaps($server, $store, 'and works');
    $server->write_config(conf => {});
    ok $server->reload, 'the next good one is taken';
    one_pair($server, 'with a new agent', @agents);
}

sub test_tells ($server, $store) {
    my @agents = sort $server->agents;
    my ($status, $out) = $server->configtest;
    is $status, 0, 'a good configuration passes';
    unlike $out, qr/site|\[(?:warn|error)/, 'and nothing is said';

    my $good = serves($server);
    $server->mark;
    $store->install($site, pki->leaf(names => [$site]),
        key => pki->leaf(names => [$site]), generation => 900);
    ($status, $out) = $server->configtest;
    is $status, 0, 'a bad site keeps no server from starting';
    like $out, qr/site \Q$site\E: key-mismatch: /, 'but it is told';
    like $out, qr{\Q@{[$store->site_dir($site)]}\E/\S+}, 'with the file';
    is_deeply [sort $server->agents], \@agents, 'no agent is left behind';
    is serves($server), $good, 'what is served is the same';
    $store->current($site, 1);
}

sub test_while_stopped ($server) {
    my ($status, $out) = $server->configtest;
    is $status, 0, 'the test of a server that does not run' or diag $out;
    is scalar(() = $server->agents), 0, 'leaves no agent behind';
    is scalar($server->{store}->in_run), 0, 'and no socket';
}

# Refused where nothing runs yet; what runs goes on.
sub agent_missing ($server, $store) {
    my $plain = tmp() . '/' . $server->kind . '-plain';
    $store->put($plain, "#!/bin/sh\n", 0644);

    for my $agent ("$plain-none", $plain, tmp()) {
        $server->write_config(agent => $agent);
        $server->mark;
        ok !$server->try_start, "no start with the agent $agent";
        like $server->{said} . $server->log, qr/agent: \Q$agent\E: /,
            'and a message that names it';
        isnt +($server->configtest)[0], 0, 'nor does it pass the test';
        $server->stop if $server->alive;
    }
    is scalar(() = $server->agents), 0, 'no agent';
}
