#!/usr/bin/perl

# An agent that does not move any more: serving goes on, `ecert status` says
# so within seconds, it catches up when it moves again, and a reload brings a
# new one.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Life;
use Ecert::Process;
use Ecert::Server;
use Ecert::Test;

for my $kind (servers()) {
    subtest $kind => sub {
        my ($server, $store) = site_server($kind);
        $server->start;

        stopped($server, $store);
        replaced($server, $store);
        stopped_at_the_end($server, $store);
    };
}
done_testing;

sub stopped ($server, $store) {
    my $before = serves($server);
    my $leaf = pki->leaf(names => [$site]);
    my @agents = $server->agents;

    is +(status($server))[0], 0, 'status finds all in order';
    kill 'STOP', @agents;
    $store->install($site, $leaf);
    is serves($server), $before, 'the last one is served';
    my ($exit, $said);
    my $took = took(sub { ($exit, $said) = status($server); 1 });
    is $exit, 1, 'status fails';
    like $said, qr/does not answer/, 'and says that the agent does not answer';
    cmp_ok $took, '<', patience(10), 'within seconds';

    kill 'CONT', @agents;
    is_served($server, $leaf, 'it catches up');
    is +(status($server))[0], 0, 'and answers';
    is_deeply [sort $server->agents], [sort @agents], 'the same processes';
}

sub replaced ($server, $store) {
    my @agents = $server->agents;
    my $leaf = pki->leaf(names => [$site]);

    kill 'STOP', @agents;
    $store->install($site, $leaf);
    ok $server->reload, 'stopped, and reload';
    is_served($server, $leaf, 'the new agent knows what came meanwhile');
    swaps($server, $store, 'and works');
    kill 'CONT', @agents;
    one_pair($server, 'the old ones leave when they move again', @agents);
    my ($exit, $said) = status($server);
    is $exit, 0, 'status finds all in order' or diag $said;
}

sub stopped_at_the_end ($server, $store) {
    my @agents = $server->agents;

    kill 'STOP', (guard_and_worker($server))[0];
    ok $server->stop, 'stop: a guard that does not move is taken along';
    is_deeply [$store->in_run], [], 'nothing is left';

    $server->start;
    kill 'STOP', (guard_and_worker($server))[1];
    ok $server->stop, 'so is a worker';
    kill 'KILL', grep { Ecert::Process::alive($_) } @agents;
}
