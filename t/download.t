#!/usr/bin/perl

# Missing links come by themselves: from the catalogue's URLs, and from where
# the certificate itself says.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();

use Ecert::Client;
use Ecert::Live;
use Ecert::PKI;
use Ecert::Server;
use Ecert::Store;
use Ecert::Test;
use Ecert::Web;

my $site = 'www.example.hk';
my $pki = Ecert::PKI->new;
my ($root, $sub, $cross) = ($pki->root, $pki->sub, $pki->cross);
$root->file(tmp() . '/root.pem');

my %file = (
    '/sub.pem' => $sub->pem,
    '/sub.der' => $sub->der,
    '/sub.p7c' => pkcs7('DER', $sub),
    '/sub.p7b' => pkcs7('PEM', $sub),
    '/cross.pem' => $cross->pem,
);
my $web = Ecert::Web->new(answer => sub ($method, $path, $body) {
    return exists $file{$path}
        ? Ecert::Web::ok($file{$path}) : Ecert::Web::status(404);
});
my $allow = ['on', 'allow=127.0.0.0/8'];

for my $kind (servers()) {
    for my $form (qw(pem der p7c p7b)) {
        subtest "$kind, by the catalogue, $form" => sub {
            catalogue_way($kind, $form);
        };
    }
    subtest "$kind, by the certificate" => sub { aia_way($kind) };
    subtest "$kind, cross-certificate" => sub { cross_way($kind) };
    subtest "$kind, off" => sub { off($kind) };
    subtest "$kind, an address that is not allowed" => sub { refused($kind) };
}
done_testing;

sub pkcs7 ($form, @certs) {
    state $n = 0;
    my $in = tmp() . '/in' . $n++;
    my ($first, @more) = @certs;
    $first->file($in, @more);
    my ($status, $out) = run('openssl', 'crl2pkcs7', '-nocrl', '-certfile',
        $in, '-outform', $form, '-out', "$in.p7");
    $status == 0 or die "openssl crl2pkcs7: $out";
    return slurp("$in.p7");
}

# A catalogue that names these: [role, certificate, path].
sub catalogue (@entries) {
    state $n = 0;
    my $file = tmp() . '/catalogue' . $n++ . '.json';
    my @list = map {
        my ($role, $cert, $path) = @$_;
        { id => "$role-" . lc substr($cert->fingerprint, 0, 8), role => $role,
            name => $cert->cn, sha256 => $cert->fingerprint,
            status => 'current', url => $web->url($path) };
    } @entries;
    open my $out, '>', $file or die "$file: $!";
    print $out JSON::PP::encode_json({ schema => 'ecert-ca', version => 1,
        updated => '2026-01-01', name => 'Test', entries => \@list });
    close $out;
    return $file;
}

# A running server with an empty pool; its own root is known to it.
sub server ($kind, $leaf, $fetch, $catalogue, @pool) {
    my $store = Ecert::Store->new->add_issuers(@pool);
    $store->install($site, $leaf);
    return (Ecert::Server->new($kind, store => $store,
        conf => { ecert_fetch => $fetch, ecert_stapling => 'off',
            ecert_issuers => tmp() . '/root.pem',
            ecert_catalogue => $catalogue },
        vhosts => [{ names => [$site], ecert => 'on' }])->start, $store);
}

sub comes ($server, $store, $certs, $cert) {
    becomes($server, $site, $certs, 'the chain is live');
    my @pool = map { slurp($_) } glob $store->dir . '/issuers/*.pem';
    is_deeply \@pool, [$cert->pem], 'the pool has it, as PEM';
    my $line = $server->wait_log(qr/site \Q$site\E: downloaded /) // '';
    my $print = substr $cert->fingerprint, 0, 16;
    like $line, qr{\bdownloaded \Q@{[$cert->cn]}\E, SHA-256 $print, from http:},
        'the log says what came from where';
    is status_of($server, $site)->{download}, undef, 'nothing is wanted more';
}

sub catalogue_way ($kind, $form) {
    my $leaf = $pki->leaf(names => [$site]);
    my ($server, $store) = server($kind, $leaf, $allow,
        catalogue(['sub', $sub, "/sub.$form"]));
    comes($server, $store, [$leaf, $sub], $sub);
}

sub aia_way ($kind) {
    my $leaf = $pki->leaf(names => [$site], extensions => [
        Net::SSLeay::NID_info_access() =>
            'caIssuers;URI:' . $web->url('/sub.der')]);
    my ($server, $store) = server($kind, $leaf, $allow,
        catalogue(['sub', $pki->ev, '/none'])); # another name: of no use
    comes($server, $store, [$leaf, $sub], $sub);
}

sub cross_way ($kind) {
    my $leaf = $pki->leaf(names => [$site]);
    my ($server, $store) = server($kind, $leaf, $allow,
        catalogue(['cross', $cross, '/cross.pem']), $sub);
    becomes($server, $site, [$leaf, $sub, $cross], 'the chain is live');
}

sub off ($kind) {
    my $asked = () = $web->requests;
    my $leaf = $pki->leaf(names => [$site]);
    my ($server, $store) = server($kind, $leaf, 'off',
        catalogue(['sub', $sub, '/sub.pem']));
    becomes($server, $site, [$leaf], 'the leaf alone is served');
    # what would have been asked for by now with "on", see above
    my $next = $pki->leaf(names => [$site]);
    $store->install($site, $next);
    becomes($server, $site, [$next], 'and the next one');
    is scalar(() = $web->requests), $asked, 'nothing was asked for';
    is_deeply [glob $store->dir . '/issuers/*'], [], 'the pool is empty';
}

sub refused ($kind) {
    my $asked = () = $web->requests;
    my $leaf = $pki->leaf(names => [$site]);
    my ($server, $store) = server($kind, $leaf, 'on',
        catalogue(['sub', $sub, '/sub.pem']));
    my $port = $web->port;
    told($server, $site, 'fetch', $web->url('/sub.pem'), 'it is told');
    ok $server->wait_log(qr/127\.0\.0\.1 port $port is not allowed: only /),
        'in words';
    is scalar(() = $web->requests), $asked, 'nothing was asked for';
    serves($server, $site, [$leaf], 'the leaf is served');
    my $wanted = status_of($server, $site)->{download};
    is_deeply $wanted->{urls}, [$web->url('/sub.pem')], 'status: from where';
    like $wanted->{error}, qr/is not allowed/, 'status: why not';
}
