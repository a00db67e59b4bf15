#!/usr/bin/perl

# Reload and graceful: one agent afterwards, which was ready before the old
# one left; sites come and go; many reloads in a row; Apache's hard restart.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Client;
use Ecert::Life;
use Ecert::Process;
use Ecert::Server;
use Ecert::Test;
use Time::HiRes ();

my $second = 'second.example.hk';

for my $kind (servers()) {
    subtest $kind => sub {
        my ($server, $store) = site_server($kind,
            store => store_with($site, $second));
        $server->start;

        once($server, $store);
        sites($server, $store);
        keeps_what_is_served($server, $store);
        many($server, $store);
        hard_restart($server, $store) if $kind eq 'apache';
        ok $server->stop, 'stops, and the agent with it';
    };
    subtest "$kind, mod_cgid" => sub { mod_cgid() } if $kind eq 'apache';
}
done_testing;

sub once ($server, $store) {
    my @old = $server->agents;
    my $before = serves($server);
    my $fewest = @old;

    $server->mark;
    $server->signal($server->reload_signal);
    wait_for(sub {
        my @now = $server->agents;
        $fewest = @now if @now < $fewest;
        my %now = map { $_ => 1 } @now;
        return @now == 2 && !grep { $now{$_} } @old;
    }, 15);
    one_pair($server, 'a new agent in place of the old one', @old);
    cmp_ok $fewest, '>=', 2, 'the new one was there before the old one left'
        if $server->kind eq 'nginx';
    is serves($server), $before, 'the same certificate';
    swaps($server, $store, 'a new one goes live');
    unlike $server->log, qr/\[(?:error|crit|alert|emerg)\]|:error\]/,
        'nothing to complain about';
}

# A site that comes has its certificate from the first handshake on.
sub sites ($server, $store) {
    my @vhosts = @{ $server->{vhosts} };

    $server->write_config(vhosts => [@vhosts,
        { names => [$second], listen => 'https', ecert => 'on' }]);
    ok $server->reload, 'a site is added';
    like serves($server, $second), qr/^[0-9A-F]{64}$/, 'and served';
    one_pair($server, 'one agent');
    swaps($server, $store, 'the new site changes', $second);
    swaps($server, $store, 'and so does the other');

    $server->write_config(vhosts => [{ names => [$second],
        listen => 'https', ecert => 'on' }]);
    ok $server->reload, 'the first site is removed';
    one_pair($server, 'one agent');
    swaps($server, $store, 'the one that stays changes', $second);

    $server->write_config(vhosts => [{ names => ['none.example.hk'],
        listen => 'https', cert => pki->leaf(names => ['none.example.hk']) }]);
    ok $server->reload, 'no site of ours is left';
    unlike serves($server, 'none.example.hk'), qr/^(?:placeholder)?$/,
        "the server's own goes on";

    $server->write_config(vhosts => \@vhosts);
    ok $server->reload, 'ours are back';
    one_pair($server, 'one agent');
    swaps($server, $store, 'and live');
}

# What broke since the last load does not take away what is served.
sub keeps_what_is_served ($server, $store) {
    my $good = serves($server);

    $server->mark;
    $store->install($site, pki->leaf(names => [$site]),
        key => pki->leaf(names => [$site]), generation => 900);
    ok $server->wait_log(qr/site \Q$site\E: key-mismatch: /, 15),
        'a pair that does not match is refused';
    ok $server->reload, 'reload';
    is serves($server), $good, 'the good one is still served';
    swaps($server, $store, 'until there is a better one');
}

sub many ($server, $store) {
    my $good = serves($server);
    my %served;

    for (1 .. 10) {
        $server->signal($server->reload_signal);
        $served{ serves($server) }++ for 1 .. 3;
        Time::HiRes::sleep(0.02);
    }
    is_deeply [keys %served], [$good], 'ten reloads: never another answer';
    ok wait_for(sub { $server->is_staffed && $server->agents == 2 }, 15),
        'they end';
    one_pair($server, 'with one agent');
    swaps($server, $store, 'that works');
}

sub hard_restart ($server, $store) {
    my @old = $server->agents;

    $server->signal('HUP');
    one_pair($server, 'restart: a new agent', @old);
    ok wait_for(sub { $server->is_staffed && $server->listens }, 15),
        'and workers';
    swaps($server, $store, 'it works');
}

# The daemon that mod_cgid forks is a child of the server, but no worker: it
# holds nothing of ours, neither old keys nor the pipe that the agent lives by.
sub mod_cgid () {
    my ($server) = site_server('apache', main => { apache =>
        'LoadModule cgid_module /usr/lib/apache2/modules/mod_cgid.so' . "\n"
        . 'ScriptSock ' . tmp() . '/cgid.sock' });
    $server->start;
    holds_nothing(daemon_of($server), 'its daemon');
    ok $server->reload, 'graceful';
    holds_nothing(my $daemon = daemon_of($server), 'the next one');
    kill 'KILL', $daemon;
    holds_nothing(daemon_of($server, $daemon), 'one that was brought back');

    my @children = Ecert::Process::children($server->pid);
    $server->signal('KILL');
    no_agents($server, 'the server is killed: the agent does not outlive it');
    kill 'KILL', @children;
}

# The child with one thread, not that of before.
sub daemon_of ($server, $before = 0) {
    my @found;
    wait_for(sub {
        @found = grep { $_ != $before && 1 == (() = glob "/proc/$_/task/*") }
            Ecert::Process::children($server->pid);
        return $server->is_staffed && @found == 1;
    }, 15);
    return $found[0];
}

sub holds_nothing ($pid, $what) {
    my @ours;
    wait_for(sub {
        my %open = Ecert::Process::descriptors($pid);
        @ours = grep { /memfd:ecert/ } values %open;
        return !@ours;
    }, 5);
    is_deeply \@ours, [], "$what has no memory of ours open";
}
