#!/usr/bin/perl

# A reload waits for no OCSP response that the configuration before did not have
# either, and does not ask anew for what has just failed.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use Time::HiRes ();

use Ecert::Client;
use Ecert::Live;
use Ecert::Responder;
use Ecert::Server;
use Ecert::Staples;
use Ecert::Test;

for my $kind (servers()) {
    subtest "$kind, a responder that swallows" => sub { swallows($kind) };
    subtest "$kind, a responder that has failed" => sub { failed($kind) };
}
done_testing;

# Connections to it are taken, and nothing more.
sub listener ($responder) {
    return IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 50,
        LocalPort => $responder->{port}, ReuseAddr => 1, Blocking => 0)
        // die "port $responder->{port}: $!";
}

sub asked ($listener) {
    my $n = 0;
    $n++ while $listener->accept;
    return $n;
}

# Seconds until only new workers are there.
sub reload_time ($server) {
    my $begun = Time::HiRes::time();
    ok $server->reload, 'reload';
    return Time::HiRes::time() - $begun;
}

sub leaf_for ($responder) {
    return $pki->leaf(names => [$site], extensions => $responder->aia);
}

sub swallows ($kind) {
    my $responder = Ecert::Responder->new($pki->sub);
    my $listener = listener($responder);
    my $leaf = leaf_for($responder);
    my ($plain) = server($kind, $leaf, ecert_stapling => 'off');
    my $usual = reload_time($plain);
    $plain->stop;

    my ($server, $store) = server($kind, $leaf);
    cmp_ok asked($listener), '>', 0, 'the responder is asked at the start';
    cmp_ok reload_time($server), '<', $usual + 2, 'without waiting for it';
    is((served($server->port, $site))[0], $leaf->fingerprint, 'it is served');

    # Another leaf that came meanwhile waits, and the one before goes on.
    my $next = leaf_for($responder);
    $store->install($site, $next);
    cmp_ok reload_time($server), '<', $usual + 2, 'with another leaf, too';
    becomes($server, $site, [$next, $pki->sub, $pki->cross],
        'which goes live by itself');
}

sub failed ($kind) {
    my $responder = Ecert::Responder->new($pki->sub);
    my ($server) = server($kind, leaf_for($responder));
    ok $server->wait_log(qr/site \Q$site\E: fetch: .*no connection/),
        'a responder that is not there: told';
    my $said = status_of($server, $site)->{staple}{error};
    like $said, qr/no connection/, 'status has it';

    my $listener = listener($responder);
    my @agents = $server->agents;
    $server->mark;
    ok $server->reload, 'reload';
    ok wait_for(sub {
        my %now = map { $_ => 1 } $server->agents;
        return keys %now == 2 && !grep { $now{$_} } @agents;
    }), 'a new agent';
    is status_of($server, $site)->{staple}{error}, $said,
        'which knows why it failed';
    is asked($listener), 0, 'and goes on with the pause';
    unlike $server->log, qr/fetch: /, 'without telling it again';
}
