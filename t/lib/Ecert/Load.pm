package Ecert::Load;

# Clients that work until they are told to stop, and then report:
#
#   my $load = Ecert::Load->new($port, name => 'www.example.hk');
#   ... swap certificates ...
#   my $report = $load->stop;
#
# clients: how many of each kind, { full => 2, resume => 1, keepalive => 1 }.
# full: a new handshake and a request, again and again; resume: each handshake
# offers the session before; keepalive: one connection, many requests.
#
# The report: handshakes, handshakes_failed, resumed, requests, reconnects
# (keep-alive connections that the server ended), failed (of both), failures
# ([what happened]), certificates ({ "leaf,chain..." => how often }, full
# handshakes only), longest (the longest handshake in seconds).

use v5.36;

use JSON::PP ();
use POSIX ();
use Time::HiRes ();

use Ecert::Connection;
use Ecert::Test ();

my $failures_kept = 20;

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
    my $sum = { handshakes => 0, handshakes_failed => 0, resumed => 0,
        requests => 0, reconnects => 0, longest => 0, certificates => {},
        failed => 0, failures => [] };

    kill 'USR1', map { $_->{pid} } @{ $load->{children} };
    for my $child (splice @{ $load->{children} }) {
        local $/;
        my $text = readline $child->{in};
        waitpid $child->{pid}, 0;
        my $part = Ecert::Test::quietly(
            sub { JSON::PP::decode_json($text // '') })
            // { failed => 1, failures => ["client $child->{pid} died"] };
        $sum->{$_} += $part->{$_} // 0
            for qw(handshakes handshakes_failed resumed requests reconnects
                failed);
        $sum->{certificates}{$_} += $part->{certificates}{$_}
            for keys %{ $part->{certificates} };
        push @{ $sum->{failures} }, @{ $part->{failures} };
        $sum->{longest} = $part->{longest}
            if ($part->{longest} // 0) > $sum->{longest};
    }
    return $sum;
}

sub DESTROY ($load) {
    kill 'KILL', map { $_->{pid} } @{ $load->{children} };
}

sub _work ($port, $kind, %o) {
    my $report = { handshakes => 0, resumed => 0, requests => 0,
        reconnects => 0, longest => 0, certificates => {}, failed => 0,
        failures => [] };
    my $ctx = Ecert::Connection::context(%o);
    my ($connection, $session);

    until ($o{stop}->()) {
        if (!$connection) {
            my $begin = Time::HiRes::time();
            $connection = Ecert::Connection->new($port, %o, tls => 1,
                ctx => $ctx, session => $kind eq 'resume' ? $session : undef);
            _count($report, $connection, Time::HiRes::time() - $begin, $kind);
        }
        my $again = !$connection->error
            && _request($report, $connection, $kind, %o);
        $session = $connection->session
            if $kind eq 'resume' && !$connection->error;
        if (!$again) {
            $connection->close;
            undef $connection;
        }
    }
    return $report;
}

sub _count ($report, $connection, $seconds, $kind) {
    $report->{handshakes}++;
    if ($connection->error) {
        $report->{handshakes_failed}++;
        return _fail($report, "$kind: " . $connection->error);
    }
    $report->{longest} = $seconds if $seconds > $report->{longest};
    if ($connection->resumed) {
        $report->{resumed}++;
    } else {
        my %facts = $connection->facts;
        $report->{certificates}{
            join ',', $facts{fingerprint}, @{ $facts{chain} } }++;
    }
}

# 1 when the connection is to be used again.
sub _request ($report, $connection, $kind, %o) {
    my $keep = $kind eq 'keepalive';
    my $response = $connection->exchange('GET', join "\r\n",
        'GET ' . ($o{path} // '/') . ' HTTP/1.1',
        'Host: ' . ($o{name} // 'localhost'),
        $keep ? () : 'Connection: close', '', '');

    $report->{requests}++;
    if ($response->{status} != ($o{status} // 200)) {
        _fail($report, "$kind: status $response->{status} $response->{error}");
        return 0;
    }
    return 0 if !$keep;
    return 1 if ($response->{headers}{connection} // '') !~ /close/i;
    $report->{reconnects}++;
    return 0;
}

sub _fail ($report, $what) {
    $report->{failed}++;
    push @{ $report->{failures} }, $what
        if @{ $report->{failures} } < $failures_kept;
}

1;
