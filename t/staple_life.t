#!/usr/bin/perl

# The life of a staple: over restarts and reloads, and while the responder is
# down.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Client;
use Ecert::Live;
use Ecert::Responder;
use Ecert::Server;
use Ecert::Staples;
use Ecert::Store;
use Ecert::Test;

for my $kind (servers()) {
    subtest "$kind, restart and reload" => sub { kept($kind) };
    subtest "$kind, responder down at a swap" => sub { down($kind) };
    subtest "$kind, off, and nothing to ask" => sub { silent($kind) };
    subtest "$kind, two sites, versions, resumption" => sub { two($kind) };
}
done_testing;

sub kept ($kind) {
    my ($responder, $leaf) = responder(1);
    my ($server, $store) = server($kind, $leaf);
    is staple($server), good($leaf), 'stapled';
    is scalar(my @files = glob $store->dir . '/ocsp/*.der'), 1,
        'the store keeps it';
    my $asked = $responder->asked;
    is $asked, 1, 'the responder was asked once';
    $responder->stop;

    $server->reload;
    is staple($server), good($leaf), 'after a reload, without the responder';
    unlink @files;
    $server->reload;
    is staple($server), good($leaf), 'and without the file';
    $server->stop;
    $server->start;
    is staple($server), 'none -', 'a new start has nothing then';
    $server->stop;

    $responder->start;
    $server->start;
    is staple($server), good($leaf), 'a new start asks';
    $responder->stop;
    $server->restart;
    is staple($server), good($leaf), 'after a restart, without the responder';
    $store->put($_, 'garbage', 0644) for @files;
    $server->restart;
    is staple($server), 'none -', 'what is damaged is not sent';
}

sub down ($kind) {
    my ($responder, @leaves) = responder(2);
    my ($server, $store) = server($kind, $leaves[0]);
    is staple($server), good($leaves[0]), 'stapled';
    $responder->stop;
    $store->install($site, $leaves[1]);
    my $took = becomes($server, $site, [$leaves[1], $pki->sub, $pki->cross],
        'the swap goes on');
    cmp_ok $took // 9999, '<', patience(5), 'within the deadline';
    is staple($server), 'none -', 'a handshake goes without a staple';
    told($server, $site, 'fetch', $responder->url, 'it is told why');
    is scalar(grep { /: (?:error|crit|emerg)/ } complaints($server, $site)), 0,
        'no error';
    my $state = status_of($server, $site)->{staple};
    is $state->{state}, 'none', 'status: none';
    like $state->{error}, qr/no connection/, 'status: why';
    $store->current($site, 1);
    becomes($server, $site, [$leaves[0], $pki->sub, $pki->cross], 'back');
    is staple($server), good($leaves[0]), 'with its staple, which was kept';
}

sub silent ($kind) {
    my ($responder, $leaf) = responder(1);
    my ($server, $store) = server($kind, $leaf, ecert_stapling => 'off');
    is staple($server), 'none -', 'off: nothing is sent';
    is $responder->asked, 0, 'off: nobody is asked';
    is status_of($server, $site)->{staple}, undef, 'off: status has nothing';
    $server->stop;

    my $plain = $pki->leaf(names => [$site]);
    ($server, $store) = server($kind, $plain);
    is staple($server), 'none -', 'no responder in the leaf: nothing is sent';
    is_deeply [complaints($server, $site)], [], 'without a word';
    is status_of($server, $site)->{staple}, undef, 'status has nothing';
}

sub two ($kind) {
    my $responder = Ecert::Responder->new($pki->sub);
    my %leaf = map { $_ => $pki->leaf(names => [$_],
        extensions => $responder->aia) } qw(a.example.hk b.example.hk);
    $responder->knows($_) for values %leaf;
    $responder->start;
    my $store = Ecert::Store->new->add_issuers($pki->sub, $pki->cross);
    $store->install($_, $leaf{$_}) for keys %leaf;
    my $server = Ecert::Server->new($kind, store => $store,
        conf => { ecert_fetch => $allow },
        vhosts => [map { { names => [$_], ecert => 'on' } } sort keys %leaf],
        )->start;
    for my $name (sort keys %leaf) {
        is staple($server, $name, "-tls1_$_"), good($leaf{$name}),
            "$name, TLS 1.$_" for 2, 3;
    }
    for my $version ('1.2', '1.3') {
        my $first = handshake($server->port, name => 'a.example.hk',
            version => $version);
        my $second = handshake($server->port, name => 'a.example.hk',
            version => $version, session => $first->{session});
        ok $second->{ok} && $second->{resumed}, "TLS $version: resumed";
    }
    is_deeply [complaints($server, 'a.example.hk')], [], 'no complaint';
}
