#!/usr/bin/perl

# `ecert chain` prints what the servers serve, says why, and what a client
# makes of it.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Client;
use Ecert::PKI;
use Ecert::Server;
use Ecert::Store;
use Ecert::Test;

my $day = 86400;
my $site = 'www.example.hk';
my $pki = Ecert::PKI->new;
my ($sub, $cross) = ($pki->sub, $pki->cross);
my $leaf = $pki->leaf(names => [$site]);
my $store = Ecert::Store->new->add_issuers($sub, $pki->sub_old, $cross);
my @full = ($leaf, $sub, $cross);
my $file = $leaf->file(tmp() . '/leaf.pem');
my $issuers = $store->dir . '/issuers';
my ($root, $cross_root) = map { $pki->$_->file(tmp() . "/$_.pem") }
    qw(root cross_root);
$store->install($site, $leaf);

subtest 'as served' => \&as_served;
subtest 'formats' => \&formats;
subtest 'dates' => \&dates;
subtest 'clients' => \&clients;
subtest 'reasons' => \&reasons;
subtest 'the real CA' => \&real;
done_testing;

# (exit code, standard output, standard error)
sub chain (@args) {
    my ($out, $err) = map { tmp() . "/$_" } qw(stdout stderr);
    my ($status) = run('sh', '-c', "exec \"\$0\" chain \"\$@\" >$out 2>$err",
        build_dir() . '/ecert', @args);
    return ($status, slurp($out), slurp($err));
}

sub pem (@certs) { return join '', map { $_->pem } @certs }

sub prints ($args, $status, $certs, $what) {
    my @got = chain(@$args);
    is "$got[0]\n$got[1]", "$status\n" . pem(@$certs), $what or diag $got[2];
    return $got[2];
}

sub as_served {
    prints(['--store', $store->dir, $file], 0, \@full, 'from the store');
    for my $kind (servers()) {
        my $server = Ecert::Server->new($kind, store => $store, vhosts => [
            { names => [$site], ecert => 'on' } ])->start;
        my $served = handshake($server->port, name => $site);
        is pem(@{ $served->{certs} }), (chain('--store', $store->dir, $file))[1],
            "$kind serves exactly this";
        $server->stop;
    }
    local $ENV{ECERT_STORE} = $store->dir;
    prints([$file], 0, \@full, 'ECERT_STORE');
}

sub formats {
    my $dir = tmp();
    my $all = $cross->file("$dir/all.pem", $sub, $leaf);
    my $none = Ecert::Store->new->dir;
    prints(['--store', $none, $all], 0, \@full, 'one file, in wrong order');

    open my $der, '>:raw', "$dir/leaf.crt" or die $!;
    print $der $leaf->der;
    close $der;
    prints(['--issuers', $issuers, "$dir/leaf.crt"], 0, \@full, 'DER');
    run('openssl', 'crl2pkcs7', '-nocrl', '-certfile', $all, '-out',
        "$dir/all.p7b");
    prints(['--store', $none, "$dir/all.p7b"], 0, \@full, 'PKCS#7');
    prints(['--issuers', $sub->file("$dir/sub.pem"), '--issuers',
        $cross->file("$dir/cross.pem"), $file], 0, \@full, '--issuers, files');

    my $err = prints(['--store', $none, $file], 1, [$leaf], 'a leaf alone');
    like $err, qr/^ecert: no path leads to a known root; missing: .*SSL CA 3/,
        'what is missing';
    $err = prints(['--issuers', $issuers, $root], 1, [], 'no leaf in it');
    like $err, qr/^ecert: purpose: .*CA certificates/, 'it is told';
    like prints(["$dir/none.pem"], 1, [], 'no file'), qr/missing: .*none\.pem/,
        'it is told';
}

sub day_of ($time) {
    my (undef, undef, undef, $d, $m, $y) = gmtime $time;
    return sprintf '%04d-%02d-%02d', $y + 1900, $m + 1, $d;
}

sub dates {
    my $short = $pki->cross(not_after => $pki->{day} + 20 * $day);
    my @args = ('--issuers', $sub->file(tmp() . '/sub.pem'), '--issuers',
        $short->file(tmp() . '/short.pem'), '--trust', $root);
    my ($before, $after) = map { day_of(time + $_ * $day) } 10, 30;
    prints([@args, '--at', $before, $file], 0, [$leaf, $sub, $short],
        "--at $before: with the cross-certificate");
    prints([@args, '--at', $after, $file], 0, [$leaf, $sub],
        "--at $after: without, it has expired");
    prints([@args, '--cross-certificate', 'off', $file], 0, [$leaf, $sub],
        '--cross-certificate off');
    prints([@args, '--cross-certificate', "until=$before", '--at', $before,
        $file], 0, [$leaf, $sub, $short], 'until: that day still');
    prints([@args, '--cross-certificate', "until=$before", '--at',
        day_of(time + 11 * $day), $file], 0, [$leaf, $sub], 'the next no more');
    like +(chain(@args, '--at', '2038-01-01', $file))[2],
        qr/the certificate itself has expired/, '--at when the leaf is over';
}

sub clients {
    my @args = ('--store', $store->dir);
    for my $who ($root, $cross_root) {
        like prints([@args, '--client', $who, $file], 0, \@full, $who),
            qr/^client \Q$who\E at \S+Z: accepts it$/m, 'accepts it';
    }
    like prints([@args, '--cross-certificate', 'off', '--trust', $root,
        '--client', $cross_root, $file], 1, [$leaf, $sub],
        'the old root without the cross-certificate'),
        qr/: refuses it: .*its issuer is neither/, 'refuses it';
    like prints([@args, '--client', tmp() . '/none', $file], 1, \@full,
        'no such file'), qr{unreadable|missing}, 'it is told';

    my $ca = tmp() . '/ca.json';
    open my $json, '>', $ca or die $!;
    print $json sprintf '{"schema": "ecert-ca", "version": 1, '
        . '"updated": "2026-01-01", "name": "Test", "entries": ['
        . '{"id": "r", "role": "root", "name": "Root", "sha256": "%s"},'
        . '{"id": "o", "role": "root", "name": "Old root", "sha256": "%s"},'
        . '{"id": "x", "role": "cross", "name": "Cross", "issuer": "o",'
        . ' "sha256": "%s"}]}', map { $_->fingerprint } $pki->root,
        $pki->cross_root, $cross;
    close $json;
    my @known = (@args, '--catalogue', $ca, '--issuers', $issuers);
    for (['root-ca-3', $root], ['cross', $cross_root]) {
        my ($who, $trust) = @$_;
        like prints([@known, '--trust', $trust, '--client', $who, $file], 0,
            \@full, "--client $who"), qr/^client $who at .* accepts it/m,
            'accepts it';
        my ($status, undef, $err) = chain(@known, '--trust', $sub->file(tmp()
            . '/sub.pem'), '--client', $who, $file);
        like "$status $err", qr/^1 .*the root .*"$who".* is not on this machine/s,
            'a root that is not here';
    }
}

sub reasons {
    my $err = prints(['--store', $store->dir, '--explain', $file], 0, \@full,
        '--explain leaves standard output alone');
    for my $cert ($leaf, $sub, $cross, $pki->sub_old) {
        my $why = $cert == $leaf ? 'leaf'
            : $cert == $pki->sub_old ? 'no-server-auth' : 'taken';
        my $short = substr $cert->fingerprint, 0, 16;
        like $err, qr/^$why +$short /m, "$why: " . $cert->cn;
    }
}

# A leaf that only says that it comes from the CA gets nothing of it.
sub real {
    my $dir = test_data('pki');
    plan skip_all => 'no test data (ECERT_TEST_DATA)' if !$dir;
    my @post = ([C => 'HK'], [ST => 'Hong Kong'], [L => 'Hong Kong'],
        [O => 'Hongkong Post']);
    my $ca = $pki->issue(ca => 1, not_before => time - $day,
        not_after => time + 900 * $day,
        subject => [@post, [CN => 'Hongkong Post e-Cert SSL CA 3 - 17']]);
    my $forged = $pki->leaf(names => [$site], issuer => $ca,
        not_after => time + 900 * $day);
    my $leaf = $forged->file(tmp() . '/forged.pem');

    for my $at ('2026-12-01', '2027-04-16', '2028-03-19') {
        my $err = prints(['--issuers', $dir, '--at', $at, '--explain', $leaf],
            1, [$forged], "--at $at: the leaf alone");
        like $err, qr/^ecert: no path leads to a known root/m, 'it is told';
        unlike $err, qr/^taken /m, 'nothing is taken';
    }
    my ($status, undef, $err) = chain('--issuers', $dir,
        "$dir/ecert_ssl_ca_3-17_NEW_2025_eku.pem");
    like "$status $err", qr{^1 .*^ecert: purpose: }ms, 'a Sub CA is no leaf';
}
