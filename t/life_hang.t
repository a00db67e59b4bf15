#!/usr/bin/perl

# An agent that never becomes ready, or cannot be run any more: the server
# starts all the same and says so, and no reload takes away what is served.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Life;
use Ecert::Process;
use Ecert::Server;
use Ecert::Test;

for my $kind (servers()) {
    subtest $kind => sub {
        my $store = store_with($site);
        hangs($kind, $store) if $kind eq (servers())[0];
        broken_later($kind, $store);
    };
}
done_testing;

sub script ($store, $name, $text) {
    return $store->put(tmp() . "/$name", "#!/bin/sh\n$text\n", 0755);
}

sub hangs ($kind, $store) {
    my $pids = tmp() . "/$kind.pids";
    my ($server) = site_server($kind, store => $store,
        agent => script($store, "$kind-hangs", "echo \$\$ >> $pids\n"
            . 'exec sleep 300'));
    my $took = took(sub { $server->try_start }, 0);

    ok defined $took, 'starts with an agent that hangs';
    cmp_ok $took, '>', 5, 'after some patience' if defined $took;
    cmp_ok $took, '<', patience(25), 'that ends' if defined $took;
    ok $server->wait_log(qr/gave no sign for 10 seconds; placeholders are/),
        'and says so';
    is serves($server), 'placeholder', 'serves the placeholder';

    $server->write_config(agent => "$server->{build}/ecert");
    ok $server->reload, 'reload with one that works';
    like serves($server), qr/^[0-9A-F]{64}$/, 'serves the certificate';
    ok $server->stop, 'stops';
    kill 'KILL', grep { Ecert::Process::alive($_) }
        split /\n/, slurp($pids) // '';
}

# The executable is taken away, then comes back broken, then in order.
sub broken_later ($kind, $store) {
    my $path = script($store, "$kind-agent",
        'exec ' . build_dir() . '/ecert "$@"');
    my ($server) = site_server($kind, store => $store, agent => $path);

    $server->start;
    swaps($server, $store, 'starts with an agent that works');
    my $good = serves($server);
    my $text = slurp($path);

    unlink $path;
    reloads($server, $good, 'the executable is gone');
    script($store, "$kind-agent", 'exit 3');
    reloads($server, $good, 'it ends at once');
    script($store, "$kind-agent", 'kill -SEGV $$');
    reloads($server, $good, 'it crashes');
    script($store, "$kind-agent", 'cat <&8 >/dev/null; exec 4>&-; exit 0');
    reloads($server, $good, 'it says nothing and leaves');

    $store->put($path, $text, 0755);
    ok $server->reload, 'the executable is back: reload';
    one_pair($server, 'one agent');
    swaps($server, $store, 'that works');
    ok $server->stop, 'stops, and the agent with it';
}

sub reloads ($server, $good, $what) {
    $server->mark;
    $server->signal($server->reload_signal);
    ok $server->wait_log(qr/agent: \S+-agent: /, 15), "$what: told";
    ok wait_for(sub { $server->alive && $server->is_staffed }, 15),
        "$what: the server goes on";
    is_deeply [map { serves($server) } 1 .. 6], [($good) x 6],
        "$what: the certificate stays served";
}
