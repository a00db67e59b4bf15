#!/usr/bin/perl

# Everything under one ordinary user: no root anywhere.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Client;
use Ecert::Command;
use Ecert::DCV;
use Ecert::Life;
use Ecert::Process;
use Ecert::Server;
use Ecert::Test;

my $user = 'nobody';

for my $kind (servers()) {
    subtest $kind => sub {
        my ($server, $store) = site_server($kind, user => $user, vhosts => [
            { names => [$site], ecert => 'on' },
            { names => [$site], listen => 'http',
                nginx => 'return 301 https://$host$request_uri;',
                apache => "Redirect permanent / https://$site/" },
        ]);
        # Its folder, so that it has its owner before the agent looks.
        $store->put_token($site, 'earlier.txt', 'earlier');
        $server->start;

        users($server);
        works($server, $store);
        says($server, $store);
        roots_commands($store);
        ok $server->stop, 'stops, and the agent with it';
        is_deeply [$store->in_run], [], 'nothing is left';
        by_group($server, $store, (getpwnam $user)[3], 'its own group');
        by_group($server, $store, 0, "root's group");
        from_image($server, $store);
        read_only($server, $store);
    };
}
done_testing;

sub users ($server) {
    my $want = getpwnam $user;
    for my $pid ($server->pid, $server->workers, $server->agents) {
        is +(Ecert::Process::uids($pid))[1], $want, "process $pid: its user";
    }
    for my $pid ($server->agents) {
        like slurp("/proc/$pid/status"), qr/^NoNewPrivs:\s*1$/m,
            "agent $pid: no new privileges";
        is +(stat "/proc/$pid/environ")[4], 0,
            'closed to other processes of its user';
    }
}

sub works ($server, $store) {
    like serves($server), qr/^[0-9A-F]{64}$/, 'serves the certificate';
    swaps($server, $store, 'a new one goes live');

    $store->put_token($site, 'fileauth.txt', "code\n");
    ok wait_for(sub {
        get($server->port('http'), $site, "$prefix/fileauth.txt")->{status}
            == 200;
    }), 'a validation file is answered';
    answered(get($server->port('http'), $site, "$prefix/fileauth.txt"),
        "code\n", 'as it should be');

    my @old = $server->agents;
    ok $server->reload, 'reload';
    one_pair($server, 'one agent', @old);
    swaps($server, $store, 'it works');
    kill 'KILL', (guard_and_worker($server))[1] || die 'no agent';
    swaps($server, $store, "after the agent's worker was killed, too");
    one_pair($server, 'which came back');
}

# Root's files would be of no use to this server, and a path that root does not
# trust is not one that is not there.
sub roots_commands ($store) {
    my $before = of_root($store);
    my $owner = "$user, whom the store belongs to";
    my $sudo = "sudo -u $user ecert";
    my $dir = $store->dir;
    my $leaf = pki->leaf(names => [$site]);
    my $cert = $leaf->file(tmp() . '/roots.pem', $leaf->chain);
    my $key = $leaf->key_file(tmp() . '/roots.key');

    for (
        ['new', $site, '--org', 'X'], ['new', 'b.example.hk', '--org', 'X'],
        ['csr', $site], ['dcv', 'list'], ['dcv', 'add', $site, $cert],
        ['dcv', 'remove', $site], ['dcv', 'mail', $site],
        ['dcv', 'check', $site], ['install', $cert, $key],
        ['install', $site, $cert, $key], ['issuers', 'list'],
        ['issuers', 'add', $cert], ['issuers', 'update'],
        ['backup', $site, '-o', tmp() . '/roots.pfx'],
        ['rollback', $site], ['status'], ['status', $site], ['check'],
        ['check', $site], ['log'], ['calendar'], ['agent', '--foreground'],
    ) {
        my ($exit, $out) = ecert($store, @$_);
        is $exit, 1, "root calls @$_: refused";
        like $out, qr/unsafe-path: .*; call it as $owner: $sudo $_->[0]/,
            'who is to call it';
        like $out, qr/$sudo .* --store \Q$dir\E \.\.\./, 'and where';
        unlike $out, qr/no-site|missing|chown/, 'and nothing else';
    }
    is of_root($store), $before, 'nothing more is root\'s';
}

sub of_root ($store) {
    return (run('find', $store->dir, '-uid', 0))[1];
}

# An image gives its files to a user who is not the one it runs as.
sub from_image ($server, $store) {
    run('chown', '-R', '65533:0', $store->dir);
    run('chmod', '-R', 'g=u', $store->dir);
    $server->mark;
    $server->start;
    my $dir = $store->dir;
    ok $server->wait_log(
        qr/unsafe-path: .*; give the folder to root, .* write: chown root \Q$dir\E/),
        'an image: another user owns it, and the group may write';
    unlike $server->log, qr/correct ecert_store/, 'it is there, and is not missed';
    ok $server->stop, 'stops';
    run('chown', '-R', 'root', $store->dir);
    $server->start;
    like serves($server), qr/^[0-9A-F]{64}$/, 'the hint helps';
    ok $server->stop, 'stops';
}

# Nothing is to be made there: what is missing is for somebody else to make.
sub read_only ($server, $store) {
    run('rm', '-rf', map { $store->dir . "/$_" } qw(dcv run placeholder));
    run('chmod', '-R', 'a+rX,go-w', $store->dir);
    $server->mark;
    $server->start;
    like serves($server), qr/^[0-9A-F]{64}$/, 'may be read alone: served';
    unlike $server->log, qr/\b(?:warn|error)\].*ecert: .*make the folder/,
        'and asks for nothing';
    like $server->log, qr/ecert status does not see this server/,
        'but the place of its socket';
    ok $server->stop, 'stops';
}

# As in a pod: the folders are root's, and the group may write.
sub by_group ($server, $store, $gid, $what) {
    run('chown', '-R', "0:$gid", $store->dir);
    run('chmod', '-R', $gid ? 'g+rwX' : 'a+rX,g+w', $store->dir);
    $server->mark;
    $server->start;
    like serves($server), qr/^[0-9A-F]{64}$/, "$what may write: served";
    unlike $server->log, qr/unsafe-path/, 'without a word';
    ok $server->stop, 'stops';

    run('chgrp', '-R', (getgrnam 'daemon')[2], $store->dir);
    run('chmod', '-R', 'a+rX', $store->dir);
    $server->mark;
    $server->start;
    is serves($server), 'placeholder', 'another group may write: not served';
    ok $server->wait_log(qr/site \Q$site\E: unsafe-path: .* mode 0\d{3}.*; chmod/),
        'which is told';
    ok $server->stop, 'stops';
}

sub as_user (@command) {
    return run('setpriv', "--reuid=$user", '--regid=' . (getpwnam $user)[3],
        '--clear-groups', @command);
}

sub says ($server, $store) {
    my @bad = grep {
        / ecert: |\[ecert:/ && /\[(?:\w+:)?(?:warn|error|crit|alert|emerg)\]/
            && !/was killed by signal 9/;
    } split /\n/, $server->log(0);
    is "@bad", '', 'nothing else to complain about';

    my ($exit, $said) = as_user("$server->{build}/ecert", 'status', '--store',
        $store->dir);
    is $exit, 0, 'status' or diag $said;
    like $said, qr/^\Q@{[$server->kind eq 'nginx' ? 'nginx' : 'Apache']}\E/m,
        'from the server';
    my ($status, $out) = $server->configtest;
    is $status, 0, 'configtest' or diag $out;
}
