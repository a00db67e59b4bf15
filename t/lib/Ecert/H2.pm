package Ecert::H2;

# Just as much HTTP/2 (RFC 9113) as it takes to make one request after the
# other on one connection, and to see whether each was answered.

use v5.36;

use Ecert::Connection;

my %type = (DATA => 0, HEADERS => 1, RST_STREAM => 3, SETTINGS => 4, PING => 6,
    GOAWAY => 7, WINDOW_UPDATE => 8, CONTINUATION => 9);
my ($end_stream, $end_headers, $ack) = (1, 4, 1);

# HPACK's static table (RFC 7541): the statuses that stand in it.
my %status = (8 => 200, 9 => 204, 10 => 206, 11 => 304, 12 => 400, 13 => 404,
    14 => 500);

# On an Ecert::Connection that agreed on h2, with nothing sent.
sub new ($class, $connection) {
    my $h2 = bless { c => $connection, next => 1, gone => 0 }, $class;
    $connection->write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        . _frame($type{SETTINGS}, 0, 0, ''));
    return $h2;
}

sub _frame ($type, $flags, $stream, $bytes) {
    return substr(pack('N', length $bytes), 1)
        . pack('CCN', $type, $flags, $stream) . $bytes;
}

# Whether the server wants no more requests on this connection.
sub is_gone ($h2) { return $h2->{gone} }

# GET: { status (0: none), body, error }.
sub get ($h2, $host, $path) {
    my $stream = $h2->{next};
    $h2->{next} += 2;
    # GET, https, path and authority without an index.
    my $head = "\x82\x87" . "\x04" . chr(length $path) . $path
        . "\x01" . chr(length $host) . $host;
    $h2->{c}->write(_frame($type{HEADERS}, $end_stream | $end_headers,
        $stream, $head));

    my $answer = { status => 0, body => '', error => '' };
    until ($answer->{done}) {
        my ($type, $flags, $of, $bytes) = $h2->_read;
        if (!defined $type) {
            $answer->{error} = $h2->{c}->error || 'closed without an answer';
            last;
        }
        $h2->_take($answer, $stream, $type, $flags, $of, $bytes);
    }
    return $answer;
}

sub _read ($h2) {
    my $head = $h2->{c}->take(9) // return;
    my ($high, $low, $type, $flags, $stream) = unpack 'CnCCN', $head;
    my $bytes = $h2->{c}->take($high << 16 | $low) // return;
    return ($type, $flags, $stream & 0x7fffffff, $bytes);
}

sub _take ($h2, $answer, $mine, $type, $flags, $stream, $bytes) {
    if ($type == $type{SETTINGS} && !($flags & $ack)) {
        $h2->{c}->write(_frame($type{SETTINGS}, $ack, 0, ''));
    } elsif ($type == $type{PING} && !($flags & $ack)) {
        $h2->{c}->write(_frame($type{PING}, $ack, 0, $bytes));
    } elsif ($type == $type{GOAWAY}) {
        $h2->{gone} = 1;
        my ($last) = unpack 'N', $bytes;
        # Beyond the last stream nothing was done: it may be asked again.
        @$answer{qw(done error)} = (1, 'refused') if $last < $mine;
    } elsif ($stream == $mine) {
        $h2->_answer($answer, $type, $flags, $bytes);
    }
}

sub _answer ($h2, $answer, $type, $flags, $bytes) {
    if ($type == $type{RST_STREAM}) {
        @$answer{qw(done error)} = (1, 'reset: ' . unpack 'N', $bytes);
        return;
    }
    if ($type == $type{HEADERS}) {
        $answer->{status} ||= _status($bytes);
    } elsif ($type == $type{DATA}) {
        $answer->{body} .= $bytes;
        $h2->{c}->write(_frame($type{WINDOW_UPDATE}, 0, 0,
            pack 'N', length $bytes)) if length $bytes;
    }
    $answer->{done} = 1 if $flags & $end_stream;
}

# Servers put the status first, behind changes of the table's size.
sub _status ($block) {
    $block =~ s/^[\x20-\x3f]+//;
    my $first = ord $block;
    return $first & 0x80 ? $status{ $first & 0x7f } // 0 : 0;
}

1;
