#!/usr/bin/perl

# ecert verify: what servers send, against what the store has.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use POSIX ();

use Ecert::Command;
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
    subtest "$kind, several addresses" => sub { several($kind) };
    subtest "$kind, what is published" => sub { published($kind) };
}
subtest 'nothing to look at' => \&nothing;
subtest 'what is no host' => \&no_host;
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

# IPv4 leads to us, IPv6 to a stock server that has the old certificate.
sub several ($kind) {
    my $store = Ecert::Store->new->add_issuers($sub, $cross, $root, $other_root);
    my $new = $pki->leaf(names => [$site]);
    $store->install($site, $new);
    my $server = Ecert::Server->new($kind, store => $store,
        vhosts => [{ names => [$site], ecert => 'on' }])->start;
    my $port = $server->port;
    my $old = $pki->leaf(names => [$site]);
    Ecert::Server->new($kind, ecert => 0, address => '[::1]',
        ports => { https => $port },
        vhosts => [{ names => [$site], cert => $old }])->start;
    ok wait_for(sub {
        my (undef, $out) = run('openssl', 's_client', '-connect',
            "[::1]:$port", '-servername', $site);
        return $out =~ /BEGIN CERTIFICATE/;
    }), 'the other one listens';
    my @both = map { ('--connect', "$_:$port") } '127.0.0.1', '[::1]';
    my ($status, $out) = verify($server, @both, $site);
    is $status, 1, 'one of two addresses: exit code 1';
    like $out, qr/^good  \Q$site at 127.0.0.1:$port\E: /m, 'IPv4 is good';
    like $out, qr/^wrong \Q$site at [::1]:$port\E: /m, 'IPv6 is not';
    like $out =~ s/\s+/ /gr, qr/another certificate is sent: SHA-256 \Q@{[
        substr $old->fingerprint, 0, 16]}\E/, 'what is sent there';
    ($status, $out) = verify($server, '--json', @both, $site);
    my $all = quietly(sub { JSON::PP::decode_json($out)->{verified} }) // [];
    is_deeply [map { [$_->{address}, $_->{good} ? 1 : 0] } @$all],
        [["127.0.0.1:$port", 1], ["[::1]:$port", 0]], 'the same as JSON';
    ($status, $out) = verify($server, "127.0.0.1:$port");
    is $status, 1, 'an address is no host';
    like $out, qr/--connect ADDRESS:PORT/, 'and what to do';
}

# Directives and files that the store knows nothing of.
sub published ($kind) {
    my $store = Ecert::Store->new->add_issuers($sub, $cross, $root, $other_root);
    $store->install($site, $pki->leaf(names => [$site]));
    my $files = $pki->leaf(names => ['files.example.hk']);
    my $elsewhere = $pki->leaf(names => ['files.example.hk']);
    my $vhost = { names => ['files.example.hk'], directives => {
        ecert_certificate => $files->file(tmp() . "/$kind.pem"),
        ecert_certificate_key => $files->key_file(tmp() . "/$kind.key") } };
    my $server = Ecert::Server->new($kind, store => $store,
        conf => { ecert_cross_certificate => 'off' },
        vhosts => [{ names => [$site], ecert => 'on' }, $vhost,
            { names => ['files.example.hk'], listen => 'https-other',
                cert => $elsewhere }])->start;
    my ($status, $out) = verify($server, at($server->port));
    is $status, 0, 'all names are good' or diag $out;
    like $out, qr/^good  \Q$site\E at \S+: 2 certificates/m,
        'without the cross-certificate, as the directive has it';
    like $out, qr/^good  files\.example\.hk at /m, 'files elsewhere';
    ($status, $out) = verify($server, at($server->port('https-other')),
        'files.example.hk');
    is $status, 1, 'another certificate than the published one';
    like $out =~ s/\s+/ /gr, qr/another certificate is sent: SHA-256 [0-9A-F]{16}, published is/,
        'in words';
}

# A monitor must not take silence for success.
sub nothing {
    my $store = Ecert::Store->new;
    my @verify = (build_dir() . '/ecert', 'verify', '--store', $store->dir);
    for my $json ([], ['--json']) {
        my ($status, $out) = run(@verify, @$json);
        is $status, 1, "no server runs @$json";
        like $out, @$json ? qr/"verified": \[\]/
            : qr/^No running server has a name to look at: /m, 'in words';
    }
    chmod 0700, $store->dir;
    my ($status, $out) = run('setpriv', '--reuid=nobody', '--clear-groups',
        '--regid=' . (getpwnam 'nobody')[3], @verify);
    is $status, 1, 'who may not ask';
    like $out, qr{: unreadable: \S+/run: .*; call it as root: sudo ecert verify},
        'why, and what to do';
    unlike $out, qr/No running server/, 'nothing else is claimed';
}

sub no_host {
    my $store = Ecert::Store->new;
    my $port = qr/is a number from 1 to 65535/;
    for (
        [$port, map { "$site:$_" } 'abc', '99999', '0', '-1', '44 3', ''],
        [qr/not an address with http/, "http://$site", "https://$site/x"],
        [qr/a wildcard .*: give a name below it/, '*.example.hk',
            '*.example.hk:443'],
    ) {
        my ($says, @hosts) = @$_;
        for my $host (@hosts) {
            my ($status, $out) = ecert($store, 'verify', $host);
            is $status, 2, "$host is a wrong usage";
            like $out, qr/^ecert verify: .*$says.*; see ecert verify --help$/m,
                'and why';
        }
    }
    for my $to ('127.0.0.1:abc', '127.0.0.1:70000', '::1', '[::1]:x') {
        my ($status, $out) = ecert($store, 'verify', '--connect', $to, $site);
        is $status, 2, "--connect $to";
        like $out, qr/is not ADDRESS\[:PORT\]\); write such as/, 'and why';
    }
    my ($status, $out) = ecert($store, 'verify', '[::1]:443');
    is $status, 1, 'an address in brackets';
    like $out, qr/: name: .*--connect ADDRESS:PORT/, 'is no host';
}
