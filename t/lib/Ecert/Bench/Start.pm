package Ecert::Bench::Start;

# One site, a hundred, a thousand: start, memory, one change, and how each
# grows.

use v5.36;

use Ecert::Bench;
use Ecert::Bench::Change;
use Ecert::Bench::Servers;
use Ecert::Bench::Tools;
use Ecert::Test;

my @which = qw(ecert stock again);
my %unit = (start => 'ms', change => 'ms', cpu => 'ms', worker => 'MiB',
    all => 'MiB', agent => 'MiB');
my @told = ([start => 'start'], [change => 'one change, time'],
    [cpu => 'one change, processor'], [worker => 'memory of a worker'],
    [all => 'memory of all processes'], [agent => 'of that, the agent']);

sub measure ($bench, @kinds) { _measure($bench, $_) for @kinds }

sub _measure ($bench, $kind) {
    my @counts = @{ $bench->{sites} };
    @counts = @{ $bench->pick([1, 100, 1000], [1, 4]) } if !@counts;
    my (@figures, $least);
    for my $n (sort { $a <=> $b } @counts) {
        my $seen = _count($bench, $kind, $n);
        push @figures, _figures($bench, $kind, $n, $seen);
        push @figures, _growth($bench, $kind, $least, [$n, $seen]) if $least;
        $least //= [$n, $seen];
    }
    $bench->table(start => @figures);
}

sub _name ($i) { return "site-$i.example.hk" }

# The vhosts stand in the order of their names; site 0 is the first.
sub _sites ($n) {
    state %leaf;
    return { map { _name($_) => $leaf{$_} //= leaf(_name($_)) } 0 .. $n - 1 };
}

# { figure => { which => [samples] } }
sub _count ($bench, $kind, $n) {
    my $servers = Ecert::Bench::Servers->new($kind, sites => _sites($n),
        workers => 1,
        http => { nginx => 'server_names_hash_max_size 65536;' });
    my %seen;
    for (1 .. $bench->pick($n > 100 ? 3 : 5, 1)) {
        for my $which (@which) {
            my $took = _started($servers->{$which});
            push @{ $seen{start}{$which} }, 1000 * $took;
            _look($bench, $servers, $which, $n, \%seen);
            $servers->{$which}->stop;
        }
    }
    return \%seen;
}

# To the first handshake.
sub _started ($server) {
    return took(sub {
        begin($server);
        my (undef, $failed) = handshakes([$server->port], name => _name(0));
        return !$failed;
    }) // die $server->kind . " does not start\n";
}

sub _look ($bench, $servers, $which, $n, $seen) {
    my $server = $servers->{$which};
    my $note = sub ($what, $value) {
        push @{ $seen->{$what}{$which} }, $value;
    };
    # Each site has to have been asked for once.
    my (undef, $failed) = handshakes([$server->port], n => $n,
        name => _name('#'));
    die "$failed of $n sites failed\n" if $failed;
    $note->(worker => pss($server->workers) / 1024);
    $note->(all => pss(processes($server)) / 1024);
    $note->(agent => pss(agents($server)) / 1024) if $which eq 'ecert';
    _changes($bench, $servers, $which, $n, $note);
}

# First how long it takes, then what it costs.
sub _changes ($bench, $servers, $which, $sites, $note) {
    my $server = $servers->{$which};
    my $n = $bench->pick($sites > 100 ? 1 : 4, 1);
    for (1 .. $n) {
        $note->(change => Ecert::Bench::Change::changed($servers, $which,
            _name(0))->{first});
    }
    Ecert::Bench::Change::settled($server);
    my $before = _used_ms($server);
    Ecert::Bench::Change::changed_alone($servers, $which, _name(0))
        for 1 .. $n;
    $note->(cpu => (_used_ms($server) - $before) / $n);
}

# Processor time; workers of a stock server come and go.
sub _used_ms ($server) {
    return $server->{ecert} ? cpu_ns(processes($server)) / 1e6
        : 1000 * cpu_seconds(processes($server));
}

sub _figures ($bench, $kind, $n, $seen) {
    return map {
        my ($word, $what) = @$_;
        $bench->figure(bench => 'start', server => $kind,
            case => $n == 1 ? '1 site' : "$n sites",
            what => $what, unit => $unit{$word}, $word eq 'agent'
                ? (ecert => median(@{ $seen->{$word}{ecert} }))
                : compared(@{ $seen->{$word} }{@which}));
    } @told;
}

# What each further site costs.
sub _growth ($bench, $kind, $less, $more) {
    my ($from, $to) = ($less->[0], $more->[0]);
    return map {
        my ($word, $what) = @$_;
        my %each;
        for my $which (@which) {
            my ($a, $b) = map { median(@{ $_->[1]{$word}{$which} // [] }) }
                $less, $more;
            $each{$which} = ($b - $a) / ($to - $from)
                * ($unit{$word} eq 'MiB' ? 1024 : 1000) if defined $a;
        }
        $bench->figure(bench => 'start', server => $kind,
            case => "$from to $to sites", what => "$what, for each further",
            unit => $unit{$word} eq 'MiB' ? 'KiB' : 'µs', %each,
            ratio => over(@each{qw(ecert stock)}),
            aa => over(@each{qw(again stock)}));
    } @told;
}

1;
