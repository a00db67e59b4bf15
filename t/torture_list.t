#!/usr/bin/perl

# The list of faults (t/torture/faults.txt) is true: every proof is there,
# every case is named, and each case describes itself.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Test;
use Ecert::Torture::Cases qw(cases faults servers_of);

my $root = Ecert::Test::repository();
my %case = map { $_->{name} => $_ } cases();
my %proves;

for (faults()) {
    my ($area, $fault, $proofs) = @$_;
    ok @$proofs > 0, "$area: $fault: there is a proof";
    my @missing = grep { !$case{$_} && !-f "$root/$_" } @$proofs;
    is_deeply \@missing, [], 'and it exists';
    $proves{$_}++ for @$proofs;
}
is_deeply [sort grep { !$proves{$_} } keys %case], [],
    'every case stands for a fault';
is scalar(keys %case), scalar(my @all = cases()), 'no two of one name';
is_deeply [grep { !$_->{what} || ref $_->{run} ne 'CODE'
    || $_->{name} !~ /^[a-z0-9-]+$/ } cases()], [], 'each describes itself';

my %group = map { $_->{group} => 1 } grep { $_->{ci} } cases();
is_deeply [sort grep { !-f "$root/t/torture_$_.t" } keys %group], [],
    'each group has its test';
done_testing;
