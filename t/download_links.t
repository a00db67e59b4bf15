#!/usr/bin/perl

# Several links that are missing at once come one after the other, and nothing
# is in the pool before a root is reached; sites that lack the same certificate
# download it once.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();

use Ecert::Live;
use Ecert::PKI;
use Ecert::Server;
use Ecert::Store;
use Ecert::Test;
use Ecert::Web;

my $pki = Ecert::PKI->new;
my ($root, $sub, $cross) = ($pki->root, $pki->sub, $pki->cross);
my $site = 'www.example.hk';
my $n = 25;
my @other = ['sub', $pki->ev, '/none']; # of no use here
my $web = Ecert::Web->new(answer => sub ($method, $path, $body) {
    my $file = tmp() . $path;
    return -s $file ? Ecert::Web::ok(slurp($file)) : Ecert::Web::status(404);
});
$root->file(tmp() . '/root.pem');
$pki->cross_root->file(tmp() . '/cross_root.pem');
$sub->file(tmp() . '/sub.pem');
$cross->file(tmp() . '/cross.pem');

for my $kind (servers()) {
    subtest "$kind, two links by the certificates" => sub { two($kind) };
    subtest "$kind, Sub CA and cross-certificate" => sub { cross($kind) };
    subtest "$kind, the second is not to be had" => sub { half($kind) };
    subtest "$kind, many sites" => sub { many($kind) };
}
done_testing;

sub aia ($path) {
    return [Net::SSLeay::NID_info_access() => 'caIssuers;URI:'
        . $web->url($path)];
}

sub catalogue (@entries) {
    state $n = 0;
    my $file = tmp() . '/catalogue' . $n++ . '.json';
    my @list = map {
        my ($role, $cert, $path) = @$_;
        { id => $role, role => $role, name => $cert->cn,
            sha256 => $cert->fingerprint, status => 'current',
            url => $web->url($path) };
    } @entries;
    open my $out, '>', $file or die "$file: $!";
    print $out JSON::PP::encode_json({ schema => 'ecert-ca', version => 1,
        updated => '2026-01-01', name => 'Test', entries => \@list });
    close $out;
    return $file;
}

# A CA of its own, which says where its issuer is.
sub ca ($cn, $issuer, $path = undef) {
    return $pki->issue(subject => [[C => 'HK'], [CN => $cn]],
        issuer => $issuer, not_before => time - 86400,
        not_after => time + 900 * 86400, ca => 1, eku => 'serverAuth',
        extensions => $path ? aia($path) : []);
}

sub server ($kind, $known, $catalogue, %leaf) {
    my $store = Ecert::Store->new;
    $store->install($_, $leaf{$_}) for keys %leaf;
    return (Ecert::Server->new($kind, store => $store,
        conf => { ecert_fetch => ['on', 'allow=127.0.0.0/8'],
            ecert_stapling => 'off', ecert_issuers => tmp() . "/$known.pem",
            ecert_catalogue => $catalogue },
        vhosts => [map { { names => [$_], ecert => 'on' } } sort keys %leaf],
        )->start, $store);
}

sub pool ($store) { return sort map { slurp($_) } glob $store->dir . '/issuers/*' }

sub asked ($path) { return scalar(() = $web->requests($path)) }

sub two ($kind) {
    my $middle = ca('Middle', $root);
    my $low = ca('Low', $middle, "/$kind-middle.pem");
    $middle->file(tmp() . "/$kind-middle.pem");
    $low->file(tmp() . "/$kind-low.pem");
    my $leaf = $pki->leaf(names => [$site], issuer => $low,
        extensions => aia("/$kind-low.pem"));
    my ($server, $store) = server($kind, 'root', catalogue(@other), $site => $leaf);
    becomes($server, $site, [$leaf, $low, $middle], 'the chain is live');
    is_deeply [pool($store)], [sort $low->pem, $middle->pem],
        'the pool has both';
    is status_of($server, $site)->{download}, undef, 'nothing is wanted more';
    is_deeply [grep { !/chain-incomplete: \S+certificate\.pem/ }
        complaints($server, $site)], [], 'no complaint but the first';
}

# Our root is not known here; what signed its cross-certificate is.
sub cross ($kind) {
    my $leaf = $pki->leaf(names => [$site]);
    my ($server, $store) = server($kind, 'cross_root', catalogue(
        ['sub', $sub, '/sub.pem'], ['cross', $cross, '/cross.pem']),
        $site => $leaf);
    becomes($server, $site, [$leaf, $sub, $cross], 'the chain is live');
    is_deeply [pool($store)], [sort $sub->pem, $cross->pem],
        'the pool has both';
}

# Right in itself, but there is no way from it to a root that is known.
sub half ($kind) {
    my $low = ca('Low', $pki->stranger('Elsewhere'), "/$kind-none");
    $low->file(tmp() . "/$kind-half.pem");
    my $leaf = $pki->leaf(names => [$site], issuer => $low,
        extensions => aia("/$kind-half.pem"));
    my ($server, $store) = server($kind, 'root', catalogue(@other), $site => $leaf);
    told($server, $site, 'fetch', $web->url("/$kind-none"), 'it is told');
    is_deeply [pool($store)], [], 'nothing is in the pool';
    serves($server, $site, [$leaf], 'the leaf alone is served');
    is asked("/$kind-half.pem"), 1, 'it was asked for once';
}

sub many ($kind) {
    my %leaf = map { $_ => $pki->leaf(names => [$_],
        extensions => aia("/$kind-many.pem")) }
        map { "s$_.example.hk" } 1 .. $n;
    my ($server, $store) = server($kind, 'root', catalogue(@other), %leaf);
    ok $server->wait_log(qr{site \Q$_\E: fetch: \S+-many\.pem: }),
        "$_: told" for (sort keys %leaf)[0, $n / 2, $n - 1];
    is asked("/$kind-many.pem"), 1, "$n sites, one request that failed";
    $server->stop;

    $sub->file(tmp() . "/$kind-many.pem");
    $server->start;
    becomes($server, $_, [$leaf{$_}, $sub], "$_: the chain is live")
        for sort keys %leaf;
    is asked("/$kind-many.pem"), 2, 'one download for all';
    is_deeply [pool($store)], [$sub->pem], 'the pool has it';
}
