#!/usr/bin/perl

# Stapling beside the server's own: one staple, ours, and not a word in the
# error log.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::PKI;
use Ecert::Responder;
use Ecert::Server;
use Ecert::Store;
use Ecert::Test;

my $site = 'www.example.hk';
my $pki = Ecert::PKI->new;
$pki->root->file(tmp() . '/root.pem');
my $responder = Ecert::Responder->new($pki->sub);
my $leaf = $pki->leaf(names => [$site], extensions => $responder->aia);
$responder->knows($leaf)->start;

my %own = (
    nginx => "ssl_stapling on;\nresolver 127.0.0.1:9;",
    apache => "SSLStaplingCache shmcb:" . tmp() . "/stapling(32768)\n"
        . 'SSLUseStapling on',
);

for my $kind (servers()) {
    my $store = Ecert::Store->new->add_issuers($pki->sub, $pki->cross);
    $store->install($site, $leaf);
    my $server = Ecert::Server->new($kind, store => $store,
        conf => { ecert_fetch => ['on', 'allow=127.0.0.0/8'] },
        http => { $kind => $own{$kind} },
        vhosts => [{ names => [$site], ecert => 'on' }])->start;
    my (undef, $out) = run('openssl', 's_client', '-status', '-connect',
        '127.0.0.1:' . $server->port, '-servername', $site, '-CAfile',
        tmp() . '/root.pem', '-no-CApath');
    like $out, qr/Cert Status: good/, "$kind: stapled";
    is_deeply [grep { /stapl|ocsp/i && !/notice|\binfo\]/ }
        split /\n/, $server->log], [], "$kind: no word of it in the log";
}
done_testing;
