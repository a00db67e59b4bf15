#!/usr/bin/perl

# OCSP responses follow the swap: stapled from the first handshake on, and with
# each new certificate.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Client;
use Ecert::Live;
use Ecert::PKI;
use Ecert::Responder;
use Ecert::Server;
use Ecert::Store;
use Ecert::Test;

my $site = 'www.example.hk';
my $pki = Ecert::PKI->new;
$pki->root->file(tmp() . '/root.pem');
my $responder = Ecert::Responder->new($pki->sub);
my @leaves = map { $pki->leaf(names => [$site],
    extensions => $responder->aia) } 1 .. 4;
$responder->knows($_) for @leaves;
$responder->start;

for my $kind (servers()) {
    subtest $kind => sub { stapled($kind) };
}
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

sub stapled ($kind) {
    my $store = Ecert::Store->new->add_issuers($pki->sub, $pki->cross);
    $store->install($site, $leaves[0]);
    my $server = Ecert::Server->new($kind, store => $store,
        conf => { ecert_fetch => ['on', 'allow=127.0.0.0/8'] },
        vhosts => [{ names => [$site], ecert => 'on' }])->start;
    is_deeply [staple($server)], ['good', lc $leaves[0]->serial],
        'the first handshake is stapled' or diag $server->log;
    for my $i (1 .. $#leaves) {
        $store->install($site, $leaves[$i]);
        becomes($server, $site, [$leaves[$i], $pki->sub, $pki->cross],
            "certificate $i");
        is_deeply [staple($server)], ['good', lc $leaves[$i]->serial],
            "the first handshake after swap $i is stapled";
    }
    is_deeply [complaints($server, $site)], [], 'without a complaint';
}
