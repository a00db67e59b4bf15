#!/usr/bin/perl

# Completion in bash: commands, second words, options, names of sites; files
# where there is nothing to offer.  A real bash, without a terminal.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Command qw(ecert);
use Ecert::Store;
use Ecert::Test;

my $script = Ecert::Test::repository() . '/src/cli/ecert.bash';
my @sites = ('*.example.hk', 'shop.example.hk', 'www.example.hk');
my $store = Ecert::Store->new;
my $other = Ecert::Store->new;

(run('bash', '--version'))[0] == 0 or plan skip_all => 'there is no bash';
make_site($store, $_) for @sites;
make_site($other, 'other.example.hk');

subtest 'commands' => \&commands;
subtest 'options' => \&options;
subtest 'sites' => \&sites;
subtest 'values and files' => \&files;
subtest 'bash itself' => \&itself;
done_testing;

sub make_site ($store, $site) {
    my ($status, $out) = ecert($store, 'new', $site, '--key', 'ec:P-256');
    is $status, 0, "ecert new $site" or diag $out;
}

# What bash would offer for the last of these words, or what a line of bash
# prints after the script was read.
sub bash ($line, @words) {
    local $ENV{PATH} = build_dir() . ":$ENV{PATH}";
    local $ENV{ECERT_STORE} = $store->dir;
    my ($status, $out) = run('bash', '--norc', '--noprofile', '-c',
        "source '$script' || exit 9\n$line", 'bash', @words);
    is $status, 0, "bash: @words" or diag $out;
    return split /\n/, $out;
}

sub offered (@words) {
    return [bash('COMP_WORDS=(ecert "$@") COMP_CWORD=$#; _ecert
        for word in "${COMPREPLY[@]}"; do echo "$word"; done', @words)];
}

sub commands {
    my ($status, $help) = ecert($store, '--help');
    my %first;
    my @first = grep { !$first{$_}++ } $help =~ /^  ([a-z]+)/mg;

    is_deeply offered(''), \@first, 'all that --help tells of, each once';
    is_deeply offered('re'), ['restore'], 're';
    is_deeply offered('c'), [qw(csr check chain calendar)], 'c';
    is_deeply offered('dcv', ''), [qw(add list remove sectigo dns mail check)],
        'second words';
    is_deeply offered('issuers', 'r'), ['remove'], 'and the beginning of one';
    is_deeply offered('serve'), [], 'none that is not there';
}

sub options {
    is_deeply offered('dcv', 'add', '-'), [qw(--as --request --store --run --help)],
        'all of one command';
    is_deeply offered('backup', 'www.example.hk', '--p'),
        [qw(--pending --profile --password-file --password-fd)],
        'those that begin so';
    is_deeply offered('issuers', 'list', '--no'), [], 'and no others';
    ok !(grep { /^-/ } @{ offered('csr', '') }),
        'none before a hyphen was typed';
}

sub sites {
    my @quoted = ('\\*.example.hk', @sites[1, 2]);

    is_deeply offered('csr', ''), \@quoted, 'all sites, for a shell to read';
    is_deeply offered('csr', 'w'), ['www.example.hk'], 'w';
    is_deeply offered('csr', q{'*}), ['*.example.hk'], 'behind a quote';
    is_deeply offered('csr', '\\*'), ['\\*.example.hk'], 'behind a backslash';
    is_deeply offered('dcv', 'add', 's'), ['shop.example.hk'],
        'after two words';
    is_deeply offered('calendar', 'www.example.hk', 's'), ['shop.example.hk'],
        'a second one, where a command takes several';
    is_deeply offered('dcv', 'add', 'www.example.hk', ''), [],
        'but none in place of its file';
    is_deeply offered('issuers', 'add', ''), [], 'nor where none is wanted';
    is_deeply offered('csr', '--store', $other->dir, ''),
        ['other.example.hk'], 'those of --store';
    is_deeply offered('csr', '--store', '=', $other->dir, ''),
        ['other.example.hk'], 'also of --store=DIR, which bash takes apart';
    is_deeply offered('csr', '--store', '/nowhere', ''), [], 'or none';
}

sub files {
    for (['backup', '-o', ''], ['backup', '--output', 'w'],
        ['check', '--certificate', ''], ['status', '--store', '='],
        ['status', '--store', '=', 's'], ['restore', ''],
        ['install', 'www.example.hk', '']) {
        is_deeply offered(@$_), [], "@$_: nothing of ours, so bash offers files";
    }
    is_deeply offered('csr', '--request', '2', 'w'), ['www.example.hk'],
        'behind a value it goes on';
}

sub itself {
    my ($how) = bash('complete -p ecert');
    like $how, qr/-o bashdefault .*-o default .*-F _ecert ecert$/,
        'files are the fallback';
    is_deeply [bash('set -u; COMP_WORDS=(ecert) COMP_CWORD=0
        PATH=/nowhere _ecert; echo "${#COMPREPLY[@]}"')], [0],
        'no executable: nothing is offered, and nothing is said';
}
