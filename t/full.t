#!/usr/bin/perl

# A disk that is full, for real: a small file system with so many KiB free, from
# none to enough.  A command says that it is done, or that there is no space and
# for which file; the store stays whole, and the same command goes through when
# there is space again.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use File::Path ();

use Ecert::Scenes;
use Ecert::Strace;
use Ecert::Test;
use Ecert::Tries;
use Ecert::Whole;

my $disk = tmp() . '/disk';
my $missing = Ecert::Strace->missing // not_mounted();
plan skip_all => $missing if $missing;

for my $name ('new, first', 'new, renewal', 'install, renewal', 'backup',
    'restore', 'dcv add') {
    my $scene = scene_of($name);
    my (@wrong, %ended);
    for my $free (map { 4 * $_ } 0 .. 30) {
        my ($status, @new) = with($scene, $free);
        $ended{$status}++;
        push @wrong, map { "$free KiB free: $_" } @new;
        last if $status == 0;
    }
    ok !@wrong, "$name: whole";
    diag $_ for @wrong;
    ok $ended{0} && $ended{1}, "$name: refused until there is space";
    note "$name: $ended{1} sizes were too small";
}
done_testing;

# Why there is no such file system, or undef.
sub not_mounted {
    mkdir $disk;
    my ($status, $out) = run('mount', '-t', 'tmpfs', '-o',
        'size=1m,mode=0755', 'ecert-test', $disk);
    return $status == 0
        ? undef : 'nothing can be mounted: ' . $out =~ tr/\n//dr;
}

END {
    my $status = $?;
    run('umount', $disk) if $disk && !$missing;
    $? = $status;
}

# Leaves so many KiB; returns the file to remove.
sub fill ($free) {
    my ($status, $out) = run('df', '--output=avail', '-k', $disk);
    my ($avail) = $out =~ /(\d+)\s*\z/;
    my $file = "$disk/filler";
    open my $fill, '>:raw', $file or die "$file: $!";
    print $fill "\0" x (1024 * ($avail - $free));
    close $fill or die "$file: $!";
    return $file;
}

# (exit status, what is wrong)
sub with ($scene, $free) {
    my $dir = Ecert::Tries::copy($scene, "$disk/try");
    my $filler = fill($free);
    my ($status, $out) = run('timeout', 30, $scene->command($dir));
    my @wrong = Ecert::Whole::wrong($dir, $scene->{old}, $scene->{new},
        $scene->{log});

    if ($status == 0) {
        push @wrong, not_new($scene, $dir);
    } else {
        my @lines = grep { !/^ecert: warning/ } split /\n/, $out;
        push @wrong, "exit $status: $out" if $status != 1 || @lines != 1
            || $lines[0] !~ m{^ecert: .*\Q$dir\E/.*No space left on device};
    }
    unlink $filler;
    push @wrong, again_and_again($scene, $dir);
    File::Path::remove_tree($dir);
    return ($status, @wrong);
}
