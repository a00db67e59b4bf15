#!/usr/bin/perl

# Passwords from files and descriptors, as editors and shells save them: what
# opens a backup is the text, not the bytes that it came in.  No server is
# needed.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Encode ();

use Ecert::Command;
use Ecert::PFX;
use Ecert::PKI;
use Ecert::Store;
use Ecert::Test;

my $site = 'www.example.hk';
my $text = "pass\x{5bc6}\x{78bc} \x{1f511}1";    # beyond the BMP, too
my $utf8 = Encode::encode('UTF-8', $text);
my $store = Ecert::Store->new;
my $pki = Ecert::PKI->new;
my $leaf = $pki->leaf(names => [$site]);
my $n = 0;

my %saved = (
    'UTF-8' => "$utf8\n",
    'UTF-8 without a line end' => $utf8,
    'UTF-8 of Windows, more lines behind it' => "$utf8\r\nand more\r\n",
    'UTF-8 with a byte order mark' => "\xef\xbb\xbf$utf8\r\n",
    'UTF-16 as PowerShell saves it' =>
        "\xff\xfe" . Encode::encode('UTF-16LE', "$text\r\n"),
    'UTF-16, big endian' => "\xfe\xff" . Encode::encode('UTF-16BE', "$text\n"),
    'UTF-16 without a mark' => Encode::encode('UTF-16LE', "$text\r\nmore\r\n"),
    'UTF-16 without a mark, big endian' => Encode::encode('UTF-16BE', $text),
);
my %bad = (
    'Big5' => ["\xa4\xa4\xa4\xe5 battery\n", qr/it is not UTF-8/],
    'Latin-1' => ["m\xfcllers esel\n", qr/it is not UTF-8/],
    'a zero byte' => ["correct\0horse\n", qr/it has a zero byte/],
    'UTF-32' => ["\xff\xfe\0\0" . Encode::encode('UTF-32LE', $text),
        qr/it has a zero byte/],
    'half a surrogate' => ["\xff\xfea\0b\0c\0\x3d\xd8", qr/damaged UTF-16/],
    'seven characters' => ["\xe5\xaf\x86" x 7 . "\n",
        qr/it has 7 characters, 8 are the least.*--weak-password/],
);

is +(ecert($store, 'new', $site))[0], 0, 'a request';
subtest 'as it was saved' => \&saved;
subtest 'refused for a new file' => \&refused_new;
subtest 'weak ones' => \&weak;
subtest 'made with the bytes alone' => \&as_bytes;
subtest 'made in another character set' => \&other_bytes;
subtest 'files that others may read' => \&modes;
done_testing;

sub file_of ($bytes, $mode = 0600) {
    my $file = tmp() . '/saved' . $n++;
    open my $out, '>:raw', $file or die "$file: $!";
    print $out $bytes;
    close $out or die "$file: $!";
    chmod $mode, $file or die "$file: $!";
    return $file;
}

sub backup (@how) {
    my $pfx = tmp() . '/out' . $n++ . '.pfx';
    return ($pfx, ecert($store, 'backup', $site, '--pending', '-o', $pfx, @how));
}

sub opens ($pfx, $password) {
    return (run('openssl', 'pkcs12', '-in', $pfx, '-noout', '-passin',
        'file:' . file_of("$password\n")))[0] == 0;
}

sub saved {
    my $pfx = written('openssl', $leaf, password => $text);
    for my $how (sort keys %saved) {
        my $file = file_of($saved{$how});
        my ($made, $status, $out) = backup('--password-file', $file);
        is $status, 0, $how or diag $out;
        ok opens($made, $utf8), '... the text opens it';
        for my $command (['restore'], ['install', $site], ['issuers', 'add']) {
            my $other = Ecert::Store->new;
            ($status, $out) = ecert($other, @$command, $pfx,
                '--password-file', $file);
            unlike $out, qr/password|not UTF-8/, "... and @$command reads it";
        }
    }
    my ($pfx2, $status, $out) = by_descriptor($saved{'UTF-16, big endian'});
    is $status, 0, 'from a descriptor' or diag $out;
    ok opens($pfx2, $utf8), '... the text opens it';
}

sub by_descriptor ($bytes) {
    my $pfx = tmp() . '/out' . $n++ . '.pfx';
    return ($pfx, run('sh', '-c',
        'exec env ECERT_STORE="$1" "$2" backup "$3" --pending -o "$4"'
            . ' --password-fd 5 5< "$5"', 'sh', $store->dir,
        build_dir() . '/ecert', $site, $pfx, file_of($bytes)));
}

sub refused_new {
    for my $how (sort keys %bad) {
        my ($bytes, $why) = @{ $bad{$how} };
        my $file = file_of($bytes);
        my ($pfx, $status, $out) = backup('--password-file', $file);
        is $status, 1, $how;
        like $out, qr/^ecert: password-refused: \S+: .*$why/m, '... why';
        ok !-e $pfx, '... no file is made';
        ($pfx, $status, $out) = by_descriptor($bytes);
        is $status, 1, '... from a descriptor, too';
        like $out, $why, '... why';
        ok !-e $pfx, '... no file is made';
    }
}

sub weak {
    my ($pfx, $status, $out) = backup('--weak-password', '--password-file',
        file_of("seven77\n"));
    is $status, 0, 'a short one with --weak-password' or diag $out;
    ok opens($pfx, 'seven77'), '... opens it';
    ($pfx, $status, $out) = backup('--weak-password', '--password-file',
        file_of("\xef\xbb\xbf\r\n"));
    is $status, 1, 'but not an empty one';
    like $out, qr/no-password: .*it may not be empty/, '... why';
    ($pfx, $status, $out) = backup('--password-file', file_of("eight888\n"));
    is $status, 0, 'eight are enough' or diag $out;
}

# What earlier versions and other programs made of such a file: the same file
# still opens it.
sub as_bytes {
    my %made = (
        'UTF-16, its first three bytes' =>
            ["\xff\xfes\0e\0c\0r\0e\0t\0\r\0\n\0", "\xff\xfes"],
        'a byte order mark' => ["\xef\xbb\xbfsecret\n", "\xef\xbb\xbfsecret"],
        'Big5' => ["\xa4\xa4\xa4\xe5\n", "\xa4\xa4\xa4\xe5"],
    );
    for my $how (sort keys %made) {
        my ($bytes, $taken) = @{ $made{$how} };
        my $pfx = written('openssl', $leaf, how =>
            ['-passout', 'file:' . file_of($taken)]);
        my $other = Ecert::Store->new;
        my ($status, $out) = ecert($other, 'restore', $pfx, '--password-file',
            file_of($bytes));
        is $status, 0, $how or diag $out;
        like $out =~ s/\s+/ /gr, qr/\Q$pfx\E is opened.*make a new backup/,
            '... and what to do';
        ($status, $out) = ecert($other, 'restore', $pfx, '--password-file',
            file_of("secret\n"));
        is $status, 1, '... the text does not open it';
        like $out, qr/from the same --password-file/, '... what may have been';
    }
}

# Its MAC knows characters, its encryption bytes.
sub other_bytes {
    my $latin = file_of("m\xfcllers esel\n");
    my $pfx = written('openssl', $leaf, how => ['-passout', "file:$latin"]);
    my ($status, $out) = ecert(Ecert::Store->new, 'restore', $pfx,
        '--password-file', file_of("m\xc3\xbcllers esel\n"));
    is $status, 1, 'the same in UTF-8 does not open it';
    like $out, qr/: password: .*another character set.*iconv -t ISO-8859-1/,
        '... which is no damage, and what to do';
    ($status, $out) = ecert(Ecert::Store->new, 'restore', $pfx,
        '--password-file', $latin);
    is $status, 0, '... and that is it' or diag $out;
}

sub modes {
    for my $mode (0644, 0640, 0604) {
        my $file = file_of("correct horse\n", $mode);
        my ($pfx, $status, $out) = backup('--password-file', $file);
        is $status, 0, sprintf 'mode %04o', $mode;
        like $out, qr/^ecert: warning: \Q$file\E: others may read .*chmod 600/m, '... is told';
    }
    my (undef, $opened) = ecert(Ecert::Store->new, 'restore',
        written('openssl', $leaf), '--password-file',
        file_of("correct horse\n", 0644));
    like $opened, qr/^ecert: warning: \S+: others may read/m, 'restore, too';
    my ($pfx, $status, $out) = backup('--password-file',
        file_of("correct horse\n", 0400));
    unlike $out, qr/warning/, 'one of its owner alone is not';
}
