package Ecert::Staples;

# What tests of staples have in common: a site, its responder, and what a client
# gets that asks for a staple.

use v5.36;

use Exporter 'import';

use Ecert::PKI;
use Ecert::Responder;
use Ecert::Server;
use Ecert::Store;
use Ecert::Test;

our @EXPORT = qw($site $pki $allow staple good responder server);

our $site = 'www.example.hk';
our $pki = Ecert::PKI->new;
our $allow = ['on', 'allow=127.0.0.0/8'];
$pki->root->file(tmp() . '/root.pem');

# What a client gets that asks for a staple: (status word, serial).
sub staple ($server, $name = $site, @more) {
    my (undef, $out) = run('openssl', 's_client', '-status', '-connect',
        '127.0.0.1:' . $server->port, '-servername', $name, '-CAfile',
        tmp() . '/root.pem', '-no-CApath', @more);
    my ($status) = $out =~ /Cert Status: (\w+)/;
    my ($serial) = $out =~ /Serial Number: ([0-9A-F]+)/;
    return lc(($status // 'none') . ' ' . ($serial // '-'));
}

sub good ($leaf) { return 'good ' . lc $leaf->serial }

sub responder ($n, %o) {
    my $responder = Ecert::Responder->new($pki->sub, %o);
    my @leaves = map { $pki->leaf(names => [$site],
        extensions => $responder->aia) } 1 .. $n;
    $responder->knows($_) for @leaves;
    return ($responder->start, @leaves);
}

# agent: another executable; all else are directives of ours.
sub server ($kind, $leaf, %conf) {
    my @agent = map { (agent => $_) } delete $conf{agent} // ();
    my $store = Ecert::Store->new->add_issuers($pki->sub, $pki->cross);
    $store->install($site, $leaf);
    my $server = Ecert::Server->new($kind, store => $store, @agent,
        conf => { ecert_fetch => $allow, %conf },
        vhosts => [{ names => [$site], ecert => 'on' }])->start;
    return ($server, $store);
}

1;
