package Ecert::Bench;

# What the pieces of auto/bench share: figures and what becomes of them.
#
# A figure is a hash: bench, server, case, what (the figure's name), unit,
# ecert, stock, and, where there is a second instance of the stock server,
# again; ratio (ecert / stock), aa (again / stock), aa_low, aa_high; goal (a
# bound, as text) and met (1, 0).  It is printed as a row of a Markdown table
# and, with --json, written as a line of JSON.

use v5.36;

use Exporter 'import';
use IO::Handle;
use JSON::PP ();
use POSIX ();
use Scalar::Util ();

use Ecert::Test ();

our @EXPORT = qw(compared median percentile over);

my $json = JSON::PP->new->canonical;
my $tenths = 10;

# quick: as little as shows that it works; callgrind: instructions are counted,
# too; json: a file; sites: [counts]; swaps: a count.
sub new ($class, %o) {
    my $bench = bless { text => {}, figures => [], %o }, $class;
    if ($o{json}) {
        open $bench->{out}, '>', $o{json} or die "$o{json}: $!\n";
        $bench->{out}->autoflush(1);
    }
    $bench->_line({ machine => machine() });
    return $bench;
}

# The first when all is to be measured, the second when quick.
sub pick ($bench, $whole, $quick) {
    return $bench->{quick} ? $quick : $whole;
}

sub _line ($bench, $hash) {
    print { $bench->{out} } $json->encode($hash), "\n" if $bench->{out};
}

# --- what it runs on

sub _first ($regex, @command) {
    return (Ecert::Test::run(@command))[1] =~ $regex ? "$1" : 'none';
}

# Neutral facts, no name of a host.
sub machine {
    my $cpus = () = (Ecert::Test::slurp('/proc/cpuinfo') // '')
        =~ /^processor/mg;
    my ($memory) = (Ecert::Test::slurp('/proc/meminfo') // '')
        =~ /^MemTotal:\s+(\d+)/;
    my ($model) = (Ecert::Test::slurp('/proc/cpuinfo') // '')
        =~ /^model name\s*:\s*(.*)/m;
    return {
        date => POSIX::strftime('%Y-%m-%d', gmtime),
        cpus => $cpus, cpu => $model // (POSIX::uname())[4],
        memory_mib => int(($memory // 0) / 1024),
        kernel => (POSIX::uname())[2] =~ /^([\d.]+)/ ? "$1" : '',
        nginx => _first(qr{nginx/(\S+)}, $ENV{ECERT_NGINX} // 'nginx', '-v'),
        apache => _first(qr{Apache/(\S+)},
            $ENV{ECERT_APACHE} // 'apache2', '-v'),
        openssl => _first(qr{OpenSSL (\S+)}, 'openssl', 'version'),
        valgrind => _first(qr{valgrind-(\S+)}, 'valgrind', '--version'),
        load => (Ecert::Test::slurp('/proc/loadavg') // '') =~ /^(\S+)/ ? "$1"
            : '',
    };
}

# The same in some lines.
sub machine_lines ($m = machine()) {
    my $gib = sprintf '%.0f', $m->{memory_mib} / 1024;
    my $busy = ($m->{load} || 0) > $m->{cpus} / 2;
    return ("$m->{date}: virtual machine, $m->{cpus} cores ($m->{cpu}), "
        . "$gib GiB, Linux $m->{kernel},",
        "nginx $m->{nginx}, Apache $m->{apache}, OpenSSL $m->{openssl}, "
        . "valgrind $m->{valgrind}; load before the run $m->{load}.",
        $busy ? '**The machine did other work: the times are rough.**' : ());
}

# --- statistics

sub percentile ($share, @values) {
    return undef if !@values;
    my @sorted = sort { $a <=> $b } @values;
    my $at = POSIX::ceil($share * @sorted) - 1;
    return $sorted[$at < 0 ? 0 : $at];
}

sub median (@values) {
    return undef if !@values;
    my @sorted = sort { $a <=> $b } @values;
    my $half = int(@sorted / 2);
    return @sorted % 2 ? $sorted[$half]
        : ($sorted[$half - 1] + $sorted[$half]) / 2;
}

sub over ($a, $b) { return defined $a && $b ? $a / $b : undef }

# The median of the i-th of equal parts.
sub _part ($samples, $i, $parts) {
    my ($from, $to) = map { int($_ * @$samples / $parts) } $i, $i + 1;
    return median(@$samples[$from .. $to - 1]);
}

# Medians of samples that were taken in turn, and their ratios.  The spread of
# A/A: the lowest and the highest ratio in tenths of the run.
sub compared ($ecert, $stock, $again) {
    my %c = (ecert => median(@$ecert), stock => median(@$stock),
        again => median(@$again));
    my ($least) = sort { $a <=> $b } scalar @$stock, scalar @$again;
    my $parts = $least < $tenths ? $least : $tenths;
    my @aa = map {
        over(_part($again, $_, $parts), _part($stock, $_, $parts)) // ();
    } 0 .. $parts - 1;
    return (%c, ratio => over($c{ecert}, $c{stock}),
        aa => over($c{again}, $c{stock}),
        aa_low => percentile(0, @aa), aa_high => percentile(1, @aa));
}

# --- what is said

# goal: ['ratio', '<=', 1.02], with the name of the member that is judged.
sub figure ($bench, %f) {
    $f{aa} //= over($f{again}, $f{stock});
    if (my $goal = $f{goal}) {
        my ($what, $sign, $bound) = @$goal;
        my $is = $f{$what};
        $f{goal} = ($what eq 'ratio' ? 'ratio ' : '') . "$sign $bound";
        $f{met} = !defined $is ? 0
            : $sign eq '<=' ? ($is <= $bound ? 1 : 0)
            : $sign eq '>=' ? ($is >= $bound ? 1 : 0)
            : $is < $bound ? 1 : 0;
    }
    $bench->_line(\%f);
    push @{ $bench->{figures} }, \%f;
    return \%f;
}

sub say ($bench, $piece, @lines) {
    CORE::say for @lines;
    push @{ $bench->{text}{$piece} }, @lines;
}

# A number as people read it: 2,945,991; 12.3; 0.0123.
sub number ($n) {
    return '' if !defined $n;
    return $n if !Scalar::Util::looks_like_number($n);
    my $text = abs $n >= 100 || $n == int $n ? sprintf '%.0f', $n
        : abs $n >= 10 ? sprintf '%.1f', $n : sprintf '%.2f', $n;
    1 while $text =~ s/^(-?\d+)(\d{3})/$1,$2/;
    return $text;
}

sub ratio_text ($ratio) {
    return defined $ratio ? sprintf '%.3f', $ratio : '';
}

# The figures as a table.  Stock servers that were not asked twice have no A/A.
sub table ($bench, $piece, @figures) {
    my @rows = map {
        my $aa = defined $_->{aa} ? ratio_text($_->{aa})
            : defined $_->{again} ? "again $_->{again}" : '';
        $aa .= sprintf ' (%.2f to %.2f)', @$_{qw(aa_low aa_high)}
            if defined $_->{aa_low};
        [$_->{server}, $_->{case}, "$_->{what}, $_->{unit}",
            $_->{against} // 'stock', number($_->{stock}),
            number($_->{ecert}), ratio_text($_->{ratio}), $aa,
            !defined $_->{goal} ? ''
                : "$_->{goal}: " . ($_->{met} ? 'met' : '**missed**')];
    } @figures;
    $bench->say($piece, rows(
        [qw(server case figure against there ecert ratio A/A goal)], @rows));
}

sub rows ($head, @rows) {
    return map({ '| ' . join(' | ', @$_) . ' |' } $head,
        [map { '---' } @$head], @rows), '';
}

# Puts what was said into a document, between the marks of its piece.
sub document ($bench, $file) {
    my $text = Ecert::Test::slurp($file) // die "$file: $!\n";
    for my $piece (sort keys %{ $bench->{text} }) {
        my $new = join "\n", @{ $bench->{text}{$piece} };
        $new =~ s/\s+\z//;
        $text =~ s{(<!-- $piece -->\n).*?(<!-- /$piece -->)}{$1$new\n$2}s
            or die "$file has no marks for $piece\n";
    }
    open my $out, '>', $file or die "$file: $!\n";
    print $out $text;
    close $out or die "$file: $!\n";
}

sub missed ($bench) {
    return grep { defined $_->{met} && !$_->{met} } @{ $bench->{figures} };
}

1;
