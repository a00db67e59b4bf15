#!/usr/bin/perl

# Stapling beside the server's own (ssl_stapling, SSLUseStapling, MDStapling):
# one staple, ours, the responder asked once, and not a word in the error log.

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

my $md = ($ENV{ECERT_APACHE_MODULES} || '/usr/lib/apache2/modules')
    . '/mod_md.so';
my @own = (
    [nginx => 'ssl_stapling', "ssl_stapling on;\nresolver 127.0.0.1:9;"],
    [apache => 'SSLUseStapling', 'SSLStaplingCache shmcb:' . tmp()
        . "/stapling(32768)\nSSLUseStapling on"],
    [apache => 'MDStapling', "LoadModule md_module $md\nMDStoreDir "
        . tmp() . "/md\nMDStapling on\nMDStapleOthers on"],
);

for my $own (@own) {
    my ($kind, $word, $directives) = @$own;
    next if !grep { $_ eq $kind } servers();
    SKIP: {
        skip 'there is no mod_md', 1 if $word eq 'MDStapling' && !-e $md;
        subtest "$kind, $word" => sub { beside($kind, $directives) };
    }
}
done_testing;

sub beside ($kind, $directives) {
    my $before = $responder->asked;
    my $store = Ecert::Store->new->add_issuers($pki->sub, $pki->cross);
    $store->install($site, $leaf);
    my $server = Ecert::Server->new($kind, store => $store,
        conf => { ecert_fetch => ['on', 'allow=127.0.0.0/8'] },
        http => { $kind => $directives },
        vhosts => [{ names => [$site], ecert => 'on' }])->start;
    my (undef, $out) = run('openssl', 's_client', '-status', '-connect',
        '127.0.0.1:' . $server->port, '-servername', $site, '-CAfile',
        tmp() . '/root.pem', '-no-CApath');
    like $out, qr/Cert Status: good/, 'stapled';
    is $responder->asked - $before, 1, 'the responder was asked once';
    is_deeply [grep { /stapl|ocsp|\[md:/i && !/notice|\binfo\]/ }
        split /\n/, $server->log], [], 'no word of it in the log';
}
