package Ecert::Bench::Swap;

# Swaps under load: ours against the reload of the stock server.

use v5.36;

use Ecert::Bench;
use Ecert::Bench::Change;
use Ecert::Bench::Servers;
use Ecert::Bench::Tools;
use Ecert::Load;
use Ecert::Test;

my $site = 'www.example.hk';

sub measure ($bench, @kinds) { _measure($bench, $_) for @kinds }

sub _measure ($bench, $kind) {
    my $rounds = $bench->pick(10, 1);
    my $swaps = int(($bench->{swaps} // $bench->pick(200, 2)) / $rounds);
    my @which = qw(ecert stock again);
    my $servers = Ecert::Bench::Servers->new($kind,
        sites => { $site => leaf($site) })->start;
    $servers->check;
    my %seen = map { $_ => { sum => {}, first => [], settled => [],
        begin => _memory($servers->{$_}),
        workers => { map { $_ => 1 } $servers->{$_}->workers } } } @which;
    for my $seen (values %seen) {
        $seen->{before} = keys %{ $seen->{workers} };
        $seen->{most} = $seen->{begin};
    }
    for (1 .. $rounds) {
        # The second stock server only tells how much times differ: fewer.
        _round($servers, $_, $seen{$_}, $_ eq 'again' ? $swaps / 2 : $swaps)
            for @which;
        push @which, shift @which; # none is always first
    }
    for my $which (@which) {
        Ecert::Bench::Change::settled($servers->{$which});
        $seen{$which}{end} = _memory($servers->{$which});
    }
    $servers->stop;
    _tell($bench, $kind, $rounds * $swaps, %seen);
}

sub _memory ($server) {
    return pss(processes($server)) / 1024;
}

sub _round ($servers, $which, $seen, $swaps) {
    my $server = $servers->{$which};
    my $load = Ecert::Load->new($server->port, name => $site,
        clients => { full => 1, resume => 1, keepalive => 1 });
    for (1 .. $swaps) {
        my $took = Ecert::Bench::Change::changed($servers, $which, $site);
        push @{ $seen->{$_} }, $took->{$_} for qw(first settled);
        $seen->{sum}{old} += $took->{old};
        $seen->{sum}{handshakes_failed} += $took->{failed};
        $seen->{sum}{handshakes} += $took->{handshakes};
        $seen->{workers}{$_} = 1 for $server->workers;
        my $memory = _memory($server);
        $seen->{most} = $memory if $memory > $seen->{most};
    }
    my $report = $load->stop;
    $seen->{sum}{$_} += $report->{$_}
        for qw(handshakes handshakes_failed requests);
    # Those that the server closed at a response, and those without one.
    $seen->{sum}{ended} += $report->{reconnects} + $report->{failed}
        - $report->{handshakes_failed};
}

sub _tell ($bench, $kind, $n, %seen) {
    my %same = (bench => 'swap', server => $kind, against => 'reload',
        case => "$n swaps");
    my @figures = map { _time($bench, \%seen, $_, %same) }
        [first => 'first new handshake'], [settled => 'all new from then on'];
    push @figures, map { my ($word, $what, $goal) = @$_;
        $bench->figure(%same, what => $what, unit => 'in all',
            map({ $_ => $seen{$_}{sum}{$word} } qw(ecert stock)),
            $goal ? (goal => ['ecert', '<=', 0]) : ())
    } ['handshakes', 'handshakes under load', 0],
        ['handshakes_failed', 'handshakes failed', 1],
        ['ended', 'keep-alive connections ended', 1],
        ['old', 'old certificate after the new one', 1];
    push @figures, $bench->figure(%same, what => 'new workers',
        unit => 'in all', goal => ['ecert', '<=', 0], map {
            $_ => keys(%{ $seen{$_}{workers} }) - $seen{$_}{before}
        } qw(ecert stock));
    push @figures, map { my ($word, $what) = @$_;
        $bench->figure(%same, what => $what, unit => 'MiB',
            map({ $_ => $seen{$_}{$word} } keys %seen))
    } ['begin', 'memory before'], ['most', 'memory at most'],
        ['end', 'memory after'];
    $bench->table(swap => @figures);
}

sub _time ($bench, $seen, $words, %same) {
    my ($word, $what) = @$words;
    my %ms = map { $_ => $seen->{$_}{$word} } keys %$seen;
    my %p99 = map { $_ => percentile(0.99, @{ $ms{$_} }) } keys %ms;
    my $judged = $word eq 'first';
    return (
        $bench->figure(%same, what => "$what, p50", unit => 'ms',
            compared(@ms{qw(ecert stock again)}),
            $judged ? (goal => ['ecert', '<=', 50]) : ()),
        $bench->figure(%same, what => "$what, p99", unit => 'ms', %p99,
            ratio => over(@p99{qw(ecert stock)}),
            aa => over(@p99{qw(again stock)}),
            $judged ? (goal => ['ecert', '<=', 500]) : ()));
}

1;
