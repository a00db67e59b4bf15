#!/usr/bin/perl

# Targets of fuzzing over their seeds, without libFuzzer: each seed as it is,
# cut and changed, and each input that once was a finding (t/fuzz/seeds).

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Test;

my $fuzz = build_dir() . '/t/fuzz/fuzz';
my $top = "$FindBin::Bin/..";

chdir $top or die "chdir $top: $!\n";

my @targets = map { (split)[0] } `$fuzz --list`;
my @files = sort map { m{fuzz_(\w+)\.c$} } glob 't/fuzz/fuzz_*.c';

is "@targets", "@files", 'each file is a target';

for my $target (@targets) {
    my $said = `$fuzz --target=$target --seeds 2>&1`;
    is $?, 0, "$target ends well";
    my ($seeds) = $said =~ /^\Q$target\E: (\d+) seeds, \d+ runs$/m;
    ok $seeds, "$target has seeds" or diag $said;
}

for my $folder (glob 't/fuzz/seeds/*') {
    my $name = $folder =~ s{.*/}{}r;
    ok((grep { $_ eq $name } @targets), "$folder belongs to a target");
}

done_testing;
