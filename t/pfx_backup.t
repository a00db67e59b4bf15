#!/usr/bin/perl

# The file of a backup: never written over, for its owner alone, whole or not
# there; and the ways in which its password is given.

use v5.36;
use utf8;
use FindBin;
use lib "$FindBin::Bin/lib";

use Fcntl ();
use IPC::Open2 ();

use Ecert::Command;
use Ecert::PFX;
use Ecert::PKI;
use Ecert::Store;
use Ecert::Test;

my $site = 'www.example.hk';
my $pki = Ecert::PKI->new;
my $leaf = $pki->leaf(names => [$site]);
my $key = key_text($leaf->key_pem);
my $store = Ecert::Store->new->add_issuers($pki->sub);
$store->install($site, $leaf);
my $password = password_file();
my $ecert = build_dir() . '/ecert';

subtest 'something is there already' => \&there;
subtest 'a file of somebody else' => \&foreign;
subtest 'no place' => \&no_place;
subtest 'nothing to back up' => \&nothing;
subtest 'profile' => \&profile;
subtest 'mode' => \&mode;
subtest 'password in a file' => \&password_in_file;
subtest 'password by a descriptor' => \&password_by_descriptor;
subtest 'password at a terminal' => \&terminal;
subtest 'no terminal' => \&no_terminal;
subtest 'a store that cannot note it' => \&not_noted;
done_testing;

sub there {
    my $dir = folder();
    my %there = (
        file => sub ($path) { put($path, 'keep me') },
        link => sub ($path) { symlink '/etc/hostname', $path },
        'link to nothing' => sub ($path) { symlink 'nowhere', $path },
        folder => sub ($path) { mkdir $path },
        FIFO => sub ($path) { POSIX::mkfifo($path, 0600) },
    );
    for my $what (sort keys %there) {
        my $path = "$dir/$what";
        $there{$what}->($path) or die "$path: $!";
        my $before = listing($dir);
        refused("a $what", 'exists', qr/never written over: choose another/,
            '-o', $path);
        is listing($dir), $before, '... and nothing is beside it';
    }
    is slurp("$dir/file"), 'keep me', 'the file is what it was';
}

# What a killed command left is known again; another owner's file is not even
# parsed, whatever is in it, for the process that would do so has the key.
sub foreign {
    plan skip_all => 'needs root' if $>;
    my $dir = folder();
    is status('-o', "$dir/done.pfx"), 0, 'a backup';
    run('cp', '-p', "$dir/done.pfx", "$dir/$_.pfx") for qw(own theirs open);
    is status('-o', "$dir/own.pfx"), 0, 'the same, of which nothing was noted';
    chown 65534, 65534, "$dir/theirs.pfx";
    chmod 0622, "$dir/open.pfx";
    refused("$_ file", 'exists', qr/never written over/, '-o', "$dir/$_.pfx")
        for qw(theirs open);
}

sub no_place {
    my $dir = folder();
    refused('no folder', 'missing', qr/^the file does not exist/,
        '-o', "$dir/no/where.pfx");
    refused('a file for a folder', 'missing', qr/^the file does not exist/,
        '-o', put("$dir/file", '') . '/a.pfx');
    is (status('-o', "$dir/."), 1, 'no name');
    is (status(), 2, 'no file at all');
    is listing($dir), "file\n", 'nothing was left';
}

sub nothing {
    my $dir = folder();
    my $begun = 'begun.example.hk';
    ecert($store, 'new', $begun);
    refused('no certificate', 'no-certificate', qr/--pending -o FILE\.pfx$/,
        $begun, '-o', "$dir/a.pfx");
    refused('no such certificate', 'no-generation',
        qr/such generation \(7\); there are: 1 \(current\)$/,
        $site, '--generation', 7, '-o', "$dir/a.pfx");
    refused('none at all', 'no-certificate', qr/--pending -o FILE\.pfx$/,
        $begun, '--generation', 7, '-o', "$dir/a.pfx");
    refused('no request', 'no-request', qr/ecert new/,
        $site, '--pending', '-o', "$dir/a.pfx");
    refused('no such request', 'no-request', qr/\(number 7\)/,
        $begun, '--request', 7, '-o', "$dir/a.pfx");
    refused('no site', 'no-site', qr/ecert new/, 'other.example.hk',
        '-o', "$dir/a.pfx");
    is listing($dir), '', 'nothing was left';
}

sub profile {
    my $dir = folder();
    my ($status, $out) = backup('--profile', 'old', '-o', "$dir/a.pfx");
    is $status, 2, 'an unknown one';
    like $out, qr/"old" is no profile: windows or modern/, '... and which are';
    is listing($dir), '', 'nothing was left';
}

# Whatever umask says.
sub mode {
    my $dir = folder();
    for my $umask (0000, 0022, 0777) {
        my $before = umask $umask;
        my ($status, $out) = ecert($store, 'backup', $site, '-o',
            "$dir/$umask.pfx", '--password-file', $password);
        umask $before;
        is $status, 0, 'backup' or diag $out;
        is sprintf('%o', (stat "$dir/$umask.pfx")[2] & 07777), '600',
            sprintf '... for its owner alone, umask %o', $umask;
    }
    is listing($dir), join('', map { "$_.pfx\n" } sort 0, 18, 511),
        'nothing is beside them';
}

# ---- the password -----------------------------------------------------------

sub password_in_file {
    my $dir = folder();
    my %first = (
        "correct horse\n" => 'correct horse',
        'correct horse' => 'correct horse',
        "from Windows\r\n" => 'from Windows',
        "first\nsecond\n" => 'first',
        " blanks \n" => ' blanks ',
        "\t\n" => "\t",
        '世界' => '世界',
        '"quoted" $HOME `id` \\' => '"quoted" $HOME `id` \\',
        'x' x 1023 => 'x' x 1023,
    );
    my $n = 0;
    for my $text (sort keys %first) {
        my $file = "$dir/" . $n++;
        my $bytes = $text;
        utf8::encode($bytes);
        my $status = status('-o', $file, '--weak-password', '--password-file',
            put("$dir/text", $bytes));
        is $status, 0, 'backup' or next;
        opens_with($file, $first{$text},
            substr $bytes =~ s/[\r\n\t]/?/gr, 0, 40);
    }
    for my $empty ('', "\n", "\r\n") {
        refused('an empty one', 'no-password', qr/under a password only$/,
            '-o', "$dir/empty.pfx",
            '--password-file', put("$dir/text", $empty));
    }
    refused('too long a one', 'too-large', qr/at most 1023 bytes/, '-o',
        "$dir/empty.pfx", '--password-file', put("$dir/text", 'x' x 1024));
    ok !-e "$dir/empty.pfx", 'there is no file';
}

# Of a pipe only the first line is taken.
sub password_by_descriptor {
    my $dir = folder();
    pipe my $out, my $in or die "pipe: $!";
    fcntl $out, Fcntl::F_SETFD(), 0;
    syswrite $in, "first\nsecond\nthird\n";
    for my $password (qw(first second)) {
        is status('-o', "$dir/$password.pfx", '--weak-password',
            '--password-fd', fileno $out), 0, "backup, $password";
        opens_with("$dir/$password.pfx", $password, $password);
    }
    sysread $out, my $left, 100;
    is $left, "third\n", 'what follows is left for others';
    close $in;
    refused('its end', 'no-password', qr/under a password only/, '-o',
        "$dir/third.pfx", '--password-fd', fileno $out);
    close $out;
    refused('one that is closed', 'system', qr/read the password/, '-o',
        "$dir/third.pfx", '--password-fd', 77);
    is listing($dir), "first.pfx\nsecond.pfx\n", 'no other file';
}

# script(1) is the terminal.
sub terminal {
    plan skip_all => 'script is not installed'
        if (run(qw(script --version)))[0] != 0;
    my $dir = folder();
    my ($status, $shown) = typed("$ecert backup $site -o $dir/a.pfx",
        'Password for ' => 'typed in', 'The same again ' => 'typed in');
    is $status, 0, 'backup' or diag $shown;
    unlike $shown, qr/typed in/, '... the password is not shown';
    opens_with("$dir/a.pfx", 'typed in', 'it');

    ($status, $shown) = typed("$ecert backup $site -o $dir/b.pfx",
        ('Password for ' => 'typed in', 'The same again ' => 'typed out') x 3);
    is $status, 1, 'another one the second time';
    like $shown, qr/no-password: .*the two passwords differ\); try again/, '... why';
    ($status, $shown) = typed("$ecert backup $site -o $dir/b.pfx",
        ('Password for ' => '') x 3);
    is $status, 1, 'none';
    like $shown, qr/no-password: .*it may not be empty/, '... why';
    is listing($dir), "a.pfx\n", 'nothing was left';

    my $other = Ecert::Store->new;
    local $ENV{ECERT_STORE} = $other->dir;
    ($status, $shown) = typed("$ecert restore $dir/a.pfx",
        'Password of ' => 'typed in');
    is $status, 0, 'restore asks once' or diag $shown;
    is stored($other->site_dir($site) . '/current')->{key}, $key, '... the key';
}

# Answers prompts; the exit status, and what was shown.
sub typed ($command, @dialogue) {
    local $ENV{ECERT_STORE} = $ENV{ECERT_STORE} // $store->dir;
    local $ENV{SHELL} = '/bin/sh';
    my $pid = IPC::Open2::open2(my $out, my $in, 'timeout',
        int patience(60), 'script', '-qec', $command,
        '/dev/null');
    my ($shown, $seen) = ('', 0);
    $in->autoflush(1);
    while (my ($prompt, $answer) = splice @dialogue, 0, 2) {
        until (substr($shown, $seen) =~ /\Q$prompt\E[^:]*: /) {
            sysread $out, $shown, 4096, length $shown or last;
        }
        $seen = length $shown;
        print $in "$answer\n";
    }
    1 while sysread $out, $shown, 4096, length $shown;
    close $in;
    waitpid $pid, 0;
    return ($? >> 8, $shown);
}

sub no_terminal {
    my $dir = folder();
    local $ENV{ECERT_STORE} = $store->dir;
    my ($status, $out) = run('setsid', '--wait', $ecert, 'backup', $site, '-o',
        "$dir/a.pfx");
    is $status, 1, 'there is nobody to ask';
    like $out, qr/^ecert: no-password: .*, or with --password-file FILE$/m,
        '... and how else';
    is listing($dir), '', 'nothing was left';
}

sub not_noted {
    my $dir = folder();
    my $log = $store->dir . '/log';
    rename $log, "$log.kept" or die "$log: $!";
    mkdir $log or die "$log: $!";
    my ($status, $out) = backup('-o', "$dir/a.pfx");
    is $status, 0, 'the backup is made' or diag $out;
    like $out, qr{/log: .*; the backup is good, but the store cannot note it},
        'it is said that making it again would not help';
    rmdir $log;
    rename "$log.kept", $log or die "$log: $!";
}

# ---- all --------------------------------------------------------------------

# The site, unless it is named.
sub backup (@how) {
    unshift @how, $site if !@how || $how[0] =~ /^-/;
    push @how, '--password-file', $password
        if !grep { /^--password/ } @how;
    return ecert($store, 'backup', @how);
}

sub status (@how) { return (backup(@how))[0] }

sub refused ($what, $word, $why, @how) {
    my ($status, $out) = backup(@how);
    my ($found, $text) = $out =~ /^ecert: ([\w-]+): (?:.*?: )?(.*)$/m;
    is $status, 1, "$what: refused" or diag $out;
    is $found, $word, '... by its word' or diag $out;
    like $text, $why, '... and it says what to do';
}

sub opens_with ($file, $password, $what) {
    my $found = eval { opened('openssl', $file, $password) } // { key => $@ };
    is $found->{key}, $key, "... and \"$what\" opens it";
}

sub folder {
    state $n = 0;
    my $dir = tmp() . '/folder' . $n++;
    mkdir $dir or die "$dir: $!";
    return $dir;
}

sub listing ($dir) {
    opendir my $handle, $dir or die "$dir: $!";
    return join '', map { "$_\n" } sort grep { !/^\.\.?$/ } readdir $handle;
}

sub put ($file, $bytes) {
    open my $out, '>:raw', $file or die "$file: $!";
    print $out $bytes;
    close $out or die "$file: $!";
    return $file;
}
