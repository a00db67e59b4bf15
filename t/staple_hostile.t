#!/usr/bin/perl

# A responder, or whoever sits on the way to it, may answer anything: it is told
# in words, nothing of it is stapled, what is served stays.  URLs that lead
# inside are not asked at all.  The forged kinds are in t/unit/test_ocsp_*.c;
# here each way of a refusal goes through a running server.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Time::HiRes ();

use Ecert::Live;
use Ecert::PKI;
use Ecert::Responder;
use Ecert::Server;
use Ecert::Store;
use Ecert::Test;
use Ecert::Web;

my $pki = Ecert::PKI->new;
my $twin = $pki->issue(subject => $pki->sub->{subject_list},
    issuer => $pki->stranger, not_before => time - 86400,
    not_after => time + 900 * 86400, ca => 1, eku => 'serverAuth');


sub ocsp_ok ($bytes) {
    return Ecert::Web::ok($bytes, 'application/ocsp-response');
}

# label => [what is sent, the words]; a string is the name of what is made.
my %attack = (
    trylater => [ocsp_ok("\x30\x03\x0a\x01\x03"), qr/tryLater|try ?later/i],
    unauthorized => [ocsp_ok("\x30\x03\x0a\x01\x06"), qr/unauthorized/i],
    internal => [ocsp_ok("\x30\x03\x0a\x01\x02"), qr/internal/i],
    hollow => [ocsp_ok("\x30\x03\x0a\x01\x00"), qr/./],
    html => [Ecert::Web::ok('<html>Log in</html>', 'text/html'),
        qr/it is no OCSP response/],
    empty => [ocsp_ok(''), qr/the body is empty/],
    certificate => [ocsp_ok($pki->sub->der), qr/it is no OCSP response/],
    endless => [sub ($c) {
        syswrite $c, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
        1 while syswrite $c, 'A' x 65536;
    }, qr/the body has more than 16384 bytes/],
    missing => [Ecert::Web::status(404), qr/the answer has status 404/],
    closed => ['', qr/there is no answer/],
    redirected => [Ecert::Web::status(302, 'Location: file:///etc/passwd'),
        qr/only http/],
    other => ['other', qr/./],
    forged => ['forged', qr/./],
    changed => ['changed', qr/./],
    trailing => ['trailing', qr/it is no OCSP response/],
    cut => ['cut', qr/it is no OCSP response/],
);
# label => [URL, words]: nobody connects there.
my %inside = (
    loopback => ['http://127.1.1.1/', qr/127\.1\.1\.1 port 80 is not allowed/],
    private => ['http://10.0.0.1/', qr/10\.0\.0\.1 port 80 is not allowed/],
    cloud => ['http://169.254.169.254/latest/',
        qr/169\.254\.169\.254 port 80 is not allowed/],
    six => ['http://[::1]/', qr/::1 port 80 is not allowed/],
    mapped => ['http://[::ffff:10.0.0.1]/', qr/is not allowed/],
    decimal => ['http://2130772225/', qr/127\.1\.1\.1 port 80 is not allowed/],
    any => ['http://0.0.0.0/', qr/0\.0\.0\.0 port 80 is not allowed/],
    local => ['http://[fe80::1]/', qr/is not allowed/],
    unique => ['http://[fd00::1]/', qr/is not allowed/],
    port => ['http://192.0.32.8:25/', qr/port 25 is not allowed/],
    user => ['http://a:b@192.0.32.8/', qr/a user or a password/],
    multicast => ['http://224.0.0.1/', qr/224\.0\.0\.1 port 80 is not allowed/],
);
my @labels = sort keys %attack;
my $web = Ecert::Web->new(answer => sub ($method, $path, $body) {
    ($path) = Ecert::Web::asked($method, $path, $body);
    my $label = $path =~ s{.*/}{}r;
    my $what = $attack{$label}[0];
    return -e tmp() . "/$label.der"
        ? ocsp_ok(slurp(tmp() . "/$label.der")) : $what;
});
my %leaf = map { $_ => leaf($_, $web->url("/$_")) } @labels;
my %inner = map { $_ => leaf($_, $inside{$_}[0]) } sort keys %inside;
responses();

for my $kind (servers()) {
    subtest $kind => sub { hostile($kind) };
}
done_testing;

sub leaf ($label, $url) {
    return $pki->leaf(names => ["$label.example.hk"], extensions => [
        Net::SSLeay::NID_info_access() => "OCSP;URI:$url"]);
}

# What `openssl ocsp` says about this certificate.
sub response ($ca, $cert) {
    my $responder = Ecert::Responder->new($ca);
    $responder->knows($cert)->list;
    my $dir = $responder->{dir};
    my $serial = uc $cert->serial;
    my ($status, $out) = run('openssl', 'ocsp', '-index', "$dir/index.txt",
        '-rsigner', "$dir/ca.pem", '-rkey', "$dir/ca.key", '-CA',
        "$dir/ca.pem", '-ndays', 7, '-issuer', "$dir/ca.pem", '-serial',
        "0x$serial", '-respout', "$dir/out.der");
    -s "$dir/out.der" or die "openssl ocsp: $out";
    return slurp("$dir/out.der");
}

sub responses {
    my $right = response($pki->sub, $leaf{changed});
    my %made = (
        other => response($pki->sub, $leaf{html}),
        forged => response($twin, $leaf{forged}),
        changed => $right =~ s/(\d)Z/(1 + $1) % 10 . 'Z'/er, # a second
        trailing => response($pki->sub, $leaf{trailing}) . 'more',
        cut => substr(response($pki->sub, $leaf{cut}), 0, -1),
    );
    for my $label (keys %made) {
        open my $out, '>:raw', tmp() . "/$label.der" or die "$label: $!";
        print $out $made{$label};
        close $out;
    }
}

sub hostile ($kind) {
    my $store = Ecert::Store->new->add_issuers($pki->sub, $pki->cross);
    my %all = (%leaf, %inner);
    my %words = ((map { $_ => $attack{$_}[1] } @labels),
        map { $_ => $inside{$_}[1] } keys %inside);
    $store->install("$_.example.hk", $all{$_}) for keys %all;
    my $before = () = $web->requests;
    my $begin = Time::HiRes::time();
    my $server = Ecert::Server->new($kind, store => $store,
        conf => { ecert_fetch => ['on', 'allow=127.0.0.1'] },
        vhosts => [map { { names => ["$_.example.hk"], ecert => 'on' } }
            sort keys %all])->start;
    for my $label (sort keys %all) {
        my $site = "$label.example.hk";
        my $line = $server->wait_log(qr/site \Q$site\E: (?:fetch|ocsp): /) // '';
        like $line, qr/warn.*$words{$label}/, "$label: told"
            or diag complaints($server, $site);
        serves($server, $site, [$all{$label}, $pki->sub, $pki->cross],
            "$label: what is served stays");
    }
    is_deeply [glob $store->dir . '/ocsp/*'], [], 'nothing is kept';
    is status_of($server, 'forged.example.hk')->{staple}{state}, 'none',
        'status: there is no staple';
    my $asked = (() = $web->requests) - $before;
    my $rounds = 1 + int((Time::HiRes::time() - $begin) / 30);
    # by GET, and where that was answered by POST
    ok $asked >= @labels && $asked <= 2 * $rounds * @labels,
        "each was asked once ($asked of " . @labels . ')';
    my (undef, $out) = run('openssl', 's_client', '-status', '-connect',
        '127.0.0.1:' . $server->port, '-servername', 'forged.example.hk');
    like $out, qr/OCSP responses?: no responses? sent/, 'nothing is stapled';
    $server->stop; # it would ask again
}
