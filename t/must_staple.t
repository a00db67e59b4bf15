#!/usr/bin/perl

# A certificate that demands a staple (RFC 7633) replaces nothing good before its
# staple is there, and never without a responder; with it, it goes live at once.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Command;
use Ecert::Live;
use Ecert::Staples;
use Ecert::Test;

faketime() or plan skip_all => 'needs the package libfaketime';

# The agent's half minutes between its tries, in seconds of ours.
my $speed = 20;
my @demands = (1020 => 'status_request'); # NID_tlsfeature
my $what = qr/must-staple: .*the certificate demands a staple/;

for my $kind (servers()) {
    subtest $kind => sub { demanded($kind) };
    subtest "$kind, not stapled" => sub { unstapled($kind) };
}
done_testing;

sub leaf ($aia, @more) {
    return $pki->leaf(names => [$site], extensions => [@$aia, @more]);
}

sub chain ($leaf) { return [$leaf, $pki->sub, $pki->cross] }

sub files ($leaf) {
    my ($cert, $key) = map { tmp() . "/new.$_" } qw(pem key);
    $leaf->file($cert);
    $leaf->key_file($key);
    return ($cert, $key);
}

sub demanded ($kind) {
    my ($responder) = responder(0);
    my ($plain, $never, $first, $second) = (leaf([]), leaf([], @demands),
        map { leaf($responder->aia, @demands) } 1 .. 2);
    $responder->knows($_) for $first, $second;
    $responder->stop;
    my ($server, $store) = server($kind, $never,
        agent => command_at("FAKETIME='+0 x$speed'"));

    serves($server, $site, chain($never), 'nothing better is there: served');
    like join("\n", complaints($server, $site)), qr/$what.*no OCSP responder/,
        'and told';
    like +(ecert($store, 'check', $site))[1], qr/$what/, 'by check, too';

    my ($status, $out) = ecert($store, 'install', '--wait', $site, files($plain));
    is $status, 0, 'another one takes its place' or diag $out;
    ($status, $out) = ecert($store, 'install', $site, files(leaf([], @demands)));
    is $status, 1, 'one without a responder is refused now';
    like $out, qr/$what.*no OCSP responder.*the one before is good/, 'in words';
    serves($server, $site, chain($plain), 'and is not served');

    ($status, $out) = ecert($store, 'install', $site, files($first));
    is $status, 0, 'with a responder: installed';
    like $out, qr/$what/, 'with a warning';
    ok $server->wait_log(qr/$what.*onnect/),
        'the agent says that the responder does not answer';
    ($status, $out) = ecert($store, 'install', '--wait', '--timeout', 1, $site,
        files($first));
    is $status, 1, 'install --wait waits in vain';
    like $out, qr/not-served: .*$what/, 'and says for what';
    ($status, $out) = ecert($store, 'status', $site);
    is $status, 1, 'status ends with 1';
    like $out, qr/^ +error +$what.*connect/m, 'with the reason';
    serves($server, $site, chain($plain), 'what is good stays');

    $server->restart;
    serves($server, $site, chain($plain), 'also after a restart');
    $server->reload;
    serves($server, $site, chain($plain), 'and a reload');

    $responder->start;
    becomes($server, $site, chain($first), 'the responder is there: live');
    is staple($server), good($first), 'stapled from the first handshake on';
    is +(ecert($store, 'status', $site))[0], 0, 'all is in order';
    is +(ecert($store, 'check', $site))[0], 0, 'for check, too';
    $responder->stop;
    $server->reload;
    is staple($server), good($first), 'a reload carries the staple on';
    $server->restart;
    is staple($server), good($first), 'the store keeps it over a restart';
    serves($server, $site, chain($first), 'so that it is served');

    $server->mark;
    $store->install($site, $second);
    ok $server->wait_log($what), 'its renewal waits';
    $server->restart;
    is staple($server), good($first), 'also after a restart';
    $responder->start;
    becomes($server, $site, chain($second), 'and comes');
    is staple($server), good($second), 'stapled';
}

# ecert_stapling is off: clients would refuse it there.
sub unstapled ($kind) {
    my ($responder) = responder(0);
    my ($plain, $leaf) = (leaf([]), leaf($responder->aia, @demands));
    $responder->knows($leaf);
    my ($server, $store) = server($kind, $plain, ecert_stapling => 'off');
    $store->install($site, $leaf);
    ok $server->wait_log(qr/$what.*ecert_stapling is off/), 'told';
    serves($server, $site, chain($plain), 'not served');
    is $responder->asked, 0, 'and nobody is asked';
}
