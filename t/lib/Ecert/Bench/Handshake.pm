package Ecert::Bench::Handshake;

# Full handshakes: ours against files, and in nginx against a variable.

use v5.36;

use Ecert::Bench;
use Ecert::Bench::Servers;
use Ecert::Bench::Tools;
use Ecert::Test;

my %key = ('RSA-2048' => 'rsa.example.hk', 'P-256' => 'ec.example.hk');
my @versions = qw(1.2 1.3);

sub measure ($bench, @kinds) { _measure($bench, $_) for @kinds }

sub _measure ($bench, $kind) {
    state $leaf = { map { $key{$_} => leaf($key{$_}, $_) } keys %key };
    my @which = (qw(ecert stock again), $kind eq 'nginx' ? 'variable' : ());
    my @figures = (_instructions($bench, $kind, $leaf, @which),
        _times($bench, $kind, $leaf, @which));
    $bench->table(handshake => @figures);
}

sub _cells {
    return map { my $key = $_; map { [$key, $_] } @versions } sort keys %key;
}

sub _figures ($bench, $kind, $key, $version, $samples, %more) {
    my %same = (bench => 'handshake', server => $kind,
        case => "$key, TLS $version", %more);
    my $goal = delete $same{goal};
    my @figures = ($bench->figure(%same, against => 'files',
        compared(@$samples{qw(ecert stock again)}),
        $goal ? (goal => ['ratio', '<=', 1.02]) : ()));
    push @figures, $bench->figure(%same, against => '$variable',
        stock => median(@{ $samples->{variable} }),
        ecert => $figures[0]{ecert},
        ratio => over($figures[0]{ecert}, median(@{ $samples->{variable} })),
        $goal ? (goal => ['ratio', '<', 1]) : ()) if $samples->{variable};
    return @figures;
}

# --- instructions, one server after the other: nothing disturbs a count

sub _instructions ($bench, $kind, $leaf, @which) {
    return if !$bench->{callgrind};
    my %samples;
    for my $which (@which) {
        my $servers = counted_server($kind, $which, $leaf);
        for my $cell (_cells()) {
            my ($key, $version) = @$cell;
            push @{ $samples{"@$cell"}{$which} }, count($bench, $servers,
                sub ($n) { shake($servers->port, $n, $key{$key}, $version) });
        }
        $servers->stop;
    }
    return map { _figures($bench, $kind, @$_, $samples{"@$_"}, goal => 1,
        what => 'instructions', unit => 'per handshake') } _cells();
}

# One process under callgrind; few threads, since each has to be warm.
sub counted_server ($kind, $which, $sites, %o) {
    my $servers = Ecert::Bench::Servers->new($kind, sites => $sites,
        only => [$which], single => 1, workers => 1,
        user => 'www-data', wrap => \&callgrind,
        main => { apache => "ThreadLimit 4\nThreadsPerChild 4\n"
            . "MaxRequestWorkers 4\nMinSpareThreads 1" }, %o);
    begin($servers->{$which});
    return $servers->{$which};
}

sub shake ($port, $n, $name, $version) {
    my (undef, $failed) = handshakes([$port], n => $n, name => $name,
        version => $version);
    die "$failed handshakes failed\n" if $failed;
}

# Instructions of each, in some samples.  What the counting itself costs is
# taken off: it is there in a count without any.  OpenSSL makes a key's RSA
# blinding anew every 32 uses, which is 5 % of their work: each sample has one.
sub count ($bench, $server, $do) {
    my ($n, $samples) = $bench->{quick} ? (8, 2) : (32, 5);
    $do->($n);
    my $before = counted($server);
    my $last = counted($server);
    my $cost = $last - $before;
    my @each;
    for (1 .. $samples) {
        $do->($n);
        my $now = counted($server);
        push @each, ($now - $last - $cost) / $n;
        $last = $now;
    }
    return @each;
}

# --- time, each handshake in turn

sub _times ($bench, $kind, $leaf, @which) {
    my $n = $bench->pick(600, 20);
    my $servers = Ecert::Bench::Servers->new($kind, sites => $leaf,
        only => \@which, workers => 1)->start;
    $servers->check;
    my @ports = map { $servers->{$_}->port } @which;
    my @figures;
    for my $cell (_cells()) {
        my ($key, $version) = @$cell;
        my ($times, $failed) = handshakes(\@ports, n => $n,
            warm_up => $bench->pick(20, 2), name => $key{$key},
            version => $version);
        die "$failed handshakes failed\n" if $failed;
        my %samples;
        $samples{ $which[$_] } = [map { $_ / 1000 } @{ $times->[$_] }]
            for 0 .. $#which;
        push @figures, _figures($bench, $kind, $key, $version, \%samples,
            what => 'time', unit => 'µs each');
    }
    $servers->stop;
    return @figures;
}

1;
