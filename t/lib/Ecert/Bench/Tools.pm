package Ecert::Bench::Tools;

# The C client of auto/bench, callgrind, and what /proc tells of the cost.

use v5.36;

use Exporter 'import';

use Ecert::Process;
use Ecert::Test;

our @EXPORT = qw(handshakes until_served callgrind counted agents processes
    pss switches cpu_ns cpu_seconds);

# --- the client

sub _client (@args) {
    my ($status, $out) = run(build_dir() . '/t/bench/client', @args);
    return $status == 0 ? $out
        : die "client @args: ended with $status: $out\n";
}

# ([ns...] of each port, failed), in the order of the ports.
sub handshakes ($ports, %o) {
    my $out = _client('handshake', '-n', $o{n} // 1,
        '-w', $o{warm_up} // 0, $o{name} ? ('-s', $o{name}) : (),
        $o{version} ? ('-v', $o{version}) : (), @$ports);
    my ($failed, @times) = 0;
    for my $line (split /\n/, $out) {
        my (undef, $bad, @ns) = split ' ', $line;
        $failed += $bad;
        push @times, \@ns;
    }
    @times == @$ports or die "the client said: $out\n";
    return (\@times, $failed);
}

# Renames (["from", "to"]...), signals (pid, number) and waits until the leaf's
# file is served: { first, settled (ms), handshakes, old, failed }.
sub until_served ($port, $leaf_file, %o) {
    my $out = _client('until', '-l', $leaf_file,
        $o{name} ? ('-s', $o{name}) : (),
        map({ ('-r', "$_->[0]=$_->[1]") } @{ $o{renames} // [] }),
        $o{signal} ? ('-k', join '=', @{ $o{signal} }) : (), $port);
    my %seen;
    @seen{qw(first settled handshakes old failed)} = split ' ', $out;
    $seen{$_} /= 1e6 for qw(first settled);
    return \%seen;
}

# --- callgrind

# The command before a server's, for its folder.
sub callgrind ($dir) {
    return ['valgrind', '-q', '--tool=callgrind', "--vgdb-prefix=$dir/vgdb",
        "--callgrind-out-file=$dir/callgrind.%p"];
}

# Instructions that the process and its threads have executed up to now.
# Asked as its user, who alone is answered, with the right to look at it.
sub counted ($server) {
    my @as = $server->{user} ? ('setpriv', "--reuid=$server->{user}",
        "--regid=$server->{user}", '--clear-groups',
        '--inh-caps=+sys_ptrace', '--ambient-caps=+sys_ptrace') : ();
    my $dir = $server->dir;
    my ($status, $out) = run('timeout', 60, @as, 'vgdb',
        "--vgdb-prefix=$dir/vgdb", '--pid=' . $server->pid,
        'status', 'internal');
    my @events = $out =~ /^events-\d+: (\d+)$/mg;
    $status == 0 && @events or die "vgdb: $out\n";
    my $sum = 0;
    $sum += $_ for @events;
    return $sum;
}

# --- /proc

# The processes that a server has because of us: agent, guard, fetcher.
sub agents ($server) {
    return if !$server->{ecert};
    my %all = map { $_ => 1 } map { ($_, Ecert::Process::children($_)) }
        $server->agents;
    return sort keys %all;
}

# All of a server: parent, children, and ours.
sub processes ($server) {
    return ($server->pid, Ecert::Process::children($server->pid),
        agents($server));
}

# What a line of these files says, added up; one that is gone says nothing.
sub _sum ($line, @files) {
    my $sum = 0;
    for my $file (@files) {
        my ($n) = (slurp($file) // '') =~ $line;
        $sum += $n // 0;
    }
    return $sum;
}

# The files of this name of all threads.
sub _threads ($name, @pids) { return map { glob "/proc/$_/task/*/$name" } @pids }

# KiB of memory, shared pages divided among those who share them.
sub pss (@pids) {
    return _sum(qr/^Pss:\s+(\d+)/m, map { "/proc/$_/smaps_rollup" } @pids);
}

# How often the threads gave up the processor of their own accord, which is
# once for each time that they are woken up.
sub switches (@pids) {
    return _sum(qr/^voluntary_ctxt_switches:\s+(\d+)/m,
        _threads('status', @pids));
}

# Processor time of these processes so far, in ns; of the living only.
sub cpu_ns (@pids) { return _sum(qr/^(\d+)/, _threads('schedstat', @pids)) }

# The same in seconds, with the children that they have reaped; to 1/100.
sub cpu_seconds (@pids) {
    my $sum = 0;
    for my $pid (@pids) {
        my ($rest) = (slurp("/proc/$pid/stat") // next) =~ /.*\) (.*)/s;
        $sum += $_ for (split ' ', $rest)[11 .. 14];
    }
    return $sum / 100;
}

1;
