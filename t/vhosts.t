#!/usr/bin/perl

# Which virtual host serves which certificate: with SNI, without, with one
# that nobody has, beside virtual hosts that keep their own ssl_certificate.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Client;
use Ecert::Connection;
use Ecert::PKI;
use Ecert::Server;
use Ecert::Store;
use Ecert::Test;

my $pki = Ecert::PKI->new;
my $root = $pki->root->file(tmp() . '/root.pem');
my @shared = ('www.example.hk', 'example.hk', 'm.example.hk');
my %leaf = (
    'default.example.hk' => $pki->leaf(names => ['default.example.hk']),
    'www.example.hk' => $pki->leaf(names => \@shared),
    'early.example.hk' => $pki->leaf(names => ['early.example.hk']),
);
my $stock = $pki->leaf(names => ['stock.example.hk']);
my $off = $pki->leaf(names => ['off.example.hk']);
my $outer = $pki->leaf(names => ['outer.example.hk']);

for my $kind (servers()) {
    my $store = Ecert::Store->new->add_issuers($pki->sub, $pki->cross);
    $store->install($_, $leaf{$_}) for keys %leaf;

    subtest "$kind, ours first" => sub { ours_first($kind, $store) };
    subtest "$kind, a stock one first" => sub { stock_first($kind, $store) };
    subtest "$kind, a certificate outside" => sub { outside($kind, $store) };
    subtest "$kind, a site outside" => sub { not_inherited($kind, $store) }
        if $kind eq 'apache';
}
done_testing;

sub ours_first ($kind, $store) {
    my $server = Ecert::Server->new($kind, store => $store, vhosts => [
        { names => ['default.example.hk'], ecert => 'on' },
        { names => ['www.example.hk', 'example.hk'], ecert => 'on' },
        { names => ['m.example.hk'], ecert => 'www.example.hk' },
        { names => [], nginx => "ecert on;\nserver_name early.example.hk;",
            apache => "ECert on\nServerName early.example.hk" },
        { names => ['stock.example.hk'], cert => $stock },
        { names => ['off.example.hk'], cert => $off, ecert => 'off' },
    ])->start;
    my ($default, $www) = @leaf{'default.example.hk', 'www.example.hk'};

    for my $when ('', ', after a reload') {
        $server->reload if $when;
        shows($server, "SNI $_$when", $_, $leaf{$_}, $_) for keys %leaf;
        shows($server, "its second name$when", 'example.hk', $www,
            'www.example.hk');
        shows($server, "a second vhost with its site$when", 'm.example.hk',
            $www, 'm.example.hk');
        shows($server, "stock$when", 'stock.example.hk', $stock,
            'stock.example.hk');
        shows($server, "ecert off$when", 'off.example.hk', $off,
            'off.example.hk');
        shows($server, "no SNI$when", undef, $default, 'default.example.hk');
        shows($server, "unknown SNI$when", 'unknown.example.hk', $default,
            'default.example.hk');
    }
    one_connection($server);

    my $next = $leaf{'www.example.hk'} = $pki->leaf(names => \@shared);
    $store->install('www.example.hk', $next);
    for my $name (@shared) {
        ok wait_for(sub { leaf_of($server, $name) eq $next->fingerprint }),
            "a swap reaches $name";
    }
    is leaf_of($server, undef), $default->fingerprint, 'and no other site';
    is leaf_of($server, 'stock.example.hk'), $stock->fingerprint,
        'nor the stock one';
}

# The server serves leaf, by its vhost of this name, whatever the protocol.
sub shows ($server, $what, $sni, $leaf, $vhost) {
    $vhost = 'nameless' if $vhost eq 'early.example.hk';
    for my $version ('1.2', '1.3') {
        my $answer = handshake($server->port, name => $sni,
            version => $version);
        is $answer->{fingerprint} // $answer->{error}, $leaf->fingerprint,
            "$what: TLS $version";
        is $answer->{body}, "$vhost\n", "$what: its content";
    }
    return if !defined $sni || $sni =~ /unknown/;
    my ($status, $out) = run('curl', '-sS', '--http2', '--cacert', $root,
        '--connect-to', '::127.0.0.1:' . $server->port, '--max-time', 10,
        '-w', '%{http_version}', "https://$sni/");
    is "$status $out", "0 $vhost\n2", "$what: h2, verified";
}

sub leaf_of ($server, $name) {
    return (served($server->port, $name))[0] // '';
}

# Vhosts of one site may share a connection (421 otherwise).
sub one_connection ($server) {
    my $c = Ecert::Connection->new($server->port, tls => 1,
        name => 'www.example.hk');
    for my $host (@shared) {
        my $answer = $c->exchange('GET',
            "GET / HTTP/1.1\r\nHost: $host\r\n\r\n");
        is $answer->{status}, 200, "$host over a connection to $shared[0]";
    }
}

sub stock_first ($kind, $store) {
    my $server = Ecert::Server->new($kind, store => $store, address => '*',
        vhosts => [
            { names => ['stock.example.hk'], cert => $stock },
            { names => ['www.example.hk'], ecert => 'on' },
        ])->start;

    shows($server, 'no SNI', undef, $stock, 'stock.example.hk');
    shows($server, 'SNI', 'www.example.hk', $leaf{'www.example.hk'},
        'www.example.hk');
}

# ssl_certificate of the http block, SSLCertificateFile of the main server.
sub outside ($kind, $store) {
    my $cert = $outer->file(tmp() . '/outer.pem', $outer->chain);
    my $key = $outer->key_file(tmp() . '/outer.key');
    my $server = Ecert::Server->new($kind, store => $store,
        http => {
            nginx => "ssl_certificate $cert; ssl_certificate_key $key;",
            apache => "SSLCertificateFile $cert\nSSLCertificateKeyFile $key",
        }, vhosts => [
            { names => ['outer.example.hk'] },
            { names => ['www.example.hk'], ecert => 'on' },
            { names => ['off.example.hk'], ecert => 'off' },
        ])->start;

    shows($server, 'nothing said', 'outer.example.hk', $outer,
        'outer.example.hk');
    shows($server, 'ecert', 'www.example.hk', $leaf{'www.example.hk'},
        'www.example.hk');
    is leaf_of($server, 'off.example.hk'), $outer->fingerprint, 'ecert off';
}

# ECert in the main server: no virtual host has it from there.
sub not_inherited ($kind, $store) {
    my $server = Ecert::Server->new($kind, store => $store,
        http => { apache => 'ECert www.example.hk' }, vhosts => [
            { names => ['stock.example.hk'], cert => $stock },
            { names => ['early.example.hk'], ecert => 'on' },
        ])->start;

    is leaf_of($server, 'stock.example.hk'), $stock->fingerprint,
        'a virtual host without a directive of ours keeps its certificate';
    is leaf_of($server, 'early.example.hk'),
        $leaf{'early.example.hk'}->fingerprint, 'another site in another';
}
