#!/usr/bin/perl

# Backups that other programs open: OpenSSL, GnuTLS, NSS and Java find the same
# private key and all certificates of its path; both profiles.

use v5.36;
use utf8;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Command;
use Ecert::PFX;
use Ecert::PKI;
use Ecert::Store;
use Ecert::Test;

my $pki = Ecert::PKI->new;
my $store = Ecert::Store->new->add_issuers($pki->sub, $pki->cross, $pki->root);
my @sites = map { site(@$_) } ['rsa.example.hk', 'RSA-2048'],
    ['ec.example.hk', 'P-256'];
my @path = map { $_->fingerprint } $pki->sub, $pki->cross, $pki->root;
my $plain = 'correct horse';
my $unicode = 'Hello, 世界 é';

my %scheme = (
    windows => [[qr/^MAC: sha1, Iteration 10000$/],
        [qr/: pbeWithSHA1And3-KeyTripleDES-CBC, Iteration 10000$/]],
    modern => [[qr/^MAC: sha256, Iteration 100000$/],
        [qr/: PBES2, PBKDF2, AES-256-CBC, Iteration 100000, /,
            qr/, PRF hmacWithSHA256$/]],
);

for my $profile (sort keys %scheme) {
    for my $site (@sites) {
        subtest "$profile, $site->{name}" => sub { path($profile, $site) };
        subtest "$profile, key alone of $site->{name}" =>
            sub { alone($profile, $site) };
    }
}
done_testing;

# A site with a certificate, and one whose request waits.
sub site ($name, $kind) {
    my $leaf = $pki->leaf(names => [$name], key => $kind);
    my $pending = "new.$name";
    $store->install($name, $leaf);
    my ($status, $out) = ecert($store, 'new', $pending, '--key',
        $kind =~ /RSA/ ? 'rsa:2048' : 'ec:P-256');
    $status == 0 or die $out;
    return { name => $name, leaf => $leaf, pending => $pending,
        pending_key => slurp(glob $store->site_dir($pending)
            . '/pending/*/key.pem') };
}

sub path ($profile, $site) {
    my $key = key_text($site->{leaf}->key_pem);

    for ([plain => $plain], [Unicode => $unicode]) {
        my ($kind, $password) = @$_;
        my $file = backup($site->{name}, $profile, $password);

        encrypted($file, $profile, $password, 2);
        for my $tool (qw(openssl gnutls nss)) {
            opens($tool, $file, $password, $key, "$tool, $kind password",
                $site->{leaf}->fingerprint, @path);
        }
        java($file, $key, $site->{leaf}) if $password eq $plain;
    }
}

# It follows the issuers by their names: of root and cross-certificate, which
# have the same, to the one that is served.
sub java ($file, $key, $leaf) {
    opens('java', $file, $plain, $key, 'java, plain password',
        map { $_->fingerprint } $leaf, $pki->sub, $pki->cross);
}

# NSS opens none without its certificate, Java would not give it back.
sub alone ($profile, $site) {
    for ([plain => $plain], [Unicode => $unicode]) {
        my ($kind, $password) = @$_;
        my $file = backup($site->{pending}, $profile, $password, '--pending');

        encrypted($file, $profile, $password, 1);
        for my $tool (qw(openssl gnutls)) {
            opens($tool, $file, $password, key_text($site->{pending_key}),
                "$tool, $kind password");
        }
    }
}

sub backup ($site, $profile, $password, @how) {
    state $n = 0;
    my $file = tmp() . '/' . $n++ . '.pfx';
    my ($status, $out) = ecert($store, 'backup', $site, '-o', $file,
        '--profile', $profile, '--password-file', password_file($password),
        @how);

    is $status, 0, 'backup' or diag $out;
    is sprintf('%o', (stat $file)[2] & 07777), '600', '... for its owner alone';
    return $file;
}

# The MAC and each of the parts that are encrypted, and no other part.
sub encrypted ($file, $profile, $password, $parts) {
    my ($status, $out) = run('openssl', 'pkcs12', '-info', '-noout', '-in',
        $file, '-passin', 'file:' . password_file($password));
    my ($mac, $scheme) = @{ $scheme{$profile} };
    my @lines = grep { /Iteration/ } split /\n/, $out;

    is $status, 0, 'openssl tells how' or diag $out;
    is scalar @lines, 1 + $parts, '... MAC and parts';
    like $lines[0], $_, '... the MAC' for @$mac;
    for my $line (@lines[1 .. $#lines]) {
        like $line, $_, '... ' . $line =~ s/:.*//r for @$scheme;
    }
    my @bags = grep { /^(?:Key bag|PKCS7 Data)/ } split /\n/, $out;
    is_deeply \@bags, ['PKCS7 Data'], '... around the key bag alone';
}

sub opens ($tool, $file, $password, $key, $what, @certificates) {
    SKIP: {
        skip "$tool is not installed", 2 if !tool($tool);
        my $found = eval { opened($tool, $file, $password) } // { key => $@ };
        my ($leaf, @others) = @{ $found->{certificates} // [] };
        my ($own, @path) = @certificates;

        is $found->{key}, $key, "$what: the key";
        is_deeply [$leaf // (), sort @others], [$own // (), sort @path],
            '... and all certificates, its own first';
    }
}
