#!/usr/bin/perl

# auto/torture, once all is built: each case at each server in a process of
# its own, a line when it ends, and a table of all.  What a case says is kept
# in BUILD/torture/.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";

use Getopt::Long ();
use JSON::PP ();
use POSIX ();
use Time::HiRes ();

my %o = (jobs => 1);
Getopt::Long::Configure('bundling');
Getopt::Long::GetOptions(\%o, 'list', 'ci', 'one', 'jobs|j=i', 'help|h')
    or usage(1);
usage(0) if $o{help};

$ENV{ECERT_TORTURE_ALL} //= $o{ci} ? 0 : 1;
# Not before the options: what it loads wants to be a test.
require Ecert::Torture::Cases;
Ecert::Torture::Cases->import(qw(cases faults servers_of run_case));

exit list() if $o{list};
exit one(@ARGV) if $o{one};
exit run_all(chosen(@ARGV));

sub usage ($status) {
    print { $status ? *STDERR : *STDOUT } <<'END';
usage: auto/torture [--list] [--ci] [-j N] [NAME...]

  NAME    a case, a group of cases, or CASE,SERVER; none: all cases
  --list  the faults and what proves them, then the cases
  --ci    as many rounds as each run of the tests makes, and only its cases
  -j N    so many at a time
END
    exit $status;
}

sub list {
    my $area = '';
    for (faults()) {
        print "\n$_->[0]\n" if $_->[0] ne $area;
        $area = $_->[0];
        printf "  %-46s %s\n", $_->[1], join ' ', @{ $_->[2] };
    }
    print "\ncases\n";
    printf "  %-18s %-11s %s%s\n", $_->{name}, $_->{group}, $_->{what},
        $_->{ci} ? '' : ' (on demand)' for cases();
    return 0;
}

# [case, server] of each; without names all.
sub chosen (@names) {
    my @all = map { my $case = $_; map { [$case, $_] } servers_of($case) }
        grep { !$o{ci} || $_->{ci} } cases();
    return @all if !@names;
    my @chosen;
    for my $name (@names) {
        my ($which, $server) = split /,/, $name;
        my @these = grep { ($_->[0]{name} eq $which || $_->[0]{group} eq $which)
            && (!defined $server || $_->[1] eq $server) } @all;
        @these or die "auto/torture: there is no case $name; see --list\n";
        push @chosen, @these;
    }
    # Some cases are called like their group.
    my %seen;
    return grep { !$seen{"$_->[0]{name} $_->[1]"}++ } @chosen;
}

sub folder {
    my $dir = Ecert::Test::build_dir() . '/torture';
    mkdir $dir;
    return $dir;
}

sub file ($name, $server, $kind) { return folder() . "/$name-$server.$kind" }

# In the child: runs one case, and writes what came of it.
sub one ($name, $server) {
    my ($case) = grep { $_->{name} eq $name } cases();
    my $result = run_case($case, $server);
    open my $out, '>', file($name, $server, 'json') or die "result: $!";
    print $out JSON::PP::encode_json($result);
    close $out;
    Test::More::done_testing();
    return Test::More->builder->is_passing ? 0 : 1;
}

sub run_all (@todo) {
    my (%running, @done);
    while (@todo || %running) {
        while (@todo && keys %running < $o{jobs}) {
            my $job = begun(@{ shift @todo });
            $running{ $job->{pid} } = $job;
        }
        my $pid = wait;
        my $job = delete $running{$pid} or next;
        push @done, ended($job, $?);
    }
    table(@done);
    return scalar(grep { $_->{verdict} eq 'FAILED' } @done) ? 1 : 0;
}

sub begun ($case, $server) {
    my $name = $case->{name};
    unlink file($name, $server, 'json');
    my $job = { name => $name, server => $server,
        begin => Time::HiRes::time() };
    $job->{pid} = fork // die "fork: $!";
    return $job if $job->{pid};
    open STDOUT, '>', file($name, $server, 'log') or die "log: $!";
    open STDERR, '>&', \*STDOUT;
    { exec $^X, $0, "--one", $o{ci} ? "--ci" : (), $name, $server }
    POSIX::_exit(127);
}

sub ended ($job, $status) {
    my $text = Ecert::Test::slurp(file(@$job{qw(name server)}, 'json'));
    $job->{seconds} = Time::HiRes::time() - $job->{begin};
    $job->{result} = $text ? JSON::PP::decode_json($text) : {};
    $job->{verdict} = $status != 0 || !$text ? 'FAILED'
        : defined $job->{result}{skipped} ? 'skipped' : 'passed';
    printf "%-7s %s, %s (%.0f s)\n", @$job{qw(verdict name server seconds)};
    print "        see ", file(@$job{qw(name server)}, 'log'), "\n"
        if $job->{verdict} eq 'FAILED';
    return $job;
}

sub table (@done) {
    printf "\n%-18s %-17s %-7s %5s  %s\n", 'case', 'server', 'verdict', 's',
        'worst';
    printf "%-18s %-17s %-7s %5.0f  %s\n",
        @$_{qw(name server verdict seconds)}, worst($_->{result}) for @done;
    my %n;
    $n{ $_->{verdict} }++ for @done;
    printf "\n%d of %d passed", $n{passed} // 0, scalar @done;
    print map { ", $n{$_} $_" } grep { $n{$_} } qw(FAILED skipped);
    print "\n";
}

# The figures, what is to be remarked, and why it was skipped.
sub worst ($result) {
    my $figures = $result->{figures} // {};
    return join ', ', grep({ defined } $result->{skipped}), map({
        my ($value, $unit) = @{ $figures->{$_} };
        "$_ " . ($unit ne 's' ? sprintf('%.0f %s', $value, $unit) =~ s/ $//r
            : $value < 1 ? sprintf('%.0f ms', 1000 * $value)
            : sprintf '%.1f s', $value);
    } sort keys %$figures), @{ $result->{remarks} // [] };
}
