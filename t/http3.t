#!/usr/bin/perl

# HTTP/3: the certificate of the moment in a QUIC handshake, and the swap.
# nginx alone, from 1.25 on where it was built so; openssl s_client from
# OpenSSL 3.2 on is the client.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Nginx;
use Ecert::PKI;
use Ecert::Server;
use Ecert::Store;
use Ecert::Test;

my $site = 'www.example.hk';

plan skip_all => 'this nginx has no HTTP/3'
    if !Ecert::Nginx::has('--with-http_v3_module');
plan skip_all => 'this openssl s_client has no QUIC'
    if (run('openssl', 's_client', '-help'))[1] !~ /^\s*-quic\s/m;
plan skip_all => 'nginx is not asked for' if !grep { $_ eq 'nginx' } servers();

my $pki = Ecert::PKI->new;
my $store = Ecert::Store->new->add_issuers($pki->sub);
my $first = $pki->leaf(names => [$site]);
my $second = $pki->leaf(names => [$site]);
my $stock = $pki->leaf(names => ['b.example.hk']);
# One worker: without reuseport a connection's packets come to any of several.
my $server = Ecert::Server->new('nginx', store => $store, workers => 1,
    vhosts => [{ names => [$site], ecert => 'on', listen => ['https', 'https-quic'] },
        { names => ['b.example.hk'], listen => ['https', 'https-quic'],
            cert => $stock }])->start;

is scalar(over_quic($site)), 1, 'a placeholder, alone';
$store->install($site, $first);
ok wait_for(sub { ((over_quic($site))[0] // '') eq $first->pem }), 'the first one';
is_deeply [over_quic($site)], [$first->pem, $pki->sub->pem],
    'with the Sub CA';
my @workers = $server->workers;
$store->install($site, $second);
ok wait_for(sub { ((over_quic($site))[0] // '') eq $second->pem }), 'the second one';
is_deeply [$server->workers], \@workers, 'in the same workers';
is_deeply [over_quic('b.example.hk')], [map { $_->pem } $stock, $stock->chain],
    'a stock vhost beside it serves its own';
validation_file();
ok $server->stop, 'the server stops';
done_testing;

sub validation_file () {
    (run('curl', '-V'))[1] =~ /^Features:.* HTTP3\b/m
        or return note 'curl has no HTTP/3 here: no validation file asked for';
    my $port = $server->port('https-quic');

    $store->put_token($site, 'fileauth.txt', "code\n");
    my ($status, $out);
    ok wait_for(sub {
        ($status, $out) = run('curl', '-sk', '--http3-only', '-m', 5,
            '--resolve', "$site:$port:127.0.0.1", '-w', '%{http_version}',
            "https://$site:$port/.well-known/pki-validation/fileauth.txt");
        return $out eq "code\n3";
    }), 'a validation file over HTTP/3' or diag "$status: $out";
}

# The certificates of a QUIC handshake for this name, as PEM.
sub over_quic ($name) {
    my ($status, $out) = run('timeout', int patience(5), 'openssl',
        's_client', '-quic', '-alpn', 'h3', '-showcerts', '-servername', $name,
        '-connect', '127.0.0.1:' . $server->port('https-quic'));
    return $out =~ /(-----BEGIN CERTIFICATE-----.*?END CERTIFICATE-----\n)/sg;
}
