#!/usr/bin/perl

# Commands to which the system refuses a call: the disk is full or broken, the
# file system read-only, memory or descriptors are used up.  A command that says
# it is done has done all of it; one that fails says so in one line, with the
# file and the system's reason, and leaves the old state or the new one.
#
# Tried: of the calls that change or commit something each kind once, as the
# commands have most of them in common, and some more of each command; what is
# read is refused in faults_calls.t.  ECERT_TEST_ALL=1: all of them, with every
# error.  ECERT_SCENES, ECERT_ERRORS: only these scenes or errors, by regular
# expressions.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Scenes;
use Ecert::Strace;
use Ecert::Test;
use Ecert::Tries;

my $missing = Ecert::Strace->missing;
plan skip_all => $missing if $missing;

my $wanted = $ENV{ECERT_SCENES} // '.';
my %seen;

# What can become of which call.
my @errors = (
    [qr/^(?:openat|mkdirat)$/, qw(ENOSPC EROFS EMFILE EIO)],
    [qr/^(?:p?write|fsync|fallocate)/, qw(ENOSPC EIO)],
    [qr/^(?:rename|unlink|symlink|link|fchmod)/, qw(EROFS EIO ENOSPC)],
    [qr/^flock/, qw(ENOLCK EIO)],
    [qr/^mmap/, qw(ENOMEM)],
    [qr/./, qw(EIO ENOMEM)],
);
my $reading = qr/^(?:openat|p?read(?:64)?|newfstatat|fstat|getdents64
    |readlinkat)$/x;

for my $name (grep { /$wanted/ } Ecert::Scenes->names) {
    my $scene = scene_of($name);
    tries($scene, 'refused', [points(@{ $scene->{calls} })],
        \&refused);
}
subtest 'the output is lost' => \&lost_output;
done_testing;

# All was done, but who reads the output from a file must know.
sub lost_output {
    my $scene = scene_of('install, renewal');
    my $dir = Ecert::Tries::copy($scene, tmp() . '/output');
    my ($status, $out) = run('sh', '-c', '"$@" > /dev/full', 'sh',
        $scene->command($dir));
    is $status, 1, 'exit 1';
    like $out, qr/^ecert: system: standard output: .*No space left .*; .+\n\z/,
        'and a line that says so';
    is_deeply [not_new($scene, $dir)], [], 'the certificate is installed';
}

sub points (@calls) {
    my @mine = grep { !$_->{child} } @calls;
    my @change = grep { $_->{changes} } @mine;
    my @commit = grep { $_->{commits} || $_->{name} eq 'fchmod'
        && !$_->{changes} && $_->{ours} } @mine;
    my @read = grep { $_->{ours} && $_->{name} =~ $reading
        && !$_->{changes} } @mine;
    # The memory of a program that runs already; the first calls are the
    # loader's.  brk(2) does not fail by an error that could be put in.
    my ($begun) = grep { $mine[$_]{ours} } 0 .. $#mine;
    my @memory = grep { $_->{name} =~ /^(?:mmap|clone3?|pipe2)$/ }
        @mine[$begun .. $#mine];
    if (!$ENV{ECERT_TEST_ALL}) {
        @change = few(4, @change);
        @commit = few(2, @commit);
        @read = spread(1, @read);
        @memory = ();
    }
    my $i = 0;
    return map { with_errors($_, $i++, @errors) } @change, @commit, @read, @memory;
}

sub few ($others, @calls) {
    return fresh(\%seen, sub ($call) { Ecert::Strace->kind($call) }, $others,
        @calls);
}

sub refused ($scene, $dir, $point) {
    my ($status, $out) = Ecert::Strace->run($point, "error=$point->{error}",
        $scene->command($dir));
    return is_refused($scene, $dir, $point->{error}, $status, $out);
}
