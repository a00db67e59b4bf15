package Ecert::Web;

# A web server on loopback that answers as a test wants it to, and counts:
#
#   my $web = Ecert::Web->new(answer => sub ($method, $path, $body) { ... });
#
# answer: runs in a process of its own for each connection; returns the bytes of
# the response (see `ok`), or a code that writes to the socket by itself.

use v5.36;

use Fcntl qw(:flock);
use IO::Socket::INET;
use MIME::Base64 ();
use POSIX ();
use Time::HiRes ();

use Ecert::Test ();

my @started;

sub new ($class, %o) {
    state $n = 0;
    my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 512,
        ReuseAddr => 1) or die "no port: $!";
    my $web = bless { %o, port => $socket->sockport,
        log => Ecert::Test::tmp() . '/web' . $n++ . '.log' }, $class;
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        $SIG{CHLD} = 'IGNORE';
        setpgrp;
        $web->_serve($socket);
        POSIX::_exit(0);
    }
    push @started, $pid;
    $web->{pid} = $pid;
    return $web;
}

sub port ($web) { return $web->{port} }
sub url ($web, $path = '/') { return "http://127.0.0.1:$web->{port}$path" }

# The response 200 with this body.
sub ok ($body, $type = 'application/octet-stream') {
    return "HTTP/1.1 200 OK\r\nContent-Type: $type\r\nContent-Length: "
        . length($body) . "\r\nConnection: close\r\n\r\n$body";
}

sub status ($code, @headers) {
    return join "\r\n", "HTTP/1.1 $code Word", @headers, 'Content-Length: 0',
        'Connection: close', '', '';
}

# Of a request to a responder: its URL's path, and the OCSP request, which GET has
# in the path (RFC 6960, A.1).
sub asked ($method, $path, $body) {
    return ($path, $body) if $method ne 'GET';
    my ($own, $request) = $path =~ m{^(.*)/([^/]*)\z} or return ($path, '');
    $request =~ s/%([0-9A-F]{2})/chr hex $1/ge;
    return ($own, MIME::Base64::decode_base64($request));
}

# ([time, how many connections were open with it, method, path], ...)
sub requests ($web, $path = undef) {
    my @all = map { [split / /] }
        split /\n/, Ecert::Test::slurp($web->{log}) // '';
    return grep { !defined $path || $_->[3] eq $path } @all;
}

sub stop ($web) {
    my $pid = delete $web->{pid} or return;
    kill 'KILL', -$pid;
    waitpid $pid, 0;
}

sub _serve ($web, $socket) {
    while (1) {
        my $c = $socket->accept or next;
        my $pid = fork;
        if (defined $pid && !$pid) {
            close $socket;
            alarm 60;
            $SIG{PIPE} = sub { POSIX::_exit(0) };
            $web->_answer($c);
            POSIX::_exit(0);
        }
        close $c;
    }
}

sub _answer ($web, $c) {
    my $open = $web->_count(1);
    my ($head, $body) = ('', '');
    while ($head !~ /\r\n\r\n/) {
        sysread $c, $head, 4096, length $head or return $web->_count(-1);
    }
    ($head, $body) = split /\r\n\r\n/, $head, 2;
    my ($method, $path) = $head =~ m{^(\S+) (\S+)};
    my ($length) = $head =~ /^content-length: *(\d+)/mi;
    while (length $body < ($length // 0)) {
        sysread $c, $body, 4096, length $body or last;
    }
    $web->_note(sprintf '%.3f %d %s %s', Time::HiRes::time(), $open, $method,
        $path);
    my $response = $web->{answer}->($method, $path, $body);
    if (ref $response) {
        $response->($c);
        $web->_count(-1);
    } else {
        # Who has the answer may be back before this process can say so.
        $web->_count(-1);
        syswrite $c, $response;
    }
    shutdown $c, 1 if fileno $c;
}

sub _note ($web, $line) {
    open my $out, '>>', $web->{log} or die "$web->{log}: $!";
    syswrite $out, "$line\n";
}

# How many connections are open now, with this one.
sub _count ($web, $more) {
    open my $file, '+>>', "$web->{log}.open" or die "$web->{log}.open: $!";
    flock $file, LOCK_EX;
    seek $file, 0, 0;
    my $n = (readline($file) // 0) + $more;
    truncate $file, 0;
    syswrite $file, $n;
    return $n;
}

END {
    kill 'KILL', map { -$_ } @started
        if @started && $$ == Ecert::Test::owner();
}

1;
