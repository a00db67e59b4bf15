#!/usr/bin/perl

# What becomes of a PFX file that is restored: a generation, a request, or
# nothing new; under which name; and whether the key may leave again.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();

use Ecert::Command;
use Ecert::PFX;
use Ecert::PKI;
use Ecert::Store;
use Ecert::Test;

my $site = 'www.example.hk';
my $day = 86400;
my $pki = Ecert::PKI->new;
my $key = $pki->key('P-256');
my @names = ($site, 'example.hk');
my %leaf = (
    valid => $pki->leaf(key => $key, names => \@names),
    shorter => $pki->leaf(names => \@names, not_after => time + 9 * $day),
    longer => $pki->leaf(names => \@names, not_after => time + 300 * $day),
    expired => $pki->leaf(names => \@names, not_before => time - 400 * $day,
        not_after => time - 9 * $day),
    earlier => $pki->leaf(key => $key, names => \@names,
        not_after => time + 9 * $day),
    signed_itself => $pki->self_signed(names => [$site]),
    without_names => $pki->issue(subject => [[CN => $site]],
        issuer => $pki->sub, eku => 'serverAuth',
        not_before => time - $day, not_after => time + $day),
);
my %file = map { $_ => written('openssl', $leaf{$_}, chain => [$pki->sub]) }
    keys %leaf;
my $alone = written('openssl', $leaf{valid}, certificate => 0, name => $site);
my $nameless = written('openssl', $leaf{valid}, certificate => 0,
    name => 'mykey');

subtest 'a key without its certificate' => \&key_alone;
subtest 'a key with a certificate that it signed itself' => \&signed_itself;
subtest 'the certificate of a key that waits' => \&waits;
subtest 'names' => \&names;
subtest 'expired' => \&expired;
subtest 'expired, where one is served' => \&expired_beside;
subtest 'shorter and longer lives' => \&lives;
subtest 'two certificates of one key' => \&two;
subtest 'twice' => \&twice;
subtest 'not to be backed up again' => \&no_export;
done_testing;

# ---- a key ------------------------------------------------------------------

sub key_alone {
    my $store = Ecert::Store->new;
    restores($store, $alone, qr/waits as a request/);
    is stored($store->site_dir($site) . '/pending/1')->{key},
        key_text_of('valid'), 'the key waits, under the friendly name';
    ok !-e $store->site_dir($site) . '/current', '... and nothing is served';

    my $certificate = $leaf{valid}->file(tmp() . '/valid.pem', $pki->sub);
    my ($status, $out) = ecert($store, 'install', $certificate);
    is $status, 0, 'its certificate finds it' or diag $out;
    current($store, 1, 'valid');
}

# So does Windows keep the key of a request.
sub signed_itself {
    my $store = Ecert::Store->new;
    restores($store, $file{signed_itself}, qr/self-signed/);
    is stored($store->site_dir($site) . '/pending/1')->{key},
        key_text_of('signed_itself'),
        'the key waits, under the name of that certificate';
    ok !-e $store->site_dir($site) . '/generations', '... which is not kept';
}

sub waits {
    my $store = Ecert::Store->new;
    restores($store, $alone, qr/waits as a request/);
    restores($store, $file{valid}, qr/^Restored as generation 1\.$/m);
    current($store, 1, 'valid');
    is_deeply [glob $store->site_dir($site) . '/pending/*'], [],
        'nothing waits any more';
    my ($status, $out) = ecert($store, 'new', $site);
    is_deeply described($store)->{names}, ['example.hk'],
        'the next command leaves its names' or diag $out;
}

# ---- names ------------------------------------------------------------------

sub names {
    my $store = Ecert::Store->new;
    refuses($store, 'name', qr/say it: --name www\.example\.hk/, $nameless);
    restores($store, $nameless, qr/waits as a request/, '--name', $site);
    is stored($store->site_dir($site) . '/pending/1')->{key},
        key_text_of('valid'), '--name is where the key waits';

    restores($store, $file{valid}, qr/^Restored as/m, '--name', 'example.hk');
    is described($store, 'example.hk')->{names}[0], $site,
        '--name is one of the certificate, the other one stays';
    refuses($store, 'names',
        qr/: \Q$file{valid}\E: .*other\.example\.hk is not in the certificate/,
        $file{valid}, '--name', 'other.example.hk');
    refuses($store, 'name', qr/it has a space/, $alone, '--name', 'no host');
    refuses($store, 'purpose', qr/it names no server/, $file{without_names});
}

# ---- life -------------------------------------------------------------------

sub expired {
    my $store = Ecert::Store->new;
    restores($store, $file{expired},
        qr/generation 1, for its key: the certificate has expired on\s2/);
    is_deeply stored($store->site_dir($site) . '/generations/1'),
        { key => key_text_of('expired'), certificates => [
            map { $_->fingerprint } $leaf{expired}, $pki->sub] },
        'key and certificate are kept';
    ok !-l $store->site_dir($site) . '/current', '... but not served';

    my $out = tmp() . '/expired.pfx';
    is backup($store, $out, '--generation', 1), 0, 'the key can be had';
    is opened('openssl', $out)->{key}, key_text_of('expired'), '... and is it';

    is_deeply described($store)->{names}, ['example.hk'], 'the site has names';
    is described($store)->{subject}{organization}, 'Hongkong Post',
        '... and a subject for the request that is due';
}

sub expired_beside {
    my $store = Ecert::Store->new;
    restores($store, $file{longer}, qr/generation 1/, '--name', 'example.hk');
    my $before = described($store, 'example.hk');
    restores($store, $file{expired}, qr/has expired on/,
        '--name', 'example.hk');
    is readlink $store->site_dir('example.hk') . '/current', 'generations/1',
        'what is served stays';
    is_deeply described($store, 'example.hk'), $before, '... and its names';
    is ecert_json($store, 'check', 'example.hk')->{sites}[0]{leaf}{sha256},
        $leaf{longer}->fingerprint, '... for a server, too';
}

sub lives {
    my $store = Ecert::Store->new;
    restores($store, $file{valid}, qr/^Restored as generation 1\.$/m);
    restores($store, $file{shorter}, qr/Restored as generation 2.*rollback/s);
    current($store, 1, 'valid');
    is stored($store->site_dir($site) . '/generations/2')->{key},
        key_text_of('shorter'), 'the shorter one is kept';
    restores($store, $file{longer}, qr/^Restored as generation 3\.$/m);
    current($store, 3, 'longer');
}

# Both were issued for the key.
sub two {
    for my $first (qw(valid earlier)) {
        my ($other) = grep { $_ ne $first } qw(valid earlier);
        my $store = Ecert::Store->new;
        restores($store, written('openssl', $leaf{$first},
            chain => [$leaf{$other}, $pki->sub]), qr/generation 1/);
        is certificate($store), $leaf{valid}->fingerprint,
            "the later one is taken, with the $first one in front";
    }
}

sub twice {
    my $store = Ecert::Store->new;
    restores($store, $file{valid}, qr/generation 1/);
    restores($store, $file{valid}, qr/there already, as generation 1/);
    restores($store, $alone, qr/there already/);
    is_deeply [map { s{.*/}{}r } glob $store->site_dir($site)
        . '/{generations,pending}/*'], [1], 'it is there once';
}

# ---- the way out ------------------------------------------------------------

sub no_export {
    my $store = Ecert::Store->new;
    restores($store, $alone, qr/waits/, '--no-export');
    stays($store, 'a key', '--pending');
    restores($store, $file{valid}, qr/generation 1/, '--no-export');
    stays($store, 'a certificate with its key');

    $store = Ecert::Store->new;
    restores($store, $alone, qr/waits/);
    restores($store, $alone, qr/there already/, '--no-export');
    stays($store, 'a key that was there', '--pending');
    restores($store, $file{valid}, qr/generation 1/);
    is backup($store, tmp() . '/allowed.pfx'), 0, 'it may leave again';
    restores($store, $file{valid}, qr/there already/, '--no-export');
    stays($store, 'a certificate that was there');
}

sub stays ($store, $what, @how) {
    my $file = tmp() . '/never.pfx';
    my ($status, $out) = ecert($store, 'backup', $site, '-o', $file,
        '--password-file', password_file(), @how);
    is $status, 1, "$what is not backed up";
    like $out, qr/^ecert: not-exportable: .*; keep the PFX file/, '... and why';
    ok !-e $file, '... there is no file';
}

# ---- all --------------------------------------------------------------------

sub restores ($store, $file, $says, @how) {
    my ($status, $out) = ecert($store, 'restore', $file, '--password-file',
        password_file(), @how);
    is $status, 0, "restored @how" or diag $out;
    like $out, $says, '... and says so';
}

# Nothing is changed by it.
sub refuses ($store, $word, $why, $file, @how) {
    my $before = listing($store);
    my ($status, $out) = ecert($store, 'restore', $file, '--password-file',
        password_file(), @how);
    is $status, 1, "refused: $word" or diag $out;
    like $out, qr/^ecert: (?:site \S+: )?$word: /, '... by that word';
    like $out, $why, '... and why';
    is listing($store), $before, '... and the store is as it was';
}

# A store that is used for the first time gets its folders.
sub listing ($store) {
    my ($status, $out) = run('find', map { $store->dir . "/$_" }
        qw(sites issuers dcv));
    return join '', sort split /^/, $out;
}

sub backup ($store, $file, @how) {
    my ($status, $out) = ecert($store, 'backup', $site, '-o', $file,
        '--password-file', password_file(), @how);
    diag $out if $status != 0;
    return $status;
}

sub current ($store, $generation, $name) {
    my $link = $store->site_dir($site) . '/current';
    is readlink $link, "generations/$generation", "generation $generation";
    is stored($link)->{key}, key_text_of($name), "... the $name one's key";
    is certificate($store), $leaf{$name}->fingerprint, '... and certificate';
}

sub certificate ($store) {
    return stored($store->site_dir($site) . '/current')->{certificates}[0];
}

sub key_text_of ($name) { return key_text($leaf{$name}->key_pem) }

sub described ($store, $name = $site) {
    return JSON::PP->new->decode(slurp($store->site_dir($name) . '/site.json'));
}
