#!/usr/bin/perl

# PFX files that are refused: each for its own reason, which says what is
# needed; the store stays as it was.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Time::HiRes ();

use Ecert::Command;
use Ecert::PFX;
use Ecert::PKI;
use Ecert::Store;
use Ecert::Test;

my $site = 'www.example.hk';
my $pki = Ecert::PKI->new;
my $leaf = $pki->leaf(names => [$site]);
my $good = written('openssl', $leaf, chain => [$pki->sub]);
my $store = Ecert::Store->new;
my $password = password_file();

# So that the folders of the store are there, and something to lose.
ecert($store, 'restore', written('openssl', $pki->leaf), '--name', $site,
    '--password-file', $password);
my $before = contents();

subtest 'password' => \&password;
subtest 'no password' => \&no_password;
subtest 'algorithm' => \&algorithm;
subtest 'iterations' => \&iterations;
subtest 'damaged' => \&damaged;
subtest 'no PFX' => \&no_pfx;
subtest 'keys' => \&keys_of;
subtest 'several keys' => \&several;
done_testing;

sub password {
    my $why = qr/^the password does not open this file; use the password that/;
    my @made = (['with a MAC', []], ['without', ['-nomac']]);
    for (@made) {
        my ($what, $how) = @$_;
        my $file = written('openssl', $leaf, how => $how);
        for my $wrong ('correct hors', 'correct horse ', 'Correct horse', '') {
            refused("\"$wrong\", $what", 'password', $why, $file,
                '--password-file', password_file($wrong));
        }
    }
    my $file = written('openssl', $leaf, password => '');
    refused('of one that has an empty one', 'password', $why, $file);
}

sub no_password {
    my ($status, $out) = alone('restore', $good);
    is $status, 1, 'there is nobody to ask';
    like $out, qr/^ecert: no-password: \Q$good\E: .*--password-file FILE$/m,
        '... and how else';
    is contents(), $before, '... nothing was changed';

    my $missing = tmp() . '/nowhere';
    refused('a key of OpenSSH', 'format',
        qr/found an OpenSSH private key\); make PEM of a copy: ssh-keygen/,
        file("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n"
            . "-----END OPENSSH PRIVATE KEY-----\n"));
    refused('a keystore of Java', 'format',
        qr/found a Java keystore \(JKS\)\); make a PFX of it: keytool -import/,
        file("\xfe\xed\xfe\xed\0\0\0\2"));
    refused('no file', 'missing', qr/^the file does not exist/, $good,
        '--password-file', $missing);
    refused('no descriptor', 'system', qr/read the password: Bad file/, $good,
        '--password-fd', 77);
    refused('a file that is no password', 'too-large', qr/at most 1023 bytes/,
        $good, '--password-file', password_file('x' x 5000));
    my ($wrong, $why) = ecert($store, 'restore', $good, '--password-fd', 'x');
    is $wrong, 2, 'no number';
    like $why, qr/; write the descriptor as a number, 0 or higher$/, '... why';
}

# Without a terminal.
sub alone (@args) {
    local $ENV{ECERT_STORE} = $store->dir;
    return run('setsid', '--wait', build_dir() . '/ecert', @args);
}

sub algorithm {
    plan skip_all => 'OpenSSL has no legacy provider'
        if (run(qw(openssl list -providers -provider legacy)))[0] != 0;
    my $file = written('openssl', $leaf,
        how => ['-legacy', -certpbe => 'PBE-SHA1-RC2-40']);
    my $empty = tmp() . '/modules';
    mkdir $empty;

    local $ENV{OPENSSL_MODULES} = $empty;
    refused('RC2-40 without the legacy provider', 'algorithm',
        qr/\(RC2-40-CBC .*; install OpenSSL's legacy provider, or export/,
        $file);
    my $other = Ecert::Store->new;
    my $triple = 'PBE-SHA1-3DES';
    for my $how ([], [-certpbe => $triple, -keypbe => $triple]) {
        my ($status, $out) = ecert($other, 'restore',
            written('openssl', $leaf, how => $how), '--password-file',
            $password);
        is $status, 0, "others need it not: @$how" or diag $out;
    }
}

sub iterations {
    my $file = written('openssl', $leaf, how => [-iter => 1_000_001]);
    refused('one more than allowed', 'iterations',
        qr/1,000,001 iterations\); export it again with 1,000,000/, $file);
    my $evil = test_data('pfx/evil_iter20M.p12');
    SKIP: {
        skip 'no test data', 5 if !$evil;
        my $begin = Time::HiRes::time();
        refused('half a minute of work', 'iterations', qr/20,000,000/, $evil);
        cmp_ok Time::HiRes::time() - $begin, '<', patience(2),
            '... at once';
    }
}

sub damaged {
    my $bytes = slurp($good);
    for my $len (10, 200, int length($bytes) / 2, length($bytes) - 1) {
        refused("cut after $len bytes", 'damaged',
            qr/; copy it or export it once more$/,
            file(substr $bytes, 0, $len));
    }
    # What the MAC is over may be damaged or encrypted by another password.
    my $other = $bytes;
    vec($other, 200, 8) ^= 1;
    refused('one bit', 'password', qr/use the password/, file($other));
}

sub no_pfx {
    refused('an empty file', 'empty', qr/^the file is empty/, file(''));
    refused('something else', 'format', qr/neither PEM, DER nor PKCS/,
        file("%PDF-1.4\n" . 'x' x 1000));
    refused('a validation file', 'format', qr/a PFX file or PEM with a private/,
        file("code-0a1b2c3d\n"));
    refused('a web page', 'format',
        qr/key, found a web page \(HTML\)\); export it again$/,
        file("<html></html>\n"));
    refused('no file', 'missing', qr/^the file does not exist/,
        tmp() . '/nowhere.pfx');
    refused('a folder', 'not-a-file', qr/it is a folder/, tmp());
    refused('too much', 'too-large', qr/at most \d+ are allowed/,
        file("\x30\x83\xff\xff\xff\2\1\3" . "\0" x (2 << 20)));
}

sub keys_of {
    refused('certificates alone', 'no-key',
        qr/only certificates .*issuers add.*ecert install/,
        written('openssl', $leaf, how => ['-nokeys']));
    for (['RSA-1024', 'RSA-1024'], ['P-521', 'EC P-521'],
        ['Ed25519', 'Ed25519'])
    {
        my ($kind, $name) = @$_;
        refused($kind, 'key-type', qr/\(it is $name\); use RSA 2048 to 8192/,
            written('openssl', $pki->leaf(key => $kind)));
    }
}

# Java puts several beside each other.
sub several {
    plan skip_all => 'keytool is not installed' if !tool('java');
    my $file = written('java', $leaf);
    my @from = ('keytool', '-importkeystore', '-noprompt',
        '-srckeystore', written('openssl', $pki->leaf, name => 'other'),
        '-destkeystore', $file, '-deststoretype', 'PKCS12',
        '-srcstorepass:file', $password, '-deststorepass:file', $password);
    my ($status, $out) = run(@from);
    is $status, 0, 'made' or diag $out;
    refused('two keys', 'too-many',
        qr/more than one private key\); leave out what does not belong/, $file);
}

# ---- all --------------------------------------------------------------------

sub refused ($what, $word, $why, $file, @how) {
    @how = ('--password-file', $password) if !@how;
    my ($status, $out) = ecert($store, 'restore', $file, @how);
    is $status, 1, "$what is refused" or diag $out;
    my ($found, $about, $text) = $out =~ /^ecert: ([\w-]+): (\S+): (.*)$/m;
    is $found, $word, '... by its word' or diag $out;
    like $text, $why, '... and it says what to do';
    is contents(), $before, '... nothing was changed';
}

# Names and bytes of all that is in the store.
sub contents {
    my ($status, $list) = run('find', $store->dir, '!', '-type', 'd');
    return join "\n", map { "$_ " . (readlink // slurp($_)) } sort
        split /\n/, $list;
}

sub file ($bytes) {
    state $n = 0;
    my $file = tmp() . '/made' . $n++;
    open my $out, '>:raw', $file or die "$file: $!";
    print $out $bytes;
    close $out or die "$file: $!";
    return $file;
}
