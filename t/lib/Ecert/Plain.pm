package Ecert::Plain;

# A small HTTP server on loopback that answers whatever a test wants, however
# wrong: answer => sub ($path, $host, $socket), which returns the bytes of the
# whole response, or undef when it has seen to the socket itself.

use v5.36;

use IO::Socket::IP;
use POSIX ();

use Ecert::Test ();

my @started;

# address: 127.0.0.1 unless given.
sub new ($class, %o) {
    my $plain = bless { address => '127.0.0.1', %o }, $class;
    $plain->{socket} = IO::Socket::IP->new(LocalHost => $plain->{address},
        LocalPort => 0, Listen => 16) or return undef;
    $plain->{port} = $plain->{socket}->sockport;
    $plain->{pid} = fork // die "fork: $!";
    $plain->_serve if !$plain->{pid};
    push @started, $plain->{pid};
    $plain->{socket}->close;
    return $plain;
}

sub port ($plain) { return $plain->{port} }

# As --resolve has it: "127.0.0.1:8080", "[::1]:8080".
sub place ($plain) {
    my $address = $plain->{address};
    $address = "[$address]" if $address =~ /:/;
    return "$address:$plain->{port}";
}

# The bytes of a response.
sub response ($status, $body = '', @headers) {
    return join "\r\n", "HTTP/1.1 $status", 'Connection: close',
        'Content-Length: ' . length $body, @headers, '', $body;
}

sub _serve ($plain) {
    $SIG{CHLD} = 'IGNORE';
    while (1) {
        my $client = $plain->{socket}->accept or next;
        my $pid = fork // next;
        $plain->_answer($client) if !$pid;
        $client->close;
    }
}

sub _answer ($plain, $client) {
    my $head = '';
    while ($head !~ /\r\n\r\n/ && sysread $client, my $bytes, 4096) {
        $head .= $bytes;
    }
    my ($path) = $head =~ /^GET (\S+)/;
    my ($host) = $head =~ /^Host: (\S+)/mi;
    my $bytes = $plain->{answer}->($path // '', $host // '', $client);
    syswrite $client, $bytes if defined $bytes;
    $client->shutdown(1);
    sysread $client, $head, 1;
    POSIX::_exit(0);
}

sub stop ($plain) {
    my $pid = delete $plain->{pid} or return;
    kill 'KILL', $pid;
    waitpid $pid, 0;
}

END { kill 'KILL', @started if @started && $$ == Ecert::Test::owner() }

1;
