#!/usr/bin/perl

# Whoever sits on the way of a download by plain http can send anything: each
# is refused in its own words, what is served stays, and the next try waits.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use Time::HiRes ();

use Ecert::Live;
use Ecert::PKI;
use Ecert::Server;
use Ecert::Store;
use Ecert::Test;
use Ecert::Web;

my $pki = Ecert::PKI->new;
my ($root, $sub) = ($pki->root, $pki->sub);
$root->file(tmp() . '/root.pem');

my $stranger = $pki->stranger($sub->cn);
my $other_key = like_sub(issuer => $pki->stranger($root->cn));
my $expired = like_sub(key => $sub->key, not_before => time - 90 * 86400,
    not_after => time - 86400);
my $denied = like_sub(key => $sub->key);
my $cross = $pki->issue(subject => $root->{subject_list}, key => $root->key,
    issuer => $pki->stranger('Evil Root'), not_before => time - 86400,
    not_after => time + 900 * 86400, ca => 1);
my $secret = Ecert::Web->new(answer => sub { Ecert::Web::ok($sub->pem) });

# label => [what is sent, reason word, words]
my %attack = (
    denied => [Ecert::Web::ok($denied->der), 'denied', qr/denied|replaced/],
    twin => [Ecert::Web::ok($pki->sub_old->pem), 'purpose',
        qr/no extended key usage for TLS servers/],
    'other-key' => [Ecert::Web::ok($other_key->pem), 'chain-incomplete', qr/did not sign/],
    'self-signed' => [Ecert::Web::ok($stranger->pem), 'chain-incomplete',
        qr/a self-signed root/],
    expired => [Ecert::Web::ok($expired->pem), 'chain-incomplete', qr/it has expired/],
    leaf => [Ecert::Web::ok($pki->leaf->pem), 'chain-incomplete',
        qr/no path from the leaf/],
    two => [Ecert::Web::ok($sub->pem . $pki->ev->pem), 'too-many',
        qr/2 certificates where one is expected/],
    html => [Ecert::Web::ok("<html><body>Please log in</body></html>",
        'text/html'), 'format', qr/a web page/],
    empty => [Ecert::Web::ok(''), 'fetch', qr/the body is empty/],
    endless => [sub ($c) {
        syswrite $c, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
        1 while syswrite $c, 'A' x 65536;
    }, 'fetch', qr/the body has more than 65536 bytes/],
    file => [Ecert::Web::status(302, 'Location: file:///etc/passwd'), 'fetch',
        qr{redirects to file:///etc/passwd: only http:// and https://}],
    inside => [Ecert::Web::status(302, 'Location: '
        . $secret->url('/') =~ s/127\.0\.0\.1/127.0.0.2/r), 'fetch',
        qr/127\.0\.0\.2 port \d+ is not allowed/],
    missing => [Ecert::Web::status(404), 'fetch', qr/the answer has status 404/],
    'not-yet' => [Ecert::Web::ok(like_sub(key => $sub->key,
        not_before => time + 86400)->der), 'chain-incomplete',
        qr/it is not valid yet/],
    'not-a-ca' => [Ecert::Web::ok(like_sub(key => $sub->key, ca => 0,
        pathlen => undef)->der), 'chain-incomplete',
        qr/it may not issue certificates/],
    mail => [Ecert::Web::ok(like_sub(key => $sub->key,
        eku => 'emailProtection')->der), 'purpose|chain-incomplete',
        qr/no extended key usage for TLS|does not verify|may not issue/],
    'no-root' => [Ecert::Web::ok(like_sub(key => $sub->key,
        issuer => $pki->stranger('Elsewhere Root'))->der), 'chain-incomplete',
        qr/to no known root; if you trust it: ecert issuers add FILE/],
    'same-root-name' => [Ecert::Web::ok(like_sub(key => $sub->key,
        issuer => $pki->stranger($root->cn))->der), 'chain-incomplete',
        qr/the chain still leads to no known root/],
    key => [Ecert::Web::ok(slurp($sub->key_file(tmp() . '/some.key'))),
        'format', qr/found a private key/],
    garbage => [Ecert::Web::ok("\x30\x82\x01\x00" . 'x' x 256), 'format|damaged',
        qr/neither PEM, DER nor PKCS#7|damaged/],
    trailing => [Ecert::Web::ok($sub->der . 'more'), 'format',
        qr/a certificate with something behind it/],
    half => [Ecert::Web::ok(substr $sub->pem, 0, 300), 'truncated',
        qr/has no end/],
    cut => ["HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" . $sub->pem,
        'fetch', qr/the body is shorter than announced/],
    closed => ['', 'fetch', qr/there is no answer/],
    packed => [Ecert::Web::ok("\x1f\x8b\x08" . 'x' x 99), 'format',
        qr/found an archive \(gzip\)/],
    loop => [Ecert::Web::status(302, 'Location: loop'), 'fetch',
        qr/more than two redirects/],
    chunks => ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        'fetch', qr/the answer cannot be received/],
    huge => ["HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\nx",
        'fetch', qr/the body has more than 65536 bytes/],
);
my @labels = sort keys %attack;
my $web = Ecert::Web->new(answer => sub ($method, $path, $body) {
    my $label = $path =~ s{.*/}{}r;
    return $label eq 'cross' ? Ecert::Web::ok($cross->pem) : $attack{$label}[0];
});

# Signed by the same root as the Sub CA, with its name, and more.
sub like_sub (%o) {
    return $pki->issue(subject => $sub->{subject_list}, issuer => $root,
        not_before => time - 86400, not_after => time + 900 * 86400, ca => 1,
        pathlen => 0, eku => 'serverAuth,clientAuth', %o);
}

for my $kind (servers()) {
    subtest $kind => sub { hostile($kind) };
    subtest "$kind, a forged cross-certificate" => sub { cross($kind) };
}
done_testing;

# Knows the root by name, as the built-in one does, and sends each site to its
# own attacker: by the leaf's AIA.
sub catalogue (@more) {
    state $n = 0;
    my $file = tmp() . '/catalogue' . $n++ . '.json';
    open my $out, '>', $file or die "$file: $!";
    print $out JSON::PP::encode_json({ schema => 'ecert-ca', version => 1,
        updated => '2026-01-01', name => 'Test', entries => [
            { id => 'root', role => 'root', name => $root->cn,
                sha256 => $root->fingerprint },
            { id => 'old', role => 'sub', name => $sub->cn,
                sha256 => $denied->fingerprint, status => 'denied',
                reason => 'replaced by another' }, @more ] });
    close $out;
    return $file;
}

# The chain is whole without it, so that only the forged one is in question: it
# has name and key of the root, under somebody else's signature.
sub cross ($kind) {
    my ($site, $other) = ('cross.example.hk', $pki->cross_root);
    my $store = Ecert::Store->new->add_issuers($sub);
    my $leaf = $pki->leaf(names => [$site]);
    my $url = $web->url("/$kind/cross");
    $store->install($site, $leaf);
    my $server = Ecert::Server->new($kind, store => $store,
        conf => { ecert_fetch => ['on', 'allow=127.0.0.1'],
            ecert_stapling => 'off', ecert_issuers => tmp() . '/root.pem',
            ecert_catalogue => catalogue(
                { id => 'other', role => 'root',
                    name => 'GlobalSign Root CA - R3',
                    sha256 => $other->fingerprint },
                { id => 'cross', role => 'cross', issuer => 'other',
                    name => $root->cn, sha256 => $pki->cross->fingerprint,
                    url => $url }) },
        vhosts => [{ names => [$site], ecert => 'on' }])->start;
    my $line = $server->wait_log(qr/site \Q$site\E: [\w-]+: \Q$url\E: /) // '';
    like $line, qr/: chain-incomplete: .*the chain still leads to no known root/,
        'the words';
    serves($server, $site, [$leaf, $sub], 'what is served stays');
    is_deeply [map { slurp($_) } glob $store->dir . '/issuers/*'], [$sub->pem],
        'nothing got in';
}

sub hostile ($kind) {
    my $store = Ecert::Store->new;
    my (%leaf, @vhosts);
    for my $label (@labels) {
        my $site = "$label.example.hk";
        $leaf{$label} = $pki->leaf(names => [$site], extensions => [
            Net::SSLeay::NID_info_access() =>
                'caIssuers;URI:' . $web->url("/$kind/$label")]);
        $store->install($site, $leaf{$label});
        push @vhosts, { names => [$site], ecert => 'on' };
    }
    my $begin = Time::HiRes::time();
    my $server = Ecert::Server->new($kind, store => $store,
        conf => { ecert_fetch => ['on', 'allow=127.0.0.1'],
            ecert_stapling => 'off', ecert_issuers => tmp() . '/root.pem',
            ecert_catalogue => catalogue() },
        vhosts => \@vhosts)->start;
    for my $label (@labels) {
        my $site = "$label.example.hk";
        my ($what, $reason, $words) = @{ $attack{$label} };
        my $url = $web->url("/$kind/$label");
        my $line = $server->wait_log(
            qr/site \Q$site\E: [\w-]+: \Q$url\E: /) // '';
        like $line, qr/: (?:$reason): /, "$label: the reason";
        like $line, $words, "$label: the words";
        serves($server, $site, [$leaf{$label}], "$label: what is served stays");
    }
    is_deeply [glob $store->dir . '/issuers/*'], [], 'nothing got in';
    is scalar(() = $secret->requests), 0, 'nobody was asked who is not allowed';

    # The floor is 30 seconds: in a look at the clock nobody was asked twice.
    my $asked = () = grep { $_->[3] =~ m{^/$kind/(?!loop)} } $web->requests;
    my $rounds = 1 + int((Time::HiRes::time() - $begin) / 30);
    my $sites = @labels - 1; # the loop is asked three times
    ok $asked >= $sites && $asked <= $rounds * $sites,
        "each was asked once ($asked of $sites)";
    is scalar(grep { /site denied\.example\.hk: denied: / }
        split /\n/, $server->log), 1, 'and told once';
}
