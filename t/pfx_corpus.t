#!/usr/bin/perl

# PFX files of other projects' tests, and some that tools have made: each is
# restored, or refused for the reason that is its own.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Command;
use Ecert::PFX;
use Ecert::Store;
use Ecert::Test;

my $dir = test_data('pfx');
plan skip_all => 'no test data' if !$dir;

# What is said without --name; what with one.  "waits": the key is restored as
# a request, as its certificate is not a CA's; under which name, where the
# file tells one.
my %verdict = (
    # nobody's server: a person, a company, a CA, a nickname
    (map { ("$_.p12" => ['name', 'waits']) } qw(bc_johndoe
        boring_empty_password boring_no_encryption boring_nss boring_pbes2_sha1
        boring_pbes2_sha256 boring_unicode_password pyca_cert-key-aes256cbc
        pyca_cert-none-key-none pyca_name-2-3-no-pwd pyca_name-3-no-pwd
        pyca_name-3-pwd pyca_name-all-no-pwd pyca_name-all-pwd
        pyca_name-unicode-pwd pyca_no-cert-key-aes256cbc pyca_no-password)),

    # self-signed for www.example.test
    (map { ("gen_$_.p12" => ['www.example.test', 'waits']) }
        qw(openssl3_default openssl3_legacy 3des_both_win2016 jdk_default
        jdk_legacy)),

    # certificates of a CA (the first with a signature that is not its own)
    # which name no server
    (map { ("bc_self-testcase-$_.p12" => ['purpose', 'names']) } qw(A G I)),
    'openssl_test-BER.p12' => ['purpose', 'names'],

    (map { ("$_.p12" => ['no-key', 'no-key']) } qw(bc_sample_cacerts
        openssl_v3-certs-RC2 openssl_v3-certs-TDES pyca_cert-aes256cbc-no-key
        pyca_no-cert-name-2-no-pwd pyca_no-cert-name-3-no-pwd
        pyca_no-cert-name-all-no-pwd pyca_no-cert-name-unicode-no-pwd
        pyca_no-cert-name-unicode-pwd pyca_no-cert-no-name-no-pwd
        pyca_no-cert-no-name-pwd)),

    # OpenSSL reads none of these either
    (map { ("$_.p12" => ['damaged', 'damaged']) } qw(boring_bad1 boring_bad2
        boring_bad3 boring_empty_password_ber_nested openssl_bad1)),

    'evil_iter20M.p12' => ['iterations', 'iterations'],
);

my @manifest = map { [split /\t/] } split /\n/, slurp("$dir/MANIFEST.tsv");
shift @manifest;
is_deeply [sort keys %verdict], [sort map { $_->[0] } @manifest],
    'there is a verdict for each';

for (@manifest) {
    my ($name, undef, $password, $result) = @$_;
    subtest $name => sub {
        plan skip_all => 'OpenSSL has no legacy provider'
            if "$name $result" =~ /legacy/ && !legacy();
        file("$dir/$name", $password, @{ $verdict{$name} });
        wrong("$dir/$name") if $verdict{$name}[1] ne 'damaged'
            && $name !~ /evil|no_encryption|cacerts/; # these need none
    };
}
done_testing;

sub legacy {
    state $there =
        (run(qw(openssl list -providers -provider legacy)))[0] == 0;
    return $there;
}

sub file ($file, $password, $without, $with) {
    my $store = Ecert::Store->new;
    if ($without =~ /\./) {
        waits($store, $without, $file, $password);
    } else {
        refused($store, $without, $file, $password);
    }
    if ($with eq 'waits') {
        waits($store, 'www.example.hk', $file, $password, '--name',
            'www.example.hk');
    } else {
        refused($store, $with, $file, $password, '--name', 'www.example.hk');
        is_deeply [glob $store->dir . '/{sites,issuers}/*'], [],
            'nothing is in the store';
    }
}

sub refused ($store, $word, $file, $password, @how) {
    my ($status, $out) = ecert($store, 'restore', $file, '--password-file',
        password_file($password), @how);
    is $status, 1, "refused @how" or diag $out;
    like $out, qr/^ecert: (?:site \S+: )?$word: /, "... for its $word";
}

sub waits ($store, $site, $file, $password, @how) {
    my ($status, $out) = ecert($store, 'restore', $file, '--password-file',
        password_file($password), @how);
    is $status, 0, "restored @how" or diag $out;
    like $out, qr/waits as a request/, '... as a request';
    is stored($store->site_dir($site) . '/pending/1')->{key},
        opened('openssl', $file, $password)->{key}, "... the key, for $site";
}

sub wrong ($file) {
    refused(Ecert::Store->new, 'password', $file, 'not the right one');
}
