package Ecert::Bench::Idle;

# What wakes up when nothing happens: the workers of a server that has our
# module as often as those of one that has not, and our agent's processes.

use v5.36;

use Time::HiRes ();

use Ecert::Bench;
use Ecert::Bench::Servers;
use Ecert::Bench::Tools;
use Ecert::Test;

my $site = 'www.example.hk';

sub measure ($bench, $kind) {
    my $seconds = $bench->pick(90, 2);
    my $servers = Ecert::Bench::Servers->new($kind,
        sites => { $site => leaf($site) })->start;
    $servers->check;
    my %processes = (agent => [agents($servers->{ecert})], map {
        $_ => [sort $servers->{$_}->workers] } qw(ecert stock again));
    die "no fetcher\n" if @{ $processes{agent} } != 3;

    # The connections of before end, and what was begun at the start.
    Time::HiRes::sleep($bench->pick(20, 1));
    my %before = map { $_ => switches(@{ $processes{$_} }) } keys %processes;
    Time::HiRes::sleep($seconds);
    my %count = map { $_ => switches(@{ $processes{$_} }) - $before{$_} }
        keys %processes;
    $servers->stop;

    my %same = (bench => 'idle', server => $kind, what => 'wake-ups',
        unit => "in $seconds s");
    $bench->table(idle => $bench->figure(%same, case => 'all workers',
        %count{qw(ecert stock again)},
        goal => ['ecert', '<=', _most(@count{qw(stock again)})]),
        $bench->figure(%same, case => 'agent, guard, fetcher',
            ecert => $count{agent},
            goal => ['ecert', '<=', 1 + int $seconds / 30]));
}

# Counts of a server that wakes up by itself now and then differ by a few.
sub _most ($stock, $again) {
    my ($less, $more) = sort { $a <=> $b } $stock, $again;
    return $more + ($more - $less);
}

1;
