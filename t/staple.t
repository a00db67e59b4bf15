#!/usr/bin/perl

# OCSP responses follow the swap: stapled from the first handshake on, and with
# each new certificate.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;

use Ecert::Client;
use Ecert::Live;
use Ecert::PKI;
use Ecert::Responder;
use Ecert::Server;
use Ecert::Store;
use Ecert::Test;
use Ecert::Web;

my $site = 'www.example.hk';
my $pki = Ecert::PKI->new;
$pki->root->file(tmp() . '/root.pem');
my $responder = Ecert::Responder->new($pki->sub);
my @leaves = map { $pki->leaf(names => [$site],
    extensions => $responder->aia) } 1 .. 4;
$responder->knows($_) for @leaves;
$responder->start;

# One that knows POST alone, in front of it.
my $web = Ecert::Web->new(answer => sub ($method, $path, $body) {
    return $method eq 'POST' ? relay($body) : Ecert::Web::status(405);
});
my $posted = $pki->leaf(names => [$site], extensions => [
    Net::SSLeay::NID_info_access() => 'OCSP;URI:' . $web->url]);
$responder->stop;
$responder->knows($posted)->start;

for my $kind (servers()) {
    subtest $kind => sub { stapled($kind) };
}
like slurp("$responder->{dir}/out"), qr{1st line: GET /M}, 'asked by GET';
is_deeply [map { $_->[2] } ($web->requests)[0, 1]], [qw(GET POST)],
    'and by POST when that is refused';
done_testing;

# What a client gets that asks for a staple: (status word, serial).
sub staple ($server) {
    my (undef, $out) = run('openssl', 's_client', '-status', '-connect',
        '127.0.0.1:' . $server->port, '-servername', $site, '-CAfile',
        tmp() . '/root.pem', '-no-CApath');
    my ($status) = $out =~ /Cert Status: (\w+)/;
    my ($serial) = $out =~ /Serial Number: ([0-9A-F]+)/;
    return ($status // 'none', lc($serial // ''));
}

# The responder's own answer.
sub relay ($body) {
    my $c = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
        PeerPort => $responder->{port}) or return Ecert::Web::status(503);
    print $c "POST / HTTP/1.0\r\nContent-Type: application/ocsp-request\r\n"
        . 'Content-Length: ' . length($body) . "\r\n\r\n$body";
    local $/;
    return readline $c;
}

sub stapled ($kind) {
    my $store = Ecert::Store->new->add_issuers($pki->sub, $pki->cross);
    $store->install($site, $leaves[0]);
    my $server = Ecert::Server->new($kind, store => $store,
        conf => { ecert_fetch => ['on', 'allow=127.0.0.0/8'] },
        vhosts => [{ names => [$site], ecert => 'on' }])->start;
    is_deeply [staple($server)], ['good', lc $leaves[0]->serial],
        'the first handshake is stapled' or diag $server->log;
    for my $leaf (@leaves[1 .. $#leaves], $posted) {
        $store->install($site, $leaf);
        becomes($server, $site, [$leaf, $pki->sub, $pki->cross], 'the next');
        is_deeply [staple($server)], ['good', lc $leaf->serial],
            'the first handshake after the swap is stapled';
    }
    is_deeply [complaints($server, $site)], [], 'without a complaint';
}
