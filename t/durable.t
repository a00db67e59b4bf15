#!/usr/bin/perl

# What a command has put into the store, or beside it, is on the disk when it
# ends, and came there in an order that a power cut does not turn round: seen
# in the trace of each command that changes something (Ecert::Synced).  A new
# command needs a line in Ecert::Scenes, or here, if it changes nothing.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Scenes;
use Ecert::Strace;
use Ecert::Synced;
use Ecert::Test;

my $missing = Ecert::Strace->missing;
plan skip_all => $missing if $missing;

my @reads = ('dcv list', 'dcv sectigo', 'dcv dns', 'dcv mail', 'dcv check',
    'issuers list', 'status', 'verify', 'check', 'chain', 'log', 'calendar',
    'agent');

subtest 'every command' => \&every_command;
synced($_) for Ecert::Scenes->names(network => 1);
done_testing;

sub every_command {
    my ($status, $out) = run(build_dir() . '/ecert', '--help');
    my @all = $out =~ /^  ([a-z]+(?: [a-z]+)*)  /mg;
    cmp_ok scalar @all, '>', 20, 'there are commands' or diag $out;
    my %known = map { $_ => 1 } @reads, Ecert::Scenes->commands;
    is_deeply [grep { !$known{$_} } @all], [],
        'each has a scene, or changes nothing';
}

sub synced ($name) {
    my $scene = Ecert::Scenes->make($name);
    my $dir = $scene->prepare(tmp() . '/' . $name =~ s/\W+/-/gr);
    my @dirs = ("$dir/store", "$dir/out");
    my ($status, $out, @calls)
        = Ecert::Strace->calls(\@dirs, $scene->command($dir));
    is $status, 0, "$name: done" or diag $out;
    my @wrong = Ecert::Synced->wrong(\@dirs, \my %seen, @calls);
    is_deeply \@wrong, [], "$name: all is on the disk";
    ok $seen{synced}, "$name: something is synced";

    # What is synced has to be: without that, it would be told.
    my %synced = map { m{^\d+<([^>]+)>} ? ($1 => 1) : () }
        map { $_->{text} } grep { _syncs($_) } @calls;
    my @unmissed = grep { my $path = $_; !Ecert::Synced->wrong(\@dirs, {},
        grep { !_syncs($_) || $_->{text} !~ /<\Q$path\E>/ } @calls)
    } sort keys %synced;
    is_deeply \@unmissed, [], "$name: a sync that is left out is missed";
}

sub _syncs ($call) { return $call->{ours} && $call->{name} =~ /^f(?:data)?sync/ }
