package Ecert::Responder;

# An OCSP responder on loopback: `openssl ocsp` with a CA's own key.

use v5.36;

use IO::Socket::INET;
use POSIX ();

use Ecert::Cert;
use Ecert::Test ();

my @started;

# issuer: the CA's certificate; port: a free one unless given; days or minutes:
# how long an answer is good; ago: seconds by which its clock is late, so that
# an answer has a part of its life behind it (with libfaketime, else 0).
sub new ($class, $issuer, %o) {
    state $n = 0;
    my $dir = Ecert::Test::tmp() . '/responder' . $n++;
    mkdir $dir or die "$dir: $!";
    $issuer->file("$dir/ca.pem");
    $issuer->key_file("$dir/ca.key");
    my $responder = bless { dir => $dir, issuer => $issuer, lines => [],
        port => $o{port} // _free_port(), days => $o{days} // 7, minutes => $o{minutes},
        ago => $o{ago} }, $class;
    return $responder;
}

sub url ($responder) { return "http://127.0.0.1:$responder->{port}/" }

# What a leaf needs for its AIA, for Ecert::PKI's extensions.
sub aia ($responder) {
    return [Net::SSLeay::NID_info_access() => 'OCSP;URI:' . $responder->url];
}

# From now on it knows this certificate: good, or revoked (a reason).
sub knows ($responder, $cert, $revoked = undef) {
    my $until = POSIX::strftime('%y%m%d%H%M%SZ', gmtime $cert->not_after);
    my $when = $revoked
        ? POSIX::strftime('%y%m%d%H%M%SZ', gmtime) . ",$revoked" : '';
    my $serial = uc $cert->serial;
    $serial = "0$serial" if length($serial) % 2;
    @{ $responder->{lines} } = grep { !/\t$serial\t/ }
        @{ $responder->{lines} };
    push @{ $responder->{lines} }, join "\t", $revoked ? 'R' : 'V', $until,
        $when, $serial, 'unknown', $cert->subject;
    return $responder;
}

# Writes the list of what it knows.
sub list ($responder) {
    my $dir = $responder->{dir};
    open my $out, '>', "$dir/index.txt" or die "$dir/index.txt: $!";
    print $out map { "$_\n" } @{ $responder->{lines} };
    close $out;
    open $out, '>', "$dir/index.txt.attr" or die "$dir/index.txt.attr: $!";
    print $out "unique_subject = no\n";
    close $out;
}

sub start ($responder) {
    my $dir = $responder->{dir};
    $responder->list;
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        open STDIN, '<', '/dev/null';
        open STDOUT, '>', "$dir/out";
        open STDERR, '>&', \*STDOUT;
        my @command = ('openssl', 'ocsp', '-index', "$dir/index.txt", '-port',
            $responder->{port}, '-rsigner', "$dir/ca.pem", '-rkey',
            "$dir/ca.key", '-CA', "$dir/ca.pem", $responder->{minutes}
                ? ('-nmin', $responder->{minutes})
                : ('-ndays', $responder->{days}));
        @ENV{qw(LD_PRELOAD FAKETIME)} = (Ecert::Test::faketime(),
            "-$responder->{ago}s")
            if Ecert::Test::faketime() && $responder->{ago};
        exec { $command[0] } @command or print STDERR "openssl: $!\n";
        POSIX::_exit(127);
    }
    push @started, $pid;
    $responder->{pid} = $pid;
    # A connection to try would be a bad request to it.
    Ecert::Test::wait_for(sub {
        (Ecert::Test::slurp("$dir/out") // '') =~ /waiting for OCSP/
    }) or die 'the responder does not listen: '
        . (Ecert::Test::slurp("$dir/out") // '');
    return $responder;
}

sub stop ($responder) {
    my $pid = delete $responder->{pid} or return;
    kill 'KILL', $pid;
    waitpid $pid, 0;
}

# What it was asked, as often as it was.
sub asked ($responder) {
    my $text = Ecert::Test::slurp("$responder->{dir}/out") // '';
    return scalar(() = $text =~ /received request, 1st line/gi);
}

sub _free_port {
    my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1)
        or die "no port: $!";
    return $socket->sockport;
}

END { kill 'KILL', @started if @started && $$ == Ecert::Test::owner() }

1;
