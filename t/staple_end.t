#!/usr/bin/perl

# The end of a staple: after a revocation, and when its time is over.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Live;
use Ecert::Server;
use Ecert::Staples;
use Ecert::Test;

for my $kind (servers()) {
    subtest "$kind, refreshed, then revoked" => sub { revoked($kind) };
    subtest "$kind, ended" => sub { ended($kind) };
}
done_testing;

# A minute of life, of which a part is over: refreshed half-way, as often as it
# takes, so that it does not matter how long something takes here.
sub revoked ($kind) {
    my ($responder, $leaf) = responder(1, minutes => 1, ago => 25);
    my ($server, $store) = server($kind, $leaf);
    is staple($server), good($leaf), 'stapled';
    my $first = status_of($server, $site)->{staple};
    is $first->{state}, 'good', 'status: good';
    $responder->stop;
    $responder->knows($leaf, 'keyCompromise')->start;
    my $line = $server->wait_log(qr/site \Q$site\E: revoked: /, 45) // '';
    like $line, qr/error/, 'refreshed half-way; revoked is an error';
    like $line, qr/keyCompromise|key compromise/i, 'with the reason';
    is staple($server), 'none -', 'the good one is sent no more';
    is status_of($server, $site)->{staple}{state}, 'revoked', 'status: revoked';
    serves($server, $site, [$leaf, $pki->sub, $pki->cross], 'served all the same');
    $server->mark;
    $server->restart;
    ok $server->wait_log(qr/site \Q$site\E: revoked: /), 'told at a new start';
    is staple($server), 'none -', 'and not sent';
}

# Looked at before its end: where the machine was too slow for that, once more
# with more time.
sub ended ($kind) {
    my ($server, $staple, $leaf);
    for my $left (10, 25, 60) {
        $server->stop if $server;
        my $end = time + $left;
        (my $responder, $leaf) = responder(1, minutes => 1, ago => 60 - $left);
        ($server) = server($kind, $leaf);
        $responder->stop;
        $staple = staple($server);
        last if time < $end;
    }
    is $staple, good($leaf), 'carried while the responder is down';
    ok wait_for(sub { staple($server) eq 'none -' }, 75), 'not after its end';
    ok wait_for(sub {
        (status_of($server, $site)->{staple}{state} // '') eq 'expired' }, 5),
        'status: expired';
}
