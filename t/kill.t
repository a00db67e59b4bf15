#!/usr/bin/perl

# Commands that are killed (SIGKILL) at every moment that makes a difference
# (Ecert::Strace says which): the store is the old one or the new one, no key
# is readable, and the same command again ends well and tidies up.
#
# ECERT_TEST_ALL=1: at every system call.  ECERT_SCENES: only these, by a
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

my $only = qr/$ENV{ECERT_SCENES}/ if defined $ENV{ECERT_SCENES};

for my $name (grep { !$only || $_ =~ $only } Ecert::Scenes->names) {
    my $scene = scene_of($name);
    my @points = $ENV{ECERT_TEST_ALL}
        ? grep({ !$_->{child} } @{ $scene->{calls} })
        : Ecert::Strace->kill_points(@{ $scene->{calls} });
    ok $scene->{changed}, "$name: changes something";
    tries($scene, 'killed', \@points, sub ($dir, $point) {
        return killed($scene, $dir, $point);
    });
}
done_testing;

sub killed ($scene, $dir, $point) {
    my ($status, $out) = Ecert::Strace->run($point, 'signal=KILL',
        $scene->command($dir));
    return "it was not killed: $status: $out" if $status != 137;
    my @wrong = Ecert::Whole::wrong($dir, $scene->{old}, $scene->{new},
        $scene->{log});
    return (@wrong, another($scene, $dir), again_and_again($scene, $dir),
        map { "after that, $_" } Ecert::Whole::readable_keys($dir),
        Ecert::Whole::broken_pairs($dir));
}

# Whatever command comes next, the site is then all old or all new: what it
# serves, which names it has, and the rest of site.json.
sub another ($scene, $dir) {
    return if !$scene->{swaps};
    run($scene->arguments($dir, 'rollback', Ecert::Scenes->site, 999));
    my $now = Ecert::Whole::facts($dir);
    my @like = map { my $state = $_; join ' ', map {
        ($now->{$_} // '') eq ($scene->{$state}{$_} // '') ? 1 : 0 }
        qw(current names site) } qw(old new);
    return if grep { $_ eq '1 1 1' } @like;
    return "after another command the site is mixed: old $like[0], "
        . "new $like[1] (current, names, site.json)";
}
