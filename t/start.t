#!/usr/bin/perl

# Before the first certificate both servers start and answer with a
# placeholder; the site goes live when its certificate comes, without reload.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Client;
use Ecert::PKI;
use Ecert::Process;
use Ecert::Server;
use Ecert::Store;
use Ecert::Test;

my $site = 'www.example.hk';
my $pki = Ecert::PKI->new;
my $leaf = $pki->leaf(names => [$site, 'example.hk']);
my @chain = map { $_->fingerprint } $leaf, $pki->sub, $pki->cross;

for my $kind (servers()) {
    subtest $kind => sub {
        my $store = Ecert::Store->new->add_issuers($pki->sub, $pki->cross);
        my $server = Ecert::Server->new($kind, store => $store, vhosts => [
            { names => [$site, 'example.hk'], ecert => 'on' },
            { names => ['second.example.hk'], ecert => 'second.example.hk' },
        ]);
        placeholder($server->start);
        goes_live($server, $store);
        certificate_from_the_start($server);
        configtest_leaves_nothing($server);
        ok $server->stop, 'stops, and the agent with it';
    };
}
done_testing;

sub placeholder ($server) {
    my %uid = map { (Ecert::Process::uids($_))[0] => 1 } $server->workers;
    is_deeply [keys %uid], [scalar getpwnam 'www-data'], 'workers: www-data'
        if $> == 0;
    is scalar(() = $server->agents), 2, 'the agent is a pair';

    for my $version ('1.2', '1.3') {
        my $answer = handshake($server->port, name => $site,
            version => $version);
        is $answer->{body}, "$site\n", "TLS $version answers"
            or diag $answer->{error};
        my ($cert) = @{ $answer->{certs} };
        ok $cert && $cert->is_self_signed, 'with a self-signed certificate';
    }
    isnt +(served($server->port, $site))[0],
        (served($server->port, 'second.example.hk'))[0],
        'each site has its own';
    ok $server->wait_log(qr/site \Q$site\E: no-site: /),
        'the error log says that there is none yet';
}

sub goes_live ($server, $store) {
    my @workers = $server->workers;
    my $open = handshake($server->port, name => $site, keep => 1);

    $store->install($site, $leaf);
    my $took = took(sub { "@{[served($server->port, $site)]}" eq "@chain" });
    ok defined $took, 'served with Sub CA and cross-certificate';
    cmp_ok $took, '<', patience(1), 'within a second' if defined $took;

    for my $root ('root', 'cross_root') {
        my $answer = handshake($server->port, name => $site,
            roots => $pki->$root->file(tmp() . "/$root.pem"));
        ok $answer->{verified}, "a client that has only the $root verifies it"
            or diag $answer->{verify_error};
    }
    ok +(handshake($server->port, name => 'second.example.hk'))
        ->{certs}[0]->is_self_signed, 'the other site still waits';
    is_deeply [sort $server->workers], [sort @workers], 'the same workers';
    is still_open($open), 200, 'the connection of before goes on';
}

sub still_open ($answer) {
    return 'closed' if !$answer->{connection};
    return $answer->{connection}->exchange('GET',
        "GET / HTTP/1.1\r\nHost: $site\r\n\r\n")->{status};
}

sub certificate_from_the_start ($server) {
    $server->restart;
    is_deeply [served($server->port, $site)], \@chain,
        'after a restart the first handshake has the certificate';
}

sub configtest_leaves_nothing ($server) {
    my @agents = sort $server->agents;
    my ($status, $out) = $server->configtest;

    is $status, 0, 'configtest finds nothing wrong' or diag $out;
    is_deeply [sort $server->agents], \@agents, 'and leaves no agent behind';
}
