#!/usr/bin/perl

# ecert verify: what servers send, against what the store has.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use POSIX ();

use Ecert::Live;
use Ecert::PKI;
use Ecert::Responder;
use Ecert::Server;
use Ecert::Store;
use Ecert::Test;

my $site = 'www.example.hk';
my $pki = Ecert::PKI->new;
my ($root, $sub, $cross) = ($pki->root, $pki->sub, $pki->cross);
my $other_root = $pki->cross_root;
$_->file(tmp() . '/' . $_->fingerprint . '.pem') for $root, $other_root;
my $responder = Ecert::Responder->new($sub);
my $leaf = $pki->leaf(names => [$site], extensions => $responder->aia);
$responder->knows($leaf)->start;

for my $kind (servers()) {
    subtest $kind => sub { verified($kind) };
}
done_testing;

sub verify ($server, @args) {
    return run("$server->{build}/ecert", 'verify', '--store',
        $server->{store}->dir, @args);
}

sub at ($port) { return ('--connect', "127.0.0.1:$port") }

sub verified ($kind) {
    my $store = Ecert::Store->new->add_issuers($sub, $cross, $root, $other_root);
    $store->install($site, $leaf);
    my $other = $pki->leaf(names => [$site]);
    my $server = Ecert::Server->new($kind, store => $store,
        conf => { ecert_fetch => ['on', 'allow=127.0.0.0/8'] },
        vhosts => [{ names => [$site], ecert => 'on' },
            { names => [$site], listen => 'https-alone',
                cert => Ecert::Cert->new($leaf->x509, $leaf->key) },
            { names => [$site], listen => 'https-other', cert => $other },
            { names => [$site], listen => 'https-none', cert => $leaf },
            { names => [$site], listen => 'http' },
        ])->start;
    my @here = at($server->port);

    my ($status, $out) = verify($server, @here, $site);
    is $status, 0, 'good' or diag $out;
    like $out, qr/^good  \Q$site\E at 127\.0\.0\.1:\d+: 3 certificates, TLSv1\.\d, stapled$/m,
        'in one line';
    ($status, $out) = verify($server, @here);
    is $status, 0, 'all names of the running server' or diag $out;
    like $out, qr/^good  \Q$site\E/m, 'which has this one';

    wrong($server, 'https-alone', 'the leaf alone',
        qr/\Q@{[$sub->cn]}\E is not sent/);
    wrong($server, 'https-other', 'another certificate',
        qr/another certificate is sent: SHA-256 [0-9A-F]{16}, stored is/);
    wrong($server, 'https-none', 'no staple', qr/no OCSP response is stapled/);
    wrong($server, 'http', 'a port without TLS', qr/handshake/);

    clients($server, @here);
    dates($server, @here);
    json($server, @here);

    my $port = Ecert::Server::_free_port();
    ($status, $out) = verify($server, at($port), $site);
    is $status, 1, 'nobody listens: wrong';
    like $out, qr/connect/, 'in words';
    ($status, $out) = verify($server, @here, 'not a name!');
    is $status, 1, 'what is no name is refused';
    ($status) = verify($server, @here, '--at', 'yesterday', $site);
    is $status, 2, 'what is no date is a wrong usage';
    ($status, $out) = verify($server, @here, 'elsewhere.example.hk');
    is $status, 1, 'a name without a site';
    like $out, qr/the store has no site for this name/, 'in words';
}

sub wrong ($server, $label, $what, $words) {
    my ($status, $out) = verify($server, at($server->port($label)), $site);
    is $status, 1, "$what: exit code 1";
    like $out =~ s/\s+/ /gr, $words, "$what: in words";
}

sub clients ($server, @here) {
    for my $who ('root-ca-3', 'cross', 'both',
        map { tmp() . '/' . $_->fingerprint . '.pem' } $root, $other_root) {
        my ($status, $out) = verify($server, @here, '--client', $who, $site);
        is $status, 0, "client $who" or diag $out;
    }
    my $stranger = $pki->stranger->file(tmp() . '/stranger.pem');
    my ($status, $out) = verify($server, @here, '--client', $stranger, $site);
    is $status, 1, 'a client that knows neither root';
    like $out, qr/client \S+ refuses it/, 'in words';
    # A served chain without cross-certificate is no use to the other's client.
    ($status, $out) = verify($server, at($server->port('https-alone')),
        '--client', 'cross', $site);
    like $out =~ s/\s+/ /gr, qr/client cross refuses it/, 'leaf alone: refused';
}

sub day ($time) { return POSIX::strftime('%Y-%m-%d', gmtime $time) }

sub dates ($server, @here) {
    my ($status, $out) = verify($server, @here, '--at',
        day($leaf->not_after + 3 * 86400), $site);
    is $status, 1, 'after its end';
    like $out, qr/expired/, 'in words';
    ($status, $out) = verify($server, @here, '--at',
        day($leaf->not_before - 10 * 86400), $site);
    is $status, 1, 'before its beginning';
}

sub json ($server, @here) {
    my ($status, $out) = verify($server, @here, '--json', $site);
    is $status, 0, 'JSON';
    my $report = quietly(sub { JSON::PP::decode_json($out) }) // {};
    is $report->{schema}, 'ecert-status', 'the same schema';
    my ($one, @more) = @{ $report->{verified} };
    is @more, 0, 'one result';
    is $one->{name}, $site, 'name';
    is $one->{address}, '127.0.0.1:' . $server->port, 'address';
    ok $one->{good} && $one->{stapled}, 'good, stapled';
    is $one->{elements}, 3, 'elements';
    is $one->{sha256}, $leaf->fingerprint, 'fingerprint';
    is_deeply $one->{wrong}, [], 'nothing wrong';
    ($status, $out) = verify($server, at($server->port('https-other')),
        '--json', $site);
    is $status, 1, 'JSON: the exit code tells';
    $one = quietly(sub { JSON::PP::decode_json($out) })->{verified}[0];
    ok !$one->{good} && @{ $one->{wrong} }, 'JSON: what is wrong';
}
