package Ecert::Torture;

# One fault, one server, under load; t/torture/*.pm has the cases, and
# Ecert::Torture::Cases the list of them.
#
#   my $t = Ecert::Torture->new($case, 'nginx');
#   $t->begin;                          # server, two sites, load on both
#   $t->fault(...); $t->renew; ...
#   $t->end;                            # the invariants
#
# The invariants: every handshake got a leaf with its own chain, one that was
# installed by then, and never an older one after a newer one; no handshake and
# no request failed; the other site ("calm") was not touched; in the end all is
# as before: the same workers, two processes of the agent, as many descriptors,
# nothing else in the store, and after a stop no process, socket or port.

use v5.36;

use File::Find ();
use IO::Socket::INET;
use List::Util qw(max);
use Time::HiRes ();

use Ecert::Client;
use Ecert::Life qw($site pki);
use Ecert::Live ();
use Ecert::Load;
use Ecert::Process;
use Ecert::Server;
use Ecert::Store;
use Ecert::Test;

our $calm = 'calm.example.hk';

# Seconds until a change is live: who is told of it, on a busy machine; who
# looks every 30 seconds.
our ($soon, $polled) = (10, 45);

my %load = (clients => { full => 1, resume => 1, keepalive => 1 },
    pause => 0.05, renew => 2);

# What a server's name says besides nginx or apache.
my %ways = (event => {}, single => { single => 1, workers => 1 },
    foreground => { foreground => 1 }, worker => { mpm => 'worker' },
    prefork => { mpm => 'prefork', workers => 8 });

# case: see Ecert::Torture::Cases.  server: nginx, apache, nginx-single,
# apache-prefork and so on.
sub new ($class, $case, $server) {
    my ($kind, $way) = split /-/, $server;
    return bless { case => $case, name => $server, kind => $kind,
        way => $ways{ $way // 'event' }, figures => {}, lines => {},
        order => {}, next => 0, remarks => [] }, $class;
}

sub kind ($t) { return $t->{kind} }
sub server ($t) { return $t->{server} }
sub store ($t) { return $t->{store} }
sub figures ($t) { return $t->{figures} }
sub remarks ($t) { return @{ $t->{remarks} } }
sub skipped ($t) { return $t->{skipped} }

# How often: few in continuous integration, else many.
sub times ($t, $few, $many) {
    return $ENV{ECERT_TORTURE_ALL} ? $many : $few;
}

# The worst of what was measured: seconds, or what unit says.
sub figure ($t, $name, $value, $unit = 's') {
    my $old = $t->{figures}{$name};
    $t->{figures}{$name} = [$value, $unit]
        if defined $value && (!$old || $old->[0] < $value);
}

# What else the table says about this case here.
sub remark ($t, $what) {
    note $what;
    push @{ $t->{remarks} }, $what;
}

# It cannot be tried here, for this reason; before anything was.
sub cannot ($t, $why) {
    $t->{skipped} = $why;
    die "skipped: $why\n";
}

# --- beginning

# Starts a server with the sites www.example.hk and calm.example.hk, and load.
# Options are those of Ecert::Server, besides sites (more of them, by name),
# load => 0 (none) or { what Ecert::Load takes }, unstarted.
sub begin ($t, %o) {
    my @sites = @{ delete $o{sites} // [] };
    my $load = delete $o{load} // {};
    my $unstarted = delete $o{unstarted};
    my $more = delete $o{vhosts} // [];
    my $store = $t->{store} //= Ecert::Store->new
        ->add_issuers(pki->sub, pki->ev, pki->cross);

    $t->install($_) for $site, $calm, @sites;
    $t->{server} = Ecert::Server->new($t->{kind}, store => $store,
        %{ $t->{way} }, %o, vhosts => [
            map({ +{ names => [$_], ecert => 'on' } } $site, $calm, @sites),
            @$more ]);
    return $t if $unstarted;
    $t->{server}->start;
    return $t->started($load);
}

# A server that has come up: what it is like now is what it has to be like in
# the end.
sub started ($t, $load = {}) {
    my $server = $t->{server};
    served($server->port, $_) for ($site, $calm) x 4;
    $t->{workers} = [sort $server->workers];
    $t->{held} = $t->_held;
    $t->load(%$load) if $load;
    return $t;
}

# Until each worker has what is published, also to fall back to.  In prefork
# there are more of them, and others each second.
sub warm ($t) {
    my $n = ($t->{server}{mpm} // '') eq 'prefork' ? 20 : 4;
    for my $name ($site, $calm) {
        ok wait_for(sub {
            handshake($t->{server}->port, name => $name) for 1 .. $n;
            my $now = Ecert::Live::status_of($t->{server}, $name);
            return @{ $now->{workers} // [] }
                && !grep { $_->{serves} != $now->{published} }
                    @{ $now->{workers} };
        }), "each worker has served $name";
    }
}

# Clients of the two sites; those that speak HTTP/2 are counted by themselves.
sub load ($t, %o) {
    my @each = ($t->{server}->port, %load, %o);
    my $h2 = ($t->{server}{mpm} // '') ne 'prefork' && !$t->{server}{single};
    $t->{load} = {
        $site => { rest => Ecert::Load->new(@each, name => $site) },
        $calm => { rest => Ecert::Load->new(@each, name => $calm,
            clients => { full => 1 }) },
    };
    $t->{load}{$site}{h2} = Ecert::Load->new(@each, name => $site,
        clients => { h2 => 1 }) if $h2;
}

# --- certificates

# A new certificate; from now on it may be served.  Kinds of keys and issuers
# alternate, so that a mixture would be seen.
sub leaf ($t, $name = $site, %o) {
    state %n;
    my $n = $n{$name}++;
    my $leaf = pki->leaf(names => [$name],
        issuer => $n % 2 ? pki->ev : pki->sub,
        key => $n % 3 ? 'P-256' : 'P-384', %o);
    $t->allow($leaf, $name);
    return $leaf;
}

# This leaf with its chain may be served from now on; also one from before.
sub allow ($t, $leaf, $name = $site, $line = line($leaf)) {
    push @{ $t->{order}{$name}{$line} }, [$t->{next}++, Time::HiRes::time()];
}

# Also without the cross-certificate, without being newer for it.
sub allow_short ($t, $leaf, $name = $site) {
    $t->{order}{$name}{ line($leaf) =~ s/,[^,]+$//r }
        = $t->{order}{$name}{ line($leaf) };
}

sub line ($leaf) {
    return join ',', map { $_->fingerprint } $leaf, $leaf->issued_by,
        pki->cross;
}

# Puts a new certificate into the store; returns it.
sub install ($t, $name = $site, %o) {
    my $leaf = $t->leaf($name, %o);
    $t->{store}->install($name, $leaf);
    $t->{good}{$name} = $leaf;
    return $leaf;
}

# The same, and waits until it is served.  Returns it.
sub renew ($t, $what = 'a renewal is served', $name = $site, %o) {
    my $leaf = $t->install($name, %o);
    $t->goes_live($leaf, $what, $name);
    return $leaf;
}

sub goes_live ($t, $leaf, $what, $name = $site, $figure = 'swap',
    $deadline = $soon) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $took = took(sub { $t->serves($leaf, $name) }, $deadline);
    $t->{good}{$name} = $leaf;
    $t->figure($figure, $took);
    return ok defined $took, $what;
}

sub serves ($t, $leaf, $name = $site) {
    return Ecert::Life::serves($t->{server}, $name) eq $leaf->fingerprint;
}

# What was good before is what is served.
sub stays ($t, $what, $name = $site) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return ok $t->serves($t->{good}{$name}, $name),
        "$what: what was served stays";
}

# One line about the site with this reason and file, and a remedy; no other.
sub told ($t, $reason, $file, $what, $name = $site) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    Ecert::Live::told($t->{server}, $name, $reason, $file, "$what: told");
    my @lines = Ecert::Live::complaints($t->{server}, $name);
    is scalar @lines, 1, "$what: in one line" or diag join "\n", @lines;
}

sub not_told ($t, $what, $name = $site) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my @lines = Ecert::Live::complaints($t->{server}, $name);
    is_deeply \@lines, [], "$what: nothing to complain about";
}

# --- the end

# With workers => 0 they may be others than before; descriptors => 0: those
# that the agent has are not counted; in_order => 0: ecert status may find
# something; failed: so many handshakes or requests may have failed (lost with
# a process that was killed); slack: seconds in which an older certificate may
# still be seen beside a newer one (two configurations at once; order => 0:
# always); stopped: the server was ended by the case.
sub end ($t, %o) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $loads = delete $t->{load} // {};
    for my $name (sort keys %$loads) {
        my %report = map { $_ => $loads->{$name}{$_}->stop }
            keys %{ $loads->{$name} };
        $t->_did_all($name, %report);
        $t->_judge($name, _sum(values %report), %o);
    }
    return if $o{stopped};
    $t->_at_rest(%o);
    $t->_stops;
}

# Each kind of client had something to do.
sub _did_all ($t, $name, %report) {
    cmp_ok $report{rest}{handshakes}, '>', 0, "$name: there was load";
    cmp_ok $report{rest}{resumed}, '>', 0, "$name: with resumed handshakes"
        if $name ne $calm;
    cmp_ok $report{h2}{requests}, '>', 0, "$name: and HTTP/2" if $report{h2};
}

sub _sum ($sum, @more) {
    for my $report (@more) {
        $sum->{$_} += $report->{$_}
            for qw(handshakes resumed requests reconnects failed);
        push @{ $sum->{$_} }, @{ $report->{$_} } for qw(failures timeline);
        $sum->{longest} = max $sum->{longest}, $report->{longest};
    }
    return $sum;
}

sub _judge ($t, $name, $report, %o) {
    my $allowed = $o{failed} // 0;
    cmp_ok $report->{failed}, '<=', $allowed,
        "$name: no handshake and no request failed"
        . ($allowed ? " beyond $allowed" : '')
        or diag join "\n", @{ $report->{failures} };
    $t->figure('lost', $report->{failed}, '') if $report->{failed};
    $t->figure('handshake', $report->{longest});
    $t->{handshakes} += $report->{handshakes};
    note "$name: ", join ', ', map { "$_ $report->{$_}" }
        qw(handshakes resumed requests reconnects);
    my $slack = $o{order} // 1 ? $o{slack} // 0 : 1e9;
    my @wrong = $t->_wrong($name, $slack, @{ $report->{timeline} });
    splice @wrong, 5;
    is_deeply \@wrong, [],
        "$name: each got a published certificate with its chain, in order";
}

# What was served that should not have been.
sub _wrong ($t, $name, $slack, @timeline) {
    my (@wrong, @seen);
    for my $shake (@timeline) {
        my ($begin, $end, $line) = @$shake;
        my @at = grep { $_->[1] <= $end } @{ $t->{order}{$name}{$line} // [] };
        push @wrong, 'not published: ' . _short($line) if !@at;
        push @seen, [$begin, $end, max(map { $_->[0] } @at)] if @at;
    }
    # In order of their ends; an older one must have begun before that.
    my @ended = sort { $a->[1] <=> $b->[1] } @seen;
    my ($newest, $i) = (-1, 0);
    for my $shake (sort { $a->[0] <=> $b->[0] } @seen) {
        while ($i < @ended && $ended[$i][1] + $slack < $shake->[0]) {
            $newest = max $newest, $ended[$i++][2];
        }
        push @wrong, sprintf 'number %d after %d was seen, at %.3f',
            $shake->[2], $newest, $shake->[0] if $shake->[2] < $newest;
    }
    return @wrong;
}

sub _short ($line) { return join ',', map { substr $_, 0, 8 } split /,/, $line }

# Descriptors by process, and what lies in the store that nobody put there.
sub _held ($t) {
    my %held;
    for my $pid ($t->{server}->agents, $t->{server}->workers) {
        my %fd = Ecert::Process::descriptors($pid);
        $held{$pid} = keys %fd;
    }
    return \%held;
}

sub _at_rest ($t, %o) {
    my $server = $t->{server};
    ok wait_for(sub { $server->agents == 2 }, 40), 'one agent, two processes'
        or diag join ' ', $server->agents;
    is_deeply [sort $server->workers], $t->{workers}, 'the same workers'
        if $o{workers} // 1;
    my ($more, @strays);
    ok wait_for(sub { !($more = $t->_more(%o)) }, 20),
        'no more descriptors than before' or diag $more;
    # Except what is just being written.
    wait_for(sub { !(@strays = $t->_strays) }, 5);
    is_deeply \@strays, [], 'nothing strange in the store';
    is +(Ecert::Life::status($server))[0], 0, 'ecert status: all in order'
        or diag +(Ecert::Life::status($server))[1] if $o{in_order} // 1;
}

# One of the workers may not have been ready when they were counted; the one
# that answered was.  Agents that were brought back are compared with the ones
# before them.
sub _more ($t, %o) {
    my $now = $t->_held;
    my $most = max map { $t->{held}{$_} // 0 } @{ $t->{workers} };
    my @before = sort { $a <=> $b } map { $t->{held}{$_} }
        grep { my $pid = $_; !grep { $_ == $pid } @{ $t->{workers} } }
        keys %{ $t->{held} };
    my @agents = sort { $a <=> $b } map { $now->{$_} } $t->{server}->agents;
    my @more = map { "worker $_: $most, now $now->{$_}" }
        grep { ($now->{$_} // 0) > $most } @{ $t->{workers} };
    push @more, "agent: @before, now @agents"
        if ($o{descriptors} // 1)
            && grep { ($agents[$_] // 0) > ($before[$_] // 0) } 0 .. $#agents;
    return join '; ', @more;
}

# Temporary files and folders that somebody forgot: any hidden one but those
# that belong there.
sub _strays ($t) {
    my @strays;
    File::Find::find({ no_chdir => 1, wanted => sub {
        return if !m{/(\.[^/]+)$} || $1 eq '.aside';
        return if m{^(.*/run/)\.([^/]+)\.lock$} && -S "$1$2.sock";
        push @strays, $_ if !m{/dcv/[^/]+/\.[^/]+\.(?:json|saved)$};
    } }, $t->{store}->dir);
    return @strays;
}

sub _stops ($t) {
    my $server = $t->{server};
    my @all = ($server->pid, $server->workers, $server->agents);
    ok $server->stop, 'stops, and the agent with it';
    ok wait_for(sub { !grep { Ecert::Process::alive($_) } @all }, 15),
        'no process is left';
    is_deeply [$t->{store}->in_run], [], 'no socket';
    ok wait_for(sub { !grep { !_is_free($_) } values %{ $server->{ports} } }),
        'the ports are free';
}

sub _is_free ($port) {
    return IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1,
        LocalPort => $port, ReuseAddr => 1);
}

1;
