#!/usr/bin/perl

# nginx's binary upgrade: two masters with an agent each, then one; and the
# way back.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Client;
use Ecert::Life;
use Ecert::Process;
use Ecert::Test;

plan skip_all => 'nginx alone has it' if !grep { $_ eq 'nginx' } servers();

my ($server, $store) = site_server('nginx');
$server->start;

subtest 'upgrade' => sub {
    my @old = $server->agents;
    my $before = serves($server);
    ok $server->upgrade, 'the old master leaves';
    one_pair($server, "the new master's agent alone", @old);
    is serves($server), $before, 'the same certificate';
    swaps($server, $store, 'a new one goes live');
    ok $server->reload, 'reload of the new master';
    one_pair($server, 'one agent');
    swaps($server, $store, 'and goes on so');
};

subtest 'roll-back' => sub {
    my @first = $server->agents;
    my $old = $server->upgrade_begin;
    my $new = $server->pid;
    my @workers = $server->workers;

    is scalar(() = $server->agents), 4, 'an agent for each master';
    swaps($server, $store, 'both bring a change to their workers');

    kill 'WINCH', $old;
    ok wait_for(sub { !workers_of($old) }, 15),
        "the old master's workers leave";
    is scalar(() = $server->agents), 4, 'its agent stays';
    my $leaf = pki->leaf(names => [$site]);
    $store->install($site, $leaf);
    is_served($server, $leaf, 'a change while it has no workers');

    kill 'HUP', $old;
    ok wait_for(sub { workers_of($old) == 2 }, 15),
        'the old master has workers again';
    kill 'QUIT', $new;
    ok wait_for(sub {
        !grep { Ecert::Process::alive($_) } $new, @workers;
    }, 15), 'the new one leaves';
    ok $server->adopt, 'the old master is back in its place';
    is $server->pid, $old, 'under its old pid';
    one_pair($server, 'one agent');
    is serves($server), $leaf->fingerprint, 'with the last certificate';
    swaps($server, $store, 'a new one goes live');
};

ok $server->stop, 'stops, and the agent with it';
done_testing;

# The new master is the old one's child, too.
sub workers_of ($master) {
    return grep { $server->is_worker($_) } Ecert::Process::children($master);
}
