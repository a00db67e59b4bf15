package Ecert::Torture::Cases;

# All cases: t/torture/GROUP.pm returns those of a group, each a hash:
#
#   name       one word or several with hyphens
#   what       what happens, in a few words
#   run        sub ($t), with an Ecert::Torture that has not begun
#   ci         1: among those that every run of the tests tries
#   servers    more than nginx and apache: [qw(apache-prefork apache-worker)],
#              when all is tried
#   only       exactly these
#
# t/torture/faults.txt names each fault that has to be withstood, and what
# proves it: cases, or tests of their own.

use v5.36;

use Exporter 'import';

use Ecert::Test;
use Ecert::Torture;

our @EXPORT_OK = qw(cases faults servers_of run_case torture);

my $dir = Ecert::Test::repository() . '/t/torture';

sub groups { return map { m{([^/]+)\.pm$} } sort glob "$dir/*.pm" }

sub cases {
    state @cases = map {
        my $group = $_;
        my $list = do "$dir/$group.pm"
            or die "$dir/$group.pm: " . ($@ || $!);
        map { +{ %$_, group => $group } } @$list;
    } groups();
    return @cases;
}

# [area, fault, [proofs]]
sub faults {
    my @faults;
    for my $line (split /\n/, slurp("$dir/faults.txt")) {
        next if $line =~ /^\s*(?:#|$)/;
        my ($area, $fault, $proofs) = split /\s*\|\s*/, $line;
        push @faults, [$area, $fault, [split ' ', $proofs // '']];
    }
    return @faults;
}

# Only the servers that this run is about.
sub servers_of ($case) {
    my %wanted = map { $_ => 1 } servers();
    my @more = $ENV{ECERT_TORTURE_ALL} ? @{ $case->{servers} // [] } : ();
    return grep { $wanted{ s/-.*//r } }
        $case->{only} ? @{ $case->{only} } : ('nginx', 'apache', @more);
}

# One case at one server; returns { figures, remarks, skipped (why) }.
sub run_case ($case, $server) {
    my $t = Ecert::Torture->new($case, $server);
    my @failed;
    subtest "$case->{name}, $server" => sub {
        my $ended = eval { $case->{run}->($t); 1 };
        plan skip_all => $t->skipped if defined $t->skipped;
        ok $ended, 'it came to its end' or diag $@;
        @failed = map { $_->{name} } grep { !$_->{ok} }
            Test::More->builder->details;
    };
    # Once more, where the end of a long output shows it.
    diag "$case->{name}, $server: failed: $_" for @failed;
    # Also when it broke off in the middle.
    delete $t->{load};
    quietly(sub { $t->server->stop }) if $t->server;
    return { figures => $t->figures, remarks => [$t->remarks],
        skipped => $t->skipped };
}

# What t/torture_GROUP.t is.
sub torture ($group) {
    for my $case (grep { $_->{group} eq $group && $_->{ci} } cases()) {
        run_case($case, $_) for servers_of($case);
    }
    done_testing;
}

1;
