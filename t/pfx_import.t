#!/usr/bin/perl

# PFX files that OpenSSL, GnuTLS, NSS and Java have written, in old and new
# ways, are restored: key, certificate, the certificates of its path.

use v5.36;
use utf8;
use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use MIME::Base64;

use Ecert::Command;
use Ecert::PFX;
use Ecert::PKI;
use Ecert::Store;
use Ecert::Test;

my $pki = Ecert::PKI->new;
my @path = ($pki->sub, $pki->cross);
my %leaf = map {
    $_ => $pki->leaf(key => $_, names => ['www.example.hk', 'example.hk'])
} qw(RSA-2048 P-256);
my $rc2 = 'PBE-SHA1-RC2-40';
my $triple = 'PBE-SHA1-3DES';

# Program, what is special, its options, the key of the site.
my @files = (
    ['openssl', 'as it is', [], 'RSA-2048'],
    ['openssl', 'as it is', [], 'P-256'],
    ['openssl', 'RC2-40', ['-legacy', -certpbe => $rc2, -keypbe => $rc2],
        'P-256'],
    ['openssl', 'as OpenSSL 1.1', ['-legacy'], 'RSA-2048'],
    ['openssl', 'as Windows Server 2016',
        [-certpbe => $triple, -keypbe => $triple, -macalg => 'sha1'],
        'RSA-2048'],
    ['openssl', 'AES-128',
        [-certpbe => 'AES-128-CBC', -keypbe => 'AES-128-CBC'], 'P-256'],
    ['openssl', 'without a MAC', ['-nomac'], 'P-256'],
    ['openssl', 'MAC with SHA-512', [-macalg => 'sha512'], 'RSA-2048'],
    ['openssl', 'MAC after RFC 9579', ['-pbmac1_pbkdf2'], 'P-256'],
    ['openssl', 'certificates in the open', [-certpbe => 'NONE'], 'P-256'],
    ['openssl', 'all in the open', [-certpbe => 'NONE', -keypbe => 'NONE'],
        'RSA-2048'],
    ['openssl', 'one iteration', [-iter => 1], 'RSA-2048'],
    ['openssl', '1,000,000 iterations', [-iter => 1_000_000], 'P-256'],
    ['gnutls', 'as it is', [], 'RSA-2048'],
    ['gnutls', 'as it is', [], 'P-256'],
    ['gnutls', 'with the root', [], 'P-256'],
    ['gnutls', '3DES', ['--pkcs-cipher', '3des-pkcs12'], 'RSA-2048'],
    ['gnutls', 'RC2-40', ['--pkcs-cipher', 'rc2-40'], 'P-256'],
    ['nss', 'as it is', [], 'RSA-2048'],
    ['nss', 'as it is', [], 'P-256'],
    ['nss', '3DES and RC2-40',
        [-c => 'PKCS #12 V2 PBE With SHA-1 And 3KEY Triple DES-CBC',
            -C => 'PKCS #12 V2 PBE With SHA-1 And 40 Bit RC2 CBC'],
        'RSA-2048'],
    ['java', 'as it is', [], 'RSA-2048'],
    ['java', 'as it is', [], 'P-256'],
    ['java', 'as Java 8', ['-J-Dkeystore.pkcs12.legacy'], 'RSA-2048'],
);

for (@files) {
    my ($tool, $what, $how, $kind) = @$_;
    subtest "$tool, $what, $kind" => sub {
        plan skip_all => lacks($tool, $what, "@$how")
            if lacks($tool, $what, "@$how");
        restores($leaf{$kind}, 'correct horse',
            written($tool, $leaf{$kind}, how => $how,
                chain => [@path, ($pki->root) x ($what =~ /root/)]));
    };
}

# Java's own passwords end at ASCII.
for my $tool (qw(openssl gnutls nss)) {
    subtest "$tool, Unicode password" => sub {
        plan skip_all => "$tool is not installed" if !tool($tool);
        my $password = 'Hello, 世界 é';
        restores($leaf{'P-256'}, $password, written($tool, $leaf{'P-256'},
            chain => \@path, password => $password));
    };
}

# As certtool writes it when nobody says otherwise, as certutil -encode does, and
# as .NET does.
for my $label ('PKCS12', 'CERTIFICATE', undef) {
    subtest 'openssl, in Base64' . ($label ? ", $label" : '') => sub {
        my $text = encode_base64(slurp(written('openssl', $leaf{'P-256'},
            chain => \@path)), $label ? "\r\r\n" : '');
        my $file = tmp() . '/wrapped.txt';
        open my $out, '>', $file or die "$file: $!";
        print {$out} $label ? "-----BEGIN $label-----\n$text"
            . "-----END $label-----\n" : $text;
        close $out or die "$file: $!";
        restores($leaf{'P-256'}, 'correct horse', $file);
    };
}

subtest 'openssl, empty password' => sub {
    restores($leaf{'P-256'}, '', written('openssl', $leaf{'P-256'},
        chain => \@path, password => ''));
};
done_testing;

sub lacks ($tool, $what, $how) {
    return "$tool is not installed" if !tool($tool);
    return 'OpenSSL has no legacy provider' if $what =~ /RC2|OpenSSL 1/
        && (run(qw(openssl list -providers -provider legacy)))[0] != 0;
    return 'this OpenSSL does not know it' if $how =~ /pbmac1/
        && (run(qw(openssl pkcs12 -help)))[1] !~ /pbmac1_pbkdf2/;
    return undef;
}

sub restores ($leaf, $password, $file) {
    my $store = Ecert::Store->new;
    my ($status, $out) = ecert($store, 'restore', $file, '--password-file',
        password_file($password));
    is $status, 0, 'restored' or diag $out;

    my $current = $store->site_dir('www.example.hk') . '/current';
    my ($own, @others) = @{ stored($current)->{certificates} };
    my @wanted = sort map { $_->fingerprint } @path;

    is readlink $current, 'generations/1', '... and current';
    is stored($current)->{key}, key_text($leaf->key_pem), '... the key';
    is $own, $leaf->fingerprint, '... its certificate';
    is_deeply [sort @others], \@wanted, '... the path beside it';
    is_deeply [sort map { certificates_of(slurp($_)) }
        glob $store->dir . '/issuers/*.pem'], \@wanted, '... and in the pool';
    served($store, $leaf);
}

# What a server would say to it.
sub served ($store, $leaf) {
    my ($status, $out) = ecert($store, 'check', 'www.example.hk');
    is $status, 0, 'a server would take it' or diag $out;

    my $site = ecert_json($store, 'check', 'www.example.hk')->{sites}[0];
    is $site->{state}, 'valid', '... as valid';
    is $site->{leaf}{sha256}, $leaf->fingerprint, '... with its certificate';
    is_deeply [map { $_->{sha256} } @{ $site->{chain} }],
        [map { $_->fingerprint } @path], '... and the chain in its order';
    is_deeply JSON::PP->new->decode(slurp($store->site_dir('www.example.hk')
        . '/site.json'))->{names}, ['example.hk'], '... for all its names';
}
