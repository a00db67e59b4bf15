#!/usr/bin/perl

# Files that are handed over: root opens what was named, and nothing that
# somebody else's link makes of it.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use File::Path ();

use Ecert::Command;
use Ecert::PKI;
use Ecert::Store;
use Ecert::Test;

my $site = 'www.example.hk';
my $stranger = getpwnam 'nobody';
my $pki = Ecert::PKI->new;
my $store = Ecert::Store->new;
$store->put($store->dir . '/issuers/sub.pem', $pki->sub->pem, 0644);
ecert($store, 'new', $site, '--key', 'ec:P-256');
my $pfx = tmp() . '/key.pfx';
my ($status, $out) = ecert($store, 'backup', $site, '--pending', '-o', $pfx,
    '--password-file', password_file());
$status == 0 or die $out;
my $leaf = $store->put(tmp() . '/leaf.pem',
    signed($pki, csr_of($store, $site), names => [$site])->pem, 0600);
my $code = $store->put(tmp() . '/secret', "20261124-0a1b2c3d4e5f6071\n", 0600);
my $theirs = tmp() . '/theirs';
mkdir $theirs or die "$theirs: $!";

subtest 'links of others' => \&their_links;
subtest 'what a command is started with' => \&descriptors;
subtest 'links of one\'s own' => \&own_links;
done_testing;

# A link of this name in a stranger's folder, and his.
sub their_link ($to, $name) {
    my $path = "$theirs/$name";
    unlink $path;
    symlink $to, $path or die "$path: $!";
    run('chown', '-h', $stranger, $path, $theirs);
    return $path;
}

sub their_links {
    plan skip_all => 'needs root' if $>;
    my @table = (
        ['dcv add', 'dcv', 'add', $site, their_link($code, 'fileauth.txt')],
        ['install', 'install', $site, their_link($leaf, 'leaf.pem')],
        ['issuers add', 'issuers', 'add', their_link($leaf, 'sub.pem')],
        ['restore', 'restore', their_link($pfx, 'key.pfx'), '--password-file',
            password_file()],
        ['--password-file', 'restore', $pfx, '--password-file',
            their_link(password_file(), 'password')],
        ['a folder on the way', 'dcv', 'add', $site,
            their_link(tmp(), 'folder') . '/secret'],
        ['backup -o', 'backup', $site, '--pending', '-o',
            their_link(tmp(), 'out') . '/their.pfx', '--password-file',
            password_file()],
        ['from link to link', 'dcv', 'add', $site,
            their_link("$theirs/fileauth.txt", 'twice')],
    );
    for (@table) {
        my ($what, @args) = @$_;
        my ($status, $out) = ecert($store, @args);
        is $status, 1, "$what: refused";
        my $why = qr/belongs to uid $stranger and leads to \//;
        like $out, qr/unsafe-path: .*the link \Q$theirs\E\/\S+ $why/,
            '... by name, with its owner and where it leads';
    }
    ok !-e $store->dir . "/dcv/$site/fileauth.txt", 'nothing is answered';
    ok !-e tmp() . '/their.pfx', 'nothing was written';
    my $copy = "$theirs/copy";
    run('cp', $code, $copy);
    is((ecert($store, 'dcv', 'add', $site, $copy, '--as', 'copy.txt'))[0], 0,
        'a file in his folder');
}

sub own_links {
    my $link = tmp() . '/fileauth.txt';
    symlink $code, $link or die $!;
    my ($status, $out) = ecert($store, 'dcv', 'add', $site, $link);
    is $status, 0, 'a link of one\'s own' or diag $out;
    is slurp($store->dir . "/dcv/$site/fileauth.txt"), slurp($code),
        '... is followed';
}

# As a shell hands over <(...) and a redirection.
sub descriptors {
    local $ENV{ECERT_STORE} = $store->dir;
    my $ecert = build_dir() . '/ecert';
    my $password = password_file();
    for ("restore <(cat $pfx) --password-file <(cat $password)",
        "restore /dev/stdin --password-file $password < $pfx",
        "install $site /dev/stdin < <(cat $leaf)",
        "dcv add $site /proc/self/fd/7 --as 7.txt 7< $code")
    {
        my ($status, $out) = run('bash', '-c', "$ecert $_");
        is $status, 0, s/ .* / ... /r or diag $out;
    }
    my ($status, $out) = run('bash', '-c',
        "exec 7< $code; $ecert dcv add $site /proc/\$\$/fd/7 --as 8.txt");
    is $status, 1, 'what another process has open';
    like $out, qr{unsafe-path: .*/fd/7 stands for what a process has open},
        '... is refused';
}
