#!/usr/bin/perl

# What remains: nothing after a stop, nothing of ours when the server is
# killed, and no more descriptors or maps after many reloads.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;

use Ecert::Life;
use Ecert::Process;
use Ecert::Server;
use Ecert::Test;

for my $kind (servers()) {
    subtest $kind => sub {
        # Many ports, so that their numbers reach beyond the agent's own.
        my ($server, $store) = site_server($kind, vhosts => [{
            names => [$site], ecert => 'on',
            listen => ['https', map { "https$_" } 2 .. 8],
        }]);
        $server->start;

        reloads($server, $store);
        replaced($server, $store);
        stopped($server, $store, $kind eq 'nginx' ? 'QUIT' : 'WINCH');
        stopped($server->start, $store, 'TERM');
        killed($server->start, $store);
        elsewhere($kind, $store);
    };
}
done_testing;

# What master and agent hold when nothing moves: a reload still under way, or
# an agent that reads, would hold something else for a moment.
sub held_at_rest ($server) {
    my ($last, $same) = ('', 0);
    wait_for(sub {
        my @pids = ($server->pid, sort { $a <=> $b } $server->agents);
        my $now = join '; ', map { held($_) } @pids;
        my $whole = 3 == (() = $now =~ / 3 maps/g);
        $same = $whole && $now eq $last ? $same + 1 : 0;
        $last = $now;
        return $same >= 10;
    }, 15);
    return $last;
}

sub held ($pid) {
    my %fd = Ecert::Process::descriptors($pid);
    my @maps = grep { /memfd/ } split /\n/, slurp("/proc/$pid/maps") // '';
    return scalar(keys %fd) . ' descriptors, ' . @maps . ' maps';
}

sub reloads ($server, $store) {
    # The first reload opens what then stays (httpd's own).
    $server->reload for 1 .. 2;
    my $before = held_at_rest($server);
    for (1 .. 5) {
        $server->reload;
        one_pair($server, 'one agent');
    }
    is held_at_rest($server), $before,
        'after five more reloads master and agent hold as much as before';
    is scalar(() = glob $store->dir . '/run/*'), 1, 'one socket';
    swaps($server, $store, 'all works');
}

# The folder of its socket is replaced under it: told, and mended with the next
# look.
sub replaced ($server, $store) {
    my $run = $store->dir . '/run';

    $server->mark;
    my $n = 0; # the agent may be quicker
    ok wait_for(sub {
        rename $run, "$run.old" . $n++;
        return eval { $store->write('run', 'no folder') };
    }), 'a file in its place';
    swaps($server, $store, 'without a socket it goes on');
    ok $server->wait_log(qr{/run: .*ecert status does not see this server}),
        'which is told';
    unlink $run;
    File::Path::remove_tree(glob "$run.old*");
    swaps($server, $store, 'the place is free again');
    ok wait_for(sub { (status($server))[0] == 0 }), 'and it is asked there';
}

# In a folder of its own, where a read-only store has no place for it.
sub elsewhere ($kind, $store) {
    my $run = tmp() . "/run-$kind";
    my ($server) = site_server($kind, store => $store,
        conf => { ecert_run => $run });

    $server->start;
    is scalar(() = glob "$run/*.sock"), 1, 'ecert_run: the socket is there';
    is_deeply [$store->in_run], [], 'not in the store';
    my ($exit, $said) = status($server, '--run', $run);
    is $exit, 0, 'status --run' or diag $said;
    is +(status($server))[0], 1, 'without it there is no server';
    local $ENV{ECERT_RUN} = $run;
    is +(status($server))[0], 0, 'ECERT_RUN';
    ok $server->stop, 'stops';
    is_deeply [glob "$run/* $run/.[0-9]*"], [], 'nothing is left';
}

# Processes that have this server's log open or our memory mapped.
sub remaining ($server, @known) {
    opendir my $dir, '/proc' or die "/proc: $!";
    my %known = map { $_ => 1 } @known;
    return grep {
        my %fd = Ecert::Process::descriptors($_);
        ($known{$_} || grep { ($_ // '') eq $server->error_log } values %fd)
            && Ecert::Process::alive($_);
    } grep { /^\d+$/ } readdir $dir;
}

sub ports_are_free ($server) {
    return !grep {
        !IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $_,
            Listen => 1, ReuseAddr => 1)
    } values %{ $server->{ports} };
}

sub stopped ($server, $store, $signal) {
    my @all = ($server->pid, $server->workers, $server->agents);

    ok $server->stop($signal), "$signal: stops, and the agent with it";
    ok wait_for(sub { !remaining($server, @all) }, 15), 'no process';
    is_deeply [$store->in_run], [], 'no socket';
    ok ports_are_free($server), 'the ports are free';
}

# The servers' workers would keep their ports; the agent never has them.
sub killed ($server, $store) {
    my @agents = $server->agents;
    my @all = ($server->pid, $server->workers, @agents);

    for my $pid (@agents) {
        my %fd = Ecert::Process::descriptors($pid);
        is listening(values %fd), 0, "agent $pid listens nowhere";
    }
    kill 'KILL', $server->pid, $server->workers;
    my $took = took(sub { ports_are_free($server) });
    ok defined $took && $took < patience(1), 'killed: the ports are free at once'
        or diag $took // 'never';
    ok wait_for(sub { !remaining($server, @all) }, 15), 'no process';
    is_deeply [$store->in_run], [], 'no socket';
}

# How many of these are sockets that listen for TCP.
sub listening (@targets) {
    my %inode = map { ($_ // '') =~ /^socket:\[(\d+)\]$/ ? ($1 => 1) : () }
        @targets;
    my @tcp = map { split /\n/, slurp("/proc/net/$_") // '' } qw(tcp tcp6);
    return scalar grep {
        my @field = split;
        ($field[3] // '') eq '0A' && $inode{ $field[9] // '' };
    } @tcp;
}
