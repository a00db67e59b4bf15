#!/usr/bin/perl

# Many certificates that want their staples in the same second: a few requests
# at a time, and in the end all are stapled.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Time::HiRes ();

use Ecert::Client;
use Ecert::PKI;
use Ecert::Responder;
use Ecert::Server;
use Ecert::Store;
use Ecert::Test;
use Ecert::Web;

my $n = $ENV{ECERT_TEST_SITES} // 64; # 1,000: t/unit/test_net.c
my $at_once = 8;
my $pki = Ecert::PKI->new;

# Answers are made beforehand, and found by the serial number in the request.
my %answer;
my $web = Ecert::Web->new(answer => sub ($method, $path, $body) {
    Time::HiRes::sleep(0.05); # so that requests meet
    ($path, $body) = Ecert::Web::asked($method, $path, $body);
    my ($serial) = $path =~ m{^/([0-9a-f]+)} or return Ecert::Web::status(404);
    index($body, pack 'H*', $serial) >= 0 or return Ecert::Web::status(400);
    return Ecert::Web::ok(slurp(tmp() . "/$serial.der"));
});

my (%leaf, %name);
for my $i (1 .. $n) {
    my $serial = sprintf '5a%012x', $i;
    $name{$serial} = "s$i.example.hk";
    $leaf{$serial} = $pki->leaf(names => [$name{$serial}], serial => $serial,
        key => $i % 8 ? first_key() : 'P-256',
        extensions => [Net::SSLeay::NID_info_access() =>
            'OCSP;URI:' . $web->url("/$serial")]);
}
answers();

for my $kind (servers()) {
    subtest $kind => sub { many($kind) };
}
done_testing;

sub first_key {
    state $key = $pki->leaf->key;
    return $key;
}

# One response for each, by `openssl ocsp` from a list.
sub answers {
    my $responder = Ecert::Responder->new($pki->sub);
    $responder->knows($_) for values %leaf;
    $responder->list;
    my $dir = $responder->{dir};
    for my $serial (sort keys %leaf) {
        my ($status, $out) = run('openssl', 'ocsp', '-index', "$dir/index.txt",
            '-rsigner', "$dir/ca.pem", '-rkey', "$dir/ca.key", '-CA',
            "$dir/ca.pem", '-ndays', 7, '-issuer', "$dir/ca.pem", '-serial',
            "0x$serial", '-respout', tmp() . "/$serial.der");
        -s tmp() . "/$serial.der" or die "openssl ocsp: $out";
    }
}

sub many ($kind) {
    my $before = () = $web->requests;
    my $store = Ecert::Store->new->add_issuers($pki->sub, $pki->cross);
    $store->install($name{$_}, $leaf{$_}) for keys %leaf;
    my $begin = Time::HiRes::time();
    my $server = Ecert::Server->new($kind, store => $store,
        conf => { ecert_fetch => ['on', 'allow=127.0.0.0/8'] },
        vhosts => [map { { names => [$_], ecert => 'on' } }
            values %name])->start;
    my $started = Time::HiRes::time() - $begin;
    ok wait_for(sub {
        my @kept = glob $store->dir . '/ocsp/*.der';
        return @kept == $n;
    }, 60), "$n staples are there";
    diag sprintf '%s: %d sites, started after %.1f s, all stapled after %.1f s',
        $kind, $n, $started, Time::HiRes::time() - $begin;
    my @requests = $web->requests;
    splice @requests, 0, $before;
    is scalar(@requests), $n, 'each was asked for once';
    my ($most) = sort { $b <=> $a } map { $_->[1] } @requests;
    cmp_ok $most, '<=', $at_once, "at most $at_once at once ($most)";
    cmp_ok $most, '>', 1, 'but not one after the other';
    for my $serial ((sort keys %leaf)[0, $n / 2, $n - 1]) {
        my (undef, $out) = run('openssl', 's_client', '-status', '-connect',
            '127.0.0.1:' . $server->port, '-servername',
            $name{$serial});
        like $out, qr/Cert Status: good/, "$serial: stapled";
    }
}
