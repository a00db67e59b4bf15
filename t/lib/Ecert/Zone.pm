package Ecert::Zone;

# An authoritative name server on loopback: Knot DNS with a zone, or several.

use v5.36;

use IO::Socket::IP;
use POSIX ();

use Ecert::Test ();

my @started;

# The program, or undef where it is not installed.
sub program {
    return (grep { -x } map { "$_/knotd" } split(/:/, $ENV{PATH} // ''),
        '/usr/sbin')[0];
}

# zone: its name; records: lines of a zone file, relative to it; servers: names
# of its name servers, relative to it (ns1); also: { zone => [lines] }, more.
sub new ($class, %o) {
    state $n = 0;
    my $dir = Ecert::Test::tmp() . '/zone' . $n++;
    mkdir $dir or die "$dir: $!";
    my $zone = bless { address => '127.0.0.1', dir => $dir,
        port => _free_port(), %o }, $class;
    my %zones = (%{ $o{also} // {} }, $o{zone} => $o{records} // []);
    for my $name (keys %zones) {
        my @servers = $name eq $o{zone} ? @{ $o{servers} // ['ns1'] } : ('ns1');
        $zone->_write($name, join '', map { "$_\n" } "\$ORIGIN $name.",
            '$TTL 3600', '@ SOA ns1 hostmaster 1 3600 600 86400 5',
            (map { ("\@ NS $_", "$_ A 127.0.0.1") } @servers),
            @{ $zones{$name} });
    }
    my $list = join '', map {
        "  - domain: $_\n    file: \"$dir/$_\"\n" } sort keys %zones;
    $zone->_write('knot.conf', <<END);
server:
    rundir: "$dir"
    listen: $zone->{address}\@$zone->{port}
    pidfile: "$dir/knot.pid"
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
log:
  - target: "$dir/log"
    any: info
database:
    storage: "$dir"
template:
  - id: default
    storage: "$dir"
    journal-content: none
    zonefile-load: whole
zone:
$list
END
    return $zone->_start;
}

# As --dns-server has it.
sub place ($zone) { return "$zone->{address}:$zone->{port}" }

sub _write ($zone, $name, $text) {
    open my $out, '>', "$zone->{dir}/$name" or die "$name: $!";
    print $out $text;
    close $out or die "$name: $!";
}

sub _start ($zone) {
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        open STDIN, '<', '/dev/null';
        open STDOUT, '>', "$zone->{dir}/out";
        open STDERR, '>&', \*STDOUT;
        exec { program() } 'knotd', '-c', "$zone->{dir}/knot.conf"
            or print STDERR "knotd: $!\n";
        POSIX::_exit(127);
    }
    push @started, $pid;
    Ecert::Test::wait_for(sub {
        $zone->_log =~ /loaded, serial/ && IO::Socket::IP->new(
            PeerHost => $zone->{address}, PeerPort => $zone->{port});
    }) or die 'knotd does not answer: ' . $zone->_log;
    return $zone;
}

sub _log ($zone) {
    return join '', map { Ecert::Test::slurp("$zone->{dir}/$_") // '' }
        qw(log out);
}

sub _free_port {
    my $socket = IO::Socket::IP->new(LocalHost => '127.0.0.1', Listen => 1)
        or die "no port: $!";
    return $socket->sockport;
}

END {
    if (@started && $$ == Ecert::Test::owner()) {
        local $?;
        kill 'KILL', @started;
        waitpid $_, 0 for @started;
    }
}

1;
