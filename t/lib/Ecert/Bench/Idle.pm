package Ecert::Bench::Idle;

# What wakes up when nothing happens: the workers of a server that has our
# module as often as those of one that has not, and our agent's processes.
# Both servers are watched at once.

use v5.36;

use POSIX ();
use Time::HiRes ();

use Ecert::Bench;
use Ecert::Bench::Servers;
use Ecert::Bench::Tools;
use Ecert::Test;

my $site = 'www.example.hk';
my $rescan = 30; # seconds between two looks of the agent

sub measure ($bench, @kinds) {
    my $seconds = $bench->pick(65, 2);
    my %watched;
    for my $kind (@kinds) {
        my $servers = Ecert::Bench::Servers->new($kind,
            sites => { $site => leaf($site) })->start;
        $servers->check;
        my @ours = agents($servers->{ecert});
        @ours == 3 or die "$kind: not agent, guard and fetcher: @ours\n";
        $watched{$kind} = { servers => $servers, agent => \@ours,
            map { $_ => [$servers->{$_}->workers] } qw(ecert stock again) };
    }
    # The connections of before end, and what was begun at the start.
    Time::HiRes::sleep($bench->pick(20, 1));
    my $before = _switches(\%watched);
    Time::HiRes::sleep($seconds);
    my $after = _switches(\%watched);

    for my $kind (@kinds) {
        $watched{$kind}{servers}->stop;
        _tell($bench, $kind, $seconds, map {
            $_ => $after->{$kind}{$_} - $before->{$kind}{$_}
        } keys %{ $before->{$kind} });
    }
}

# { kind => { which => wake-ups so far } }
sub _switches ($watched) {
    my %all;
    while (my ($kind, $w) = each %$watched) {
        $all{$kind} = { map { $_ => switches(@{ $w->{$_} }) }
            qw(agent ecert stock again) };
    }
    return \%all;
}

sub _tell ($bench, $kind, $seconds, %count) {
    my %same = (bench => 'idle', server => $kind, what => 'wake-ups',
        unit => "in $seconds s");
    $bench->table(idle => $bench->figure(%same, case => 'all workers',
        %count{qw(ecert stock again)},
        goal => ['ecert', '<=', _most(@count{qw(stock again)})]),
        $bench->figure(%same, case => 'agent, guard and fetcher',
            ecert => $count{agent},
            goal => ['ecert', '<=', POSIX::ceil($seconds / $rescan)]));
}

# Counts of a server that wakes up by itself now and then differ by a few.
sub _most ($stock, $again) {
    my ($less, $more) = sort { $a <=> $b } $stock, $again;
    return $more + ($more - $less);
}

1;
