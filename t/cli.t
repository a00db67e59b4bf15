#!/usr/bin/perl

# The command: help, wrong usage, and `ecert check`.  No server is needed.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use POSIX 'strftime';

use Ecert::PKI;
use Ecert::Store;
use Ecert::Test;

my @commands = qw(status check chain agent);
my $pki = Ecert::PKI->new;
my $site = 'www.example.hk';
my $leaf = $pki->leaf(names => [$site]);
my $file = $leaf->file(tmp() . '/leaf.pem');
my $key = $leaf->key_file(tmp() . '/leaf.key');
my $other_key = $pki->leaf->key_file(tmp() . '/other.key');

subtest 'help' => \&help;
subtest 'wrong usage' => \&usage;
subtest 'check, sites' => \&check_sites;
subtest 'check, files' => \&check_files;
subtest 'the store' => \&which_store;
done_testing;

# (exit code, standard output, standard error)
sub ecert (@args) {
    my ($out, $err) = map { tmp() . "/$_" } qw(stdout stderr);
    my ($status) = run('sh', '-c', 'exec "$0" "$@" >"$OUT" 2>"$ERR"'
        =~ s/\$OUT/$out/r =~ s/\$ERR/$err/r, build_dir() . '/ecert', @args);
    return ($status, slurp($out), slurp($err));
}

sub help {
    my ($status, $out, $err) = ecert('--help');
    is "$status$err", '0', 'ecert --help';
    like $out, qr/^  $_ /m, "it tells of $_" for @commands;
    is_deeply [ecert('help')], [$status, $out, $err], 'ecert help: the same';
    like +(ecert('--version'))[1], qr/^ecert \d+\.\d+\.\d+\n\z/, '--version';

    for my $command (@commands) {
        my ($status, $out, $err) = ecert($command, '--help');
        is "$status$err", '0', "ecert $command --help";
        like $out, qr/^Usage: ecert \Q$command\E .*^Example: ecert $command/ms,
            'usage and an example';
        ok !(grep { length > 79 } split /\n/, $out), 'fits into a terminal';
    }
}

sub usage {
    my @wrong = (
        [qr/Usage: ecert COMMAND/],
        [qr/^ecert: there is no command "serve"\nSee ecert --help\.\n\z/,
            'serve'],
        [qr/there is no command "--serve"/, '--serve'],
        (map { [qr/^ecert $_: .*--serve/, $_, '--serve'] } @commands),
        [qr/^ecert status: one NAME at most/, 'status', 'a.hk', 'b.hk'],
        [qr/^ecert status: .*--store.* argument/, 'status', '--store'],
        [qr/--certificate and --key go together/, 'check', '--key', $key],
        [qr/^ecert: .*"yesterday" is not a date.*YYYY-MM-DD/,
            'check', '--at', 'yesterday'],
        [qr/"2027-02-30" is not a date/, 'chain', '--at', '2027-02-30', $file],
        [qr/"maybe" is none of auto, on, off, until=YYYY-MM-DD/,
            'chain', '--cross-certificate', 'maybe', $file],
        [qr/^ecert chain: one FILE is wanted, found 0/, 'chain'],
        [qr/^ecert chain: one FILE is wanted, found 2/, 'chain', $file, $file],
        [qr/^ecert agent: say --foreground/, 'agent'],
        [qr/^ecert agent: say --foreground/, 'agent', '--test'],
    );
    for (@wrong) {
        my ($says, @args) = @$_;
        my ($status, $out, $err) = ecert(@args);
        is "$status$out", '2', "ecert @args: exit code 2";
        like $err, $says, 'and why';
    }
}

sub check_sites {
    my $store = Ecert::Store->new->add_issuers($pki->sub, $pki->cross);
    my @check = ('check', '--store', $store->dir);
    $store->install($site, $leaf);

    my ($status, $out, $err) = ecert(@check);
    is "$status$err", '0', 'a store in order' or diag $out;
    like $out, qr/^  \Q$site\E\n.*^    valid .*^    leaf .*^    sub-ca /ms,
        'what would be served';
    is +(ecert(@check, $site))[0], 0, 'the site alone';
    like +(ecert(@check, '--explain', $site))[1], qr/considered\n +leaf /,
        '--explain';
    my ($later) = $leaf->not_after + 86400;
    my (undef, undef, undef, $d, $m, $y) = gmtime $later;
    my $at = sprintf '%04d-%02d-%02d', $y + 1900, $m + 1, $d;
    ($status, $out) = ecert(@check, '--at', $at, $site);
    is $status, 1, "--at $at";
    like $out, qr/^    expired /m, 'it has expired then';
    check_ends(@check);

    $store->install('bad.example.hk', $pki->leaf(names => ['other.hk']));
    ($status, $out) = ecert(@check);
    is $status, 1, 'one site of two is not in order';
    like $out, qr/^  bad\.example\.hk\n(?:    .*\n)*?    error +names: /m, 'which';
    is +(ecert(@check, $site))[0], 0, 'the other is';
    is +(ecert(@check, 'none.example.hk'))[0], 1, 'one that is not there';

    ($status, $out) = ecert(@check, '--json');
    my $report = JSON::PP->new->utf8->decode($out);
    is $status, 1, 'as JSON';
    is "$report->{schema} $report->{version}", 'ecert-status 1', 'its schema';
    is_deeply [map { "$_->{site} $_->{state} " . ($_->{error}{reason} // '-') }
        sort { $a->{site} cmp $b->{site} } @{ $report->{sites} }],
        ['bad.example.hk placeholder names', "$site valid -"], 'both sites';
}

sub check_ends (@check) {
    my $end = $leaf->not_after;
    my $day = strftime('%Y-%m-%d', gmtime $end);
    my @table = ([-30.5, "until $day, 30 days"], [-1.5, "until $day, 1 day"],
        [0.5, "on $day, 0 days ago"], [1.5, "on $day, 1 day ago"],
        [339.5, "on $day, 339 days ago"]);
    for (@table) {
        my ($days, $says) = @$_;
        my $at = strftime('%Y-%m-%dT%H:%M:%SZ', gmtime $end + $days * 86400);
        like +(ecert(@check, '--at', $at, $site))[1],
            qr/^    (?:valid|expired) +$says; /m, $says;
    }
}

sub check_files {
    my $store = Ecert::Store->new->add_issuers($pki->sub, $pki->cross);
    my @check = ('check', '--store', $store->dir, '--certificate', $file);

    my ($status, $out) = ecert(@check, '--key', $key, $site);
    is $status, 0, 'leaf and key for a name' or diag $out;
    ($status, $out) = ecert(@check, '--key', $key, $site, 'shop.example.hk');
    is $status, 1, 'with a name that is not in it';
    like $out, qr/not covered +shop\.example\.hk/, 'which';
    ($status, $out) = ecert(@check, '--key', $other_key, $site);
    is $status, 1, 'with another key';
    like $out, qr/error +key-mismatch: .*the key is in \Q$other_key\E/, 'the reason';
    ($status, $out) = ecert(@check, '--key', '/nonexistent', $site);
    like "$status $out", qr{^1 .*error +no-key: /nonexistent: }s, 'no key';

    my $empty = Ecert::Store->new;
    my @alone = ('check', '--store', $empty->dir, '--certificate', $file,
        '--key', $key);
    ($status, $out) = ecert(@alone, $site);
    is $status, 1, 'without a Sub CA';
    like $out, qr/warning +chain-incomplete: /, 'the chain is incomplete';
    my $sub = $pki->sub->file(tmp() . '/sub.pem');
    is +(ecert(@alone, '--issuers', $sub, $site))[0], 0, '--issuers';
    chdir tmp();
    is +(ecert('check', '--store', $empty->dir, '--issuers', 'sub.pem',
        '--certificate', 'leaf.pem', '--key', 'leaf.key', $site))[0], 0,
        'relative paths';
    chdir '/';
}

sub which_store {
    my $store = Ecert::Store->new->add_issuers($pki->sub);
    $store->install($site, $leaf);
    local $ENV{ECERT_STORE} = $store->dir;
    is +(ecert('check', $site))[0], 0, 'ECERT_STORE';
    is +(ecert('check', '--store', tmp() . '/none', $site))[0], 1,
        '--store counts more';
    like +(ecert('check', '--store', Ecert::Store->new->dir))[1],
        qr/^the store \S+ has no sites$/, 'an empty one';
}
