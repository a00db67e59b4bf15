#!/usr/bin/perl

# `ecert issuers`: the pool of CA certificates, with the real ones where they
# are at hand.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Command;
use Ecert::PKI;
use Ecert::Says;
use Ecert::Store;
use Ecert::Test;

my $site = 'www.example.hk';
my $pki = Ecert::PKI->new;
my %real = map { my $file = test_data("pki/$_->[1]"); $file ? ($_->[0], $file)
    : () } [ov => 'ecert_ssl_ca_3-17_NEW_2025_eku.pem'],
    [ov_old => 'ecert_ssl_ca_3-17_OLD_2017_noeku.pem'],
    [ev => 'ecert_ev_ssl_ca_3-17_NEW_2025_eku.pem'],
    [ev_old => 'ecert_ev_ssl_ca_3-17_OLD_2017_noeku.pem'],
    [cross => 'root_ca_3_x_gsca_r3_2022.pem'],
    [dead => 'root_ca_3_x_root_ca_1_20220727_to2029.pem'],
    [expired => 'root_ca_3_x_root_ca_1_20170603_EXPIRED.pem'],
    [root1 => 'Hongkong_Post_Root_CA_1.pem'],
    [root3 => 'Hongkong_Post_Root_CA_3.pem'];

subtest 'add' => \&add;
subtest 'what is refused' => \&refused;
subtest 'remove' => \&remove;
subtest 'the real Sub CAs' => \&real_subs;
subtest 'the real cross-certificates' => \&real_cross;
subtest 'wrong usage' => \&usage;
done_testing;

sub pem ($name, @certs) {
    return Ecert::Store->new(dir => tmp())->put(tmp() . "/$name",
        join('', map { $_->pem } @certs), 0644);
}

sub pool ($store) { return ecert_json($store, 'issuers', 'list')->{issuers} }

sub states ($store) {
    return { map { $_->{sha256} => $_->{state} } @{ pool($store) } };
}

sub add {
    my ($sub, $cross) = ($pki->sub, $pki->cross);
    my $store = Ecert::Store->new;
    my $der = $store->put(tmp() . '/sub.crt', $sub->der, 0644);
    my $p7 = tmp() . '/both.p7b';
    run('openssl', 'crl2pkcs7', '-nocrl', '-certfile',
        pem('both.pem', $sub, $cross), '-outform', 'DER', '-out', $p7);
    says($store,
        [['issuers', 'list'], 0, qr/^The pool is empty\.  Download Sub CA and/],
        [['issuers', 'add', $der], 0,
            qr/\Aadded: CA Hongkong Post e-Cert SSL CA 3 - 17, until \S+\n\z/],
        [['issuers', 'add', $p7], 0, qr/^there already: CA .* 17, until/m,
            qr/^added: CA Hongkong Post Root CA 3, until/m],
        [['issuers', 'add', pem('a.pem', $pki->root), pem('b.pem', $pki->ev)],
            0, qr/^added: root Hongkong Post Root CA 3/m, qr/^added: CA .*EV/m],
        [['issuers', 'list'], 0,
            qr/^in use +Hongkong Post e-Cert SSL CA 3 - 17$/m,
            qr/^root +Hongkong Post Root CA 3$/m]);
    is_deeply states($store), { (map { $_->fingerprint => 'in use' } $sub,
        $cross, $pki->ev), $pki->root->fingerprint => 'root' }, 'as JSON';
    my ($one) = grep { $_->{sha256} eq $sub->fingerprint } @{ pool($store) };
    is_deeply [map { s/T.*//r } @$one{qw(not_before not_after)}],
        [map { day_of($_) } $sub->not_before, $sub->not_after], 'the dates';
    my ($status, $out) = parts($store,
        { input => pem('c.pem', $pki->ev_old) }, 'issuers', 'add', '-');
    is $status, 0, 'standard input';
    is sprintf('%o', (stat $store->dir . "/issuers/$one->{file}")[2] & 0777),
        '644', 'for all to read';
}

sub refused {
    my $store = Ecert::Store->new;
    my $old = $pki->cross(not_before => time - 900, not_after => time - 60);
    my $key = $store->put('key.pem', $pki->sub->key_pem);
    says($store,
        [['issuers', 'add', pem('leaf.pem', $pki->leaf)], 1,
            qr/: not-a-ca: .*not a CA's \(it is a server's\); install .* install$/m,
            [qr/not one for a TLS server/]],
        [['issuers', 'add', pem('mail.pem', $pki->leaf(eku => 'emailProtection'))],
            1, qr/: not-a-ca: \S+: the certificate is not a CA's; /],
        [['issuers', 'add', pem('old.pem', $old)], 1,
            qr/: expired: Hongkong Post Root CA 3: .*; get the present one/],
        [['issuers', 'add', pem('mix.pem', $pki->leaf, $pki->sub)], 1,
            qr/: not-a-ca: /, qr/^added: CA .*SSL CA 3 - 17/m],
        [['issuers', 'add', $store->put('e', '')], 1, qr/: empty: /],
        [['issuers', 'add', $store->put('h', '<html>')], 1, qr/: format: /],
        [['issuers', 'add', tmp() . '/none'], 1, qr/: missing: /]);
    is_deeply states($store), { $pki->sub->fingerprint => 'in use' },
        'what was good of it is there';
}

sub remove {
    my ($sub, $cross, $ev) = ($pki->sub, $pki->cross, $pki->ev);
    my $store = Ecert::Store->new->add_issuers($sub, $cross, $ev);
    $store->install($site, $pki->leaf(names => [$site]));
    my $file = lc(substr $ev->fingerprint, 0, 16) . '.pem';
    my $short = substr $sub->fingerprint, 0, 12;
    says($store,
        [['issuers', 'remove', 'none.pem'], 1,
            qr/missing: none\.pem: .*8 or more/],
        [['issuers', 'remove', substr $sub->fingerprint, 0, 7], 1,
            qr/: missing/],
        [['issuers', 'remove', $short], 1,
            qr/: in-use: .* 17, for site \Q$site\E\); give it up with --force/],
        [['issuers', 'remove', substr $cross->fingerprint, 0, 16], 1,
            qr/: in-use: /],
        # as openssl shows it, and as it comes out of a window of Windows
        [['issuers', 'remove', join ':', $cross->fingerprint =~ /../g], 1,
            qr/: in-use: /],
        [['issuers', 'remove', "\xe2\x80\x8e"
            . lc join ' ', $cross->fingerprint =~ /../g], 1, qr/: in-use: /],
        [['issuers', 'remove', $cross->fingerprint . '0'], 1, qr/: missing/],
        [['issuers', 'remove', $file], 0,
            qr{^set aside: CA .*EV.* \(\Q$file\E, now in issuers/\.aside\)$}m],
        [['issuers', 'remove', $file], 1, qr/: missing: /],
        [['check', $site], 0]);
    is states($store)->{ $ev->fingerprint }, 'set aside', 'nothing is lost';
    says($store,
        [['issuers', 'remove', '--force', lc $short], 0, qr/^set aside: CA/m],
        [['check', $site], 1, qr/chain-incomplete/],
        [['issuers', 'add', pem('sub.pem', $sub)], 0, qr/^added: CA/m],
        [['check', $site], 0]);
    my @log = map { "$_->{command} $_->{certificate_sha256}" }
        @{ ecert_json($store, 'log')->{log} };
    is_deeply \@log, ['issuers remove ' . $ev->fingerprint,
        'issuers remove ' . $sub->fingerprint,
        'issuers add ' . $sub->fingerprint], 'and the log tells it';
}

sub real_subs {
    plan skip_all => 'no test data (ECERT_TEST_DATA)' if !$real{ov};
    my %url = (ov => 'ecert_ssl_ca_3-17', ev => 'ecert_ev_ssl_ca_3-17');
    for my $kind (sort keys %url) {
        my $store = Ecert::Store->new;
        my $name = $kind eq 'ov' ? 'SSL' : 'EV SSL';
        my $new = $real{$kind};
        my $old = $real{"${kind}_old"};
        says($store,
            [['issuers', 'add', $old], 1,
                qr/: denied: Hongkong Post e-Cert $name CA 3 - 17: .*2017-/,
                qr{; get the new one: http://\S+/$url{$kind}_pem\.crt$}m]);
        is_deeply states($store), {}, "$kind: the old one is not in the pool";

        # as somebody copied it there, under any name
        $store->put('issuers/any.crt', slurp($old), 0644);
        says($store,
            [['issuers', 'list'], 0, qr/^old +Hongkong Post e-Cert $name CA/m,
                qr/replaced in March 2025/],
            [['issuers', 'add', $new], 0,
                qr/^added: Sub CA Hongkong Post e-Cert $name CA 3 - 17, until/m,
                qr/^set aside: .*the old one \(any\.crt\)$/m],
            [['issuers', 'list'], 0,
                qr/^set aside +Hongkong Post e-Cert $name/m,
                qr/Sub CA, 2025-03-20 to 2032-06-03/]);
        ok -e $store->dir . '/issuers/.aside/any.crt', 'it is kept';

        $store->put('issuers/two.pem', slurp($old) . slurp($new), 0644);
        says($store, [['issuers', 'add', $new], 0,
            qr/^old, never served: .* in two\.pem, among others$/m]);
    }
}

sub real_cross {
    plan skip_all => 'no test data (ECERT_TEST_DATA)' if !$real{cross};
    my $store = Ecert::Store->new;
    says($store,
        [['issuers', 'add', $real{cross}], 0,
            qr/^added: cross-certificate Hongkong Post Root CA 3, until 2029/],
        [['issuers', 'add', $real{dead}], 1,
            qr/: denied: .*Root CA 1, expired on 2023-05-15/,
            qr{; get the new one: http://\S+/root_ca_3_x_gsca_r3_pem\.crt$}m],
        [['issuers', 'add', $real{expired}], 1, qr/: (?:denied|expired): /],
        [['issuers', 'add', $real{root1}], 1, qr/: expired: .*Root CA 1/],
        [['issuers', 'add', $real{root3}], 0,
            qr/^added: root Hongkong Post Ro/],
        [['issuers', 'list'], 0,
            qr/cross-certificate, 2022-11-16 to 2029-03-18\n +useful to old/,
            qr/useful to old clients until 2027-04-15$/m]);
    my ($one) = grep { $_->{id} && $_->{id} eq 'root-ca-3-x-gsca-r3' }
        @{ pool($store) };
    is "$one->{state} $one->{role}", 'in use cross-certificate', 'as JSON';
    like $one->{useful_until}, qr/^2027-04-1[56]T/, 'with its date';
    at_time('2029-03-19 00:00:00', sub {
        says($store, [['issuers', 'list'], 0,
            qr/^expired +Hongkong Post Root CA 3$/m]);
    }) or note 'no libfaketime';
}

sub usage {
    my $store = Ecert::Store->new;
    says($store,
        [['issuers'], 2,
            qr/^ecert issuers: which of these\?\n(?:  ecert issuers \w+ .*\n)/],
        [['issuers', 'add'], 2, qr/^ecert issuers add: a FILE is wanted/],
        [['issuers', 'remove'], 2,
            qr/^ecert issuers remove: a FILE of the pool/],
        [['issuers', 'list', 'x'], 2, qr/^ecert issuers list: no argument is/],
        [['issuers', 'list', '--force'], 2, qr/--force/],
        [['issuers', 'list', '--catalogue', '/none'], 1,
            qr/: missing: \/none/]);
}
