#!/usr/bin/perl

# Commands that are killed (SIGKILL) at every moment that makes a difference
# (Ecert::Strace says which): the store is the old one or the new one, no key
# is readable, and the same command again ends well and tidies up.
# Where a child reads what came from outside, it is killed, too.
#
# ECERT_TEST_ALL=1: at every system call; else of those that only go on with a
# temporary file or folder the first and the last.  ECERT_SCENES: only these, by a
# regular expression.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Scenes;
use Ecert::Strace;
use Ecert::Test;
use Ecert::Tries;
use Ecert::Whole;

my $missing = Ecert::Strace->missing;
plan skip_all => $missing if $missing;

my $wanted = $ENV{ECERT_SCENES} // '.';

for my $name (grep { /$wanted/ } Ecert::Scenes->names) {
    my $scene = scene_of($name);
    my @calls = @{ $scene->{calls} };
    my @points = $ENV{ECERT_TEST_ALL} ? @calls
        : (Ecert::Strace->sparse(Ecert::Strace->kill_points(@calls)),
            spread(1, grep { $_->{child} } @calls));
    ok $scene->{changed}, "$name: changes something";
    tries($scene, 'killed', \@points, \&killed);
}
done_testing;

sub killed ($scene, $dir, $point) {
    my ($status, $out) = Ecert::Strace->run($point, 'signal=KILL',
        $scene->command($dir));
    # How often a pipe is read depends on who is faster, how often the heap grows
    # on where it begins.
    return not_new($scene, $dir)
        if $status == 0 && $point->{name} =~ /^(?:poll|read|futex|brk)$/;
    # Of a child's death the command itself tells.
    return "it was not killed: $status: $out" if $status != 137
        && !($point->{child} && $status == 1 && $out =~ /^ecert: /m);
    my @wrong = Ecert::Whole::wrong($dir, $scene->{old}, $scene->{new},
        $scene->{log});
    return (@wrong, another($scene, $dir), again_and_again($scene, $dir),
        map { "after that, $_" } Ecert::Whole::readable_keys($dir),
        Ecert::Whole::broken_pairs($dir));
}

# The site is all old or all new: what it serves, which names it has, and the
# rest of site.json.  If it was in the midst of a swap, whatever command comes
# next makes it so.
sub another ($scene, $dir) {
    run($scene->arguments($dir, 'rollback', Ecert::Scenes->site, 999))
        if -e "$dir/store/sites/" . Ecert::Scenes->site . '/.swap.json';
    my $now = Ecert::Whole::facts($dir);
    my @like = map { my $state = $_; join ' ', map {
        ($now->{$_} // '') eq ($scene->{$state}{$_} // '') ? 1 : 0 }
        qw(current names site) } qw(old new);
    return if grep { $_ eq '1 1 1' } @like;
    return "the site is mixed: old $like[0], "
        . "new $like[1] (current, names, site.json)";
}
