#!/usr/bin/perl

# Processes that are killed: the agent's two bring each other back, a worker's
# successor serves what is current, and with the master the agent goes.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Client;
use Ecert::Life;
use Ecert::Process;
use Ecert::Server;
use Ecert::Test;

for my $kind (servers()) {
    subtest $kind => sub {
        my ($server, $store) = site_server($kind);
        $server->start;

        web_worker($server, $store);
        agents_worker($server, $store);
        guard($server, $store);
        both($server, $store);
        master($server, $store);
    };
}
done_testing;

sub web_worker ($server, $store) {
    my @old = $server->workers;

    swaps($server, $store, 'a certificate that no start has seen');
    my $now = serves($server);
    kill 'KILL', @old;
    ok wait_for(sub {
        my %now = map { $_ => 1 } $server->workers;
        return $server->is_staffed && !grep { $now{$_} } @old;
    }, 15), 'killed workers are replaced';
    is serves($server), $now, 'the new ones serve what is current';
    swaps($server, $store, 'and what comes');
}

sub agents_worker ($server, $store) {
    my ($guard, $worker) = guard_and_worker($server);
    my $before = serves($server);

    $server->mark;
    kill 'KILL', $worker;
    is serves($server), $before, 'without an agent the last one is served';
    one_pair($server, "the agent's worker comes back", $worker);
    is +(guard_and_worker($server))[0], $guard, 'under the same guard';
    ok $server->wait_log(qr/process $worker was killed by signal 9/),
        'which is in the log';
    is serves($server), $before, 'still the same';
    swaps($server, $store, 'it works');
    my $again = (guard_and_worker($server))[1];
    my @sockets = glob $store->dir . '/run/*';
    is @sockets, 1, 'with the only socket';
    like $sockets[0], qr{/run/$again-[0-9a-f]{8}\.sock$}, 'its own';
    like +(status($server, '--json'))[1], qr/"restarts": 1\b/,
        'status counts it';
}

sub guard ($server, $store) {
    my ($guard, $worker) = guard_and_worker($server);
    my $before = serves($server);

    kill 'KILL', $guard;
    one_pair($server, 'the guard is replaced', $guard);
    is serves($server), $before, 'the same certificate';
    swaps($server, $store, 'a new one goes live');

    ($guard, $worker) = guard_and_worker($server);
    kill 'KILL', $worker;
    one_pair($server, 'the new guard does its work', $worker);
    swaps($server, $store, 'a new one goes live');
}

sub both ($server, $store) {
    my @both = $server->agents;
    my $before = serves($server);

    # Stopped first, so that neither can bring the other back in between.
    kill 'STOP', @both;
    kill 'KILL', @both;
    no_agents($server, 'both killed at once');
    is serves($server), $before, 'workers serve the last generation';
    kill 'KILL', $server->workers;
    ok wait_for(sub { $server->is_staffed && serves($server) eq $before }, 15),
        'and so do new workers';

    my ($exit, $said) = status($server);
    is $exit, 1, 'status fails';
    like $said, qr/it was killed and did not return/, 'and says why';
    like $said, qr/no server answers, so this is what it holds/,
        'and what the rest is';

    ok $server->reload, 'reload';
    one_pair($server, 'brings a new agent', @both);
    swaps($server, $store, 'that works');
}

# The stock servers' workers outlive their master; the agent does not.
sub master ($server, $store) {
    my @workers = $server->workers;
    my @agents = $server->agents;

    kill 'KILL', $server->pid;
    my $took = took(sub {
        !grep { Ecert::Process::alive($_) } $server->pid, @agents;
    });
    ok defined $took, 'master killed: the agent goes';
    cmp_ok $took, '<', patience(3), 'at once' if defined $took;
    is_deeply [$store->in_run], [], 'and its socket with it';
    kill 'KILL', @workers;
    ok wait_for(sub {
        !grep { Ecert::Process::alive($_) } @workers;
    }, 15), 'nothing is left';
}
