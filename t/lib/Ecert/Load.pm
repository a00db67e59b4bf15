package Ecert::Load;

# Clients that work until they are told to stop, and then report:
#
#   my $load = Ecert::Load->new($port, name => 'www.example.hk');
#   ... swap certificates ...
#   my $report = $load->stop;
#
# clients: how many of each kind, { full => 2, resume => 1, keepalive => 1 }.
# full: a new handshake and a request, again and again; resume: each handshake
# offers the session before; keepalive: one connection, many requests; h2: the
# same over HTTP/2.  renew: seconds after which keepalive and h2 take a new
# connection.  pause: seconds between two requests of a client.  reloads: the
# server may close a connection that waits for its next request, and httpd
# closes one of HTTP/2 that waits for its first, too (also without our module);
# then it is no failure that this request gets no answer.
#
# The report: handshakes, handshakes_failed, resumed, requests, reconnects
# (keep-alive connections that the server ended), failed (of both), failures
# ([what happened]), certificates ({ "leaf,chain..." => how often }, full
# handshakes only), timeline ([begin, end, "leaf,chain..."] of each of these),
# longest (the longest handshake in seconds).

use v5.36;

use JSON::PP ();
use POSIX ();
use Time::HiRes ();

use Ecert::Connection;
use Ecert::H2;
use Ecert::Test ();

my $failures_kept = 20;
my @counts =
    qw(handshakes handshakes_failed resumed requests reconnects failed);

sub new ($class, $port, %o) {
    my $clients = delete $o{clients}
        // { full => 2, resume => 1, keepalive => 1 };
    my $load = bless { port => $port, o => \%o, children => [] }, $class;
    for my $kind (sort keys %$clients) {
        $load->_fork($kind) for 1 .. $clients->{$kind};
    }
    return $load;
}

sub _fork ($load, $kind) {
    # The signal to stop is only looked for, so that it interrupts nothing.
    my $usr1 = POSIX::SigSet->new(POSIX::SIGUSR1());
    my $before = POSIX::SigSet->new;
    POSIX::sigprocmask(POSIX::SIG_BLOCK(), $usr1, $before);
    pipe my $in, my $out or die "pipe: $!";
    my $parent = $$;
    my $pid = fork // die "fork: $!";
    if ($pid) {
        POSIX::sigprocmask(POSIX::SIG_SETMASK(), $before);
        push @{ $load->{children} }, { pid => $pid, in => $in };
        return;
    }
    close $in;
    my $report = _work($load->{port}, $kind, %{ $load->{o} }, stop => sub {
        my $pending = POSIX::SigSet->new;
        POSIX::sigpending($pending);
        return $pending->ismember(POSIX::SIGUSR1()) || getppid != $parent;
    });
    print $out JSON::PP::encode_json($report);
    close $out;
    POSIX::_exit(0);
}

# Ends the clients and adds up what they say.
sub stop ($load) {
    my $sum = _empty();

    kill 'USR1', map { $_->{pid} } @{ $load->{children} };
    for my $child (splice @{ $load->{children} }) {
        local $/;
        my $text = readline $child->{in};
        waitpid $child->{pid}, 0;
        my $part = Ecert::Test::quietly(
            sub { JSON::PP::decode_json($text // '') })
            // { failed => 1, failures => ["client $child->{pid} died"] };
        $sum->{$_} += $part->{$_} // 0 for @counts;
        $sum->{certificates}{$_} += $part->{certificates}{$_}
            for keys %{ $part->{certificates} };
        push @{ $sum->{$_} }, @{ $part->{$_} // [] } for qw(failures timeline);
        $sum->{longest} = $part->{longest}
            if ($part->{longest} // 0) > $sum->{longest};
    }
    return $sum;
}

sub DESTROY ($load) {
    kill 'KILL', map { $_->{pid} } @{ $load->{children} };
}

sub _empty {
    return { map({ $_ => 0 } @counts), longest => 0, certificates => {},
        failures => [], timeline => [] };
}

sub _work ($port, $kind, %o) {
    my $report = _empty();
    my $ctx = Ecert::Connection::context(%o,
        $kind eq 'h2' ? (alpn => ['h2']) : ());
    my ($connection, $session, $since);

    until ($o{stop}->()) {
        Time::HiRes::sleep($o{pause}) if $o{pause};
        if (!$connection) {
            $since = Time::HiRes::time();
            $connection = Ecert::Connection->new($port, %o, tls => 1,
                ctx => $ctx, session => $kind eq 'resume' ? $session : undef);
            _count($report, $connection, $since, $kind);
        }
        my $again = !$connection->error
            && _request($report, $connection, $kind, %o);
        $session = $connection->session
            if $kind eq 'resume' && !$connection->error;
        $again = 0 if $o{renew} && Time::HiRes::time() > $since + $o{renew};
        if (!$again) {
            $connection->close;
            undef $connection;
        }
    }
    return $report;
}

sub _count ($report, $connection, $begin, $kind) {
    my $end = Time::HiRes::time();
    $report->{handshakes}++;
    if ($connection->error) {
        $report->{handshakes_failed}++;
        return _fail($report, "$kind: " . $connection->error);
    }
    $report->{longest} = $end - $begin if $end - $begin > $report->{longest};
    return _fail($report, "$kind: no HTTP/2")
        if $kind eq 'h2' && $connection->protocol ne 'h2';
    if ($connection->resumed) {
        $report->{resumed}++;
        return;
    }
    my %facts = $connection->facts;
    my $line = join ',', $facts{fingerprint}, @{ $facts{chain} };
    $report->{certificates}{$line}++;
    push @{ $report->{timeline} }, [$begin, $end, $line];
}

# 1 when the connection is to be used again.
sub _request ($report, $connection, $kind, %o) {
    return _request_h2($report, $connection, %o) if $kind eq 'h2';
    my $keep = $kind eq 'keepalive';
    my $response = $connection->exchange('GET', join "\r\n",
        'GET ' . ($o{path} // '/') . ' HTTP/1.1',
        'Host: ' . ($o{name} // 'localhost'),
        $keep ? () : 'Connection: close', '', '');

    $report->{requests}++;
    if ($response->{status} != ($o{status} // 200)) {
        return _reconnect($report) if $o{reloads}
            && $connection->{used} && !length($response->{rest} // '');
        _fail($report, "$kind: status $response->{status} $response->{error}");
        return 0;
    }
    return 0 if !$keep;
    $connection->{used} = 1;
    return 1 if ($response->{headers}{connection} // '') !~ /close/i;
    return _reconnect($report);
}

sub _reconnect ($report) {
    $report->{reconnects}++;
    return 0;
}

sub _request_h2 ($report, $connection, %o) {
    my $h2 = $connection->{h2} //= Ecert::H2->new($connection);
    my $response = $h2->get($o{name} // 'localhost', $o{path} // '/');

    $report->{requests}++;
    if ($response->{status} == ($o{status} // 200)) {
        $connection->{used} = 1;
        return 1 if !$h2->is_gone;
    } elsif (!_is_sent_away($h2, $response)
        && !($o{reloads} && !$response->{status})) {
        _fail($report, "h2: status $response->{status} $response->{error}");
        return 0;
    }
    return _reconnect($report);
}

# GOAWAY came before the request did.
sub _is_sent_away ($h2, $response) {
    return $h2->is_gone && $response->{error} eq 'refused';
}

sub _fail ($report, $what) {
    $report->{failed}++;
    push @{ $report->{failures} },
        sprintf '%s (%.3f)', $what, Time::HiRes::time()
        if @{ $report->{failures} } < $failures_kept;
}

1;
