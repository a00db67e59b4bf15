#!/usr/bin/perl

# Commands to which the system or libc's memory refuses something, by each way
# that leads through the command's own code to such a call (Ecert::Refuse): what
# cannot be read must not be taken for something that is not there, and nothing
# crashes.  faults.t does so at the kernel, for what changes files.
#
# ECERT_TEST_ALL=1: all ways, with every error.  ECERT_SCENES, ECERT_ERRORS:
# only these scenes or errors, by regular expressions.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Errno ();

use Ecert::Refuse;
use Ecert::Scenes;
use Ecert::Test;
use Ecert::Tries;

my $missing = Ecert::Refuse->missing;
plan skip_all => $missing if $missing;

my $wanted = $ENV{ECERT_SCENES} // '.';
my $error = $ENV{ECERT_ERRORS} // '.';
my %seen;

# What can become of which call.
my @errors = (
    [qr/^(?:m|c|re)alloc$/, qw(ENOMEM)],
    [qr/^f?open|^opendir|^fdopendir/, qw(EIO EMFILE EACCES ENFILE ENOMEM
        ESTALE EINTR)],
    [qr/^(?:read|pread)$/, qw(EIO EINTR ESTALE ENOMEM)],
    [qr/stat|readlink|readdir|lseek/, qw(EIO ESTALE EACCES ENOMEM)],
    [qr/^mkdir|^rename|^unlink|^rmdir|^symlink|^link|^fchmod/,
        qw(EIO EACCES EROFS ENOSPC ENOMEM)],
    [qr/^p?write$/, qw(EIO ENOSPC EINTR)],
    [qr/^socket|^pipe2|^memfd|^dup/, qw(EMFILE ENFILE ENOMEM)],
    [qr/^fork/, qw(EAGAIN ENOMEM)],
    [qr/^flock/, qw(ENOLCK EINTR EIO)],
    [qr/./, qw(EIO ENOMEM EINTR)],
);

for my $name (grep { /$wanted/ } Ecert::Scenes->names) {
    my $scene = scene_of($name, 'Ecert::Refuse');
    my @points = @{ $scene->{calls} };
    tries($scene, 'a call refused',
        [points_of(grep { !$_->{memory} } @points)], \&refused);
    tries($scene, 'memory refused',
        [points_of(grep { $_->{memory} } @points)], \&refused)
        if 'ENOMEM' =~ /$error/;
}
done_testing;

sub points_of (@calls) {
    my $i = 0;
    return map { with_errors($_, $i++, @errors) }
        $ENV{ECERT_TEST_ALL} ? @calls : few(@calls);
}

# What the commands have in common is tried in one of them.
sub few (@calls) {
    my @new = fresh(\%seen, sub ($call) {
        join ' ', grep { defined } @$call{qw(name child)},
            @{ $call->{at} }[0 .. 1];
    }, 0, @calls);
    return @new ? spread(4, @new) : spread(1, @calls);
}

sub refused ($scene, $dir, $point) {
    my ($status, $out) = Ecert::Refuse->run_with($point,
        Errno->can($point->{error})->(), $scene->command($dir));
    return is_refused($scene, $dir, $point->{error}, $status, $out);
}
