#!/usr/bin/perl

# The fetcher: who it is, what it does not have, and when it ends.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Life;
use Ecert::PKI;
use Ecert::Process;
use Ecert::Server;
use Ecert::Store;
use Ecert::Test;
use Ecert::Web;

for my $kind (servers()) {
    subtest $kind => sub { who($kind) };
    subtest "$kind, killed" => sub { killed($kind) };
    subtest "$kind, reload, agent killed, server killed" => sub { life($kind) };
    subtest "$kind, off and -t" => sub { off($kind) };
}
done_testing;

# The fetchers of this server: children of their keepers that name themselves
# so.
sub fetchers ($server) {
    return grep { Ecert::Process::comm($_) eq 'ecert-fetcher' }
        map { Ecert::Process::children($_) } $server->keepers;
}

sub server ($kind, %o) {
    return site_server($kind, conf => { ecert_fetch => ['on',
        'allow=127.0.0.0/8'] }, %o);
}

sub who ($kind) {
    my $leaf = pki->leaf(names => [$site], key => 'RSA-2048');
    my $store = Ecert::Store->new->add_issuers(pki->sub, pki->cross);
    $store->install($site, $leaf);
    my ($server) = server($kind, store => $store);
    $server->start;
    is_served($server, $leaf, 'served');
    my ($pid) = my @all = fetchers($server);
    is @all, 1, 'there is one' or return;
    my $nobody = getpwnam 'nobody';
    is_deeply [Ecert::Process::uids($pid)], [($nobody) x 4],
        'another user, in every respect';
    my $status = slurp("/proc/$pid/status");
    like $status, qr/^Groups:\s*$/m, 'no groups';
    like $status, qr/^Cap$_:\s0+$/m, "no capabilities: Cap$_"
        for qw(Inh Prm Eff Amb);
    like $status, qr/^NoNewPrivs:\s1$/m, 'and no new ones';
    my %fd = Ecert::Process::descriptors($pid);
    is_deeply [sort grep { $_ ne '/dev/null' && !/^socket:/ } values %fd], [],
        'no file is open';
    is scalar(grep { /^socket:/ } values %fd), 1, 'one socket';
    is readlink "/proc/$pid/cwd", '/', 'no folder';
    unlike slurp("/proc/$pid/maps"), qr/ecert-snapshot/,
        'the snapshot is not mapped';
    my @primes = primes($leaf);
    is holds($pid, @primes), 0, 'no key in its memory';
    is holds(($server->workers)[0], @primes), 1,
        'where a worker has it (the search can find it)';
    keeper($server, @primes);
}

# Root's, to make processes of another user, and nothing else.
sub keeper ($server, @primes) {
    my ($pid) = my @all = $server->keepers;
    is @all, 1, 'one keeper' or return;
    my $status = slurp("/proc/$pid/status");
    my $rights = sprintf '%016x', 1 << 6 | 1 << 7; # CAP_SETGID, CAP_SETUID
    like $status, qr/^Cap$_:\s$rights$/m, "the keeper's capabilities: Cap$_"
        for qw(Prm Eff);
    like $status, qr/^NoNewPrivs:\s1$/m, 'and no new ones';
    my %fd = Ecert::Process::descriptors($pid);
    is_deeply [sort keys %fd], [0 .. 3], 'the log and one socket';
    unlike slurp("/proc/$pid/maps"), qr/ecert-snapshot/,
        'the snapshot is not mapped';
    is holds($pid, @primes), 0, 'no key in its memory';
}

# Both primes as they stand in memory: big-endian in DER, and little-endian as
# OpenSSL computes with them.
sub primes ($leaf) {
    my $file = $leaf->key_file(tmp() . '/prime.key');
    my (undef, $text) = run('openssl', 'rsa', '-in', $file, '-noout', '-text');
    unlink $file;
    my @primes = map { s/[^0-9a-f]//gr =~ s/^00//r }
        $text =~ /^prime[12]:\n((?: +[0-9a-f:]+\n)+)/mg;
    @primes == 2 or die "no primes: $text";
    my @bytes = map { pack 'H*', $_ } @primes;
    return map { substr($_, 0, 64), substr(scalar reverse($_), 0, 64) } @bytes;
}

sub holds ($pid, @needles) {
    no warnings 'portable'; # addresses have 64 bits
    open my $maps, '<', "/proc/$pid/maps" or die "maps: $!";
    open my $mem, '<:raw', "/proc/$pid/mem" or die "mem: $!";
    while (my $line = readline $maps) {
        my ($from, $to) = $line =~ /^([0-9a-f]+)-([0-9a-f]+) r/ or next;
        next if $line =~ /\[v/;
        my $bytes = '';
        my $len = hex($to) - hex($from);
        next if $len > 256 * 1024 * 1024;
        sysseek $mem, hex $from, 0 or next;
        my $got = 0;
        while ($got < $len) {
            my $n = sysread $mem, $bytes, $len - $got, $got;
            last if !$n;
            $got += $n;
        }
        return 1 if grep { index($bytes, $_) >= 0 } @needles;
    }
    return 0;
}

# The fetcher comes back by itself; without its keeper it cannot.
sub killed ($kind) {
    my ($server, $store) = server($kind);
    $server->start;
    my ($pid) = fetchers($server);
    ok $pid, 'there is one' or return;
    $server->mark;
    kill 'KILL', $pid;
    my $line = $server->wait_log(qr/fetcher: process $pid was killed/) // '';
    like $line, qr/warn.* by signal 9; a new one is started in 100 ms/,
        'its end is told';
    ok wait_for(sub { my @now = fetchers($server); @now && $now[0] != $pid }),
        'there is a new one';
    swaps($server, $store, 'serving and swapping go on');
    unlike $server->log, qr/the fetcher has ended/, 'the agent misses nothing';
    downloads($kind, $server);

    my ($second) = fetchers($server);
    kill 'KILL', $server->keepers;
    ok wait_for(sub { !$server->keepers }), 'the keeper is killed, too';
    ok Ecert::Process::alive($second), 'the fetcher does without it';
    kill 'KILL', $second;
    $line = $server->wait_log(qr/ecert.*the fetcher has ended/) // '';
    like $line, qr/error.*reload the server/, 'its end is told, with a remedy';
    swaps($server, $store, 'serving and swapping go on');
    is scalar(() = $server->log =~ /the fetcher has ended/g), 1, 'told once';
    my ($guard, $worker) = guard_and_worker($server);
    my $before = cpu($worker);
    select undef, undef, undef, 1;
    cmp_ok cpu($worker) - $before, '<', 10, 'no busy loop';
    $server->reload;
    ok wait_for(sub { fetchers($server) == 1 }), 'a reload brings a new one';
}

# The new fetcher does what the old one did.
sub downloads ($kind, $server) {
    my $web = Ecert::Web->new(answer => sub (@) { Ecert::Web::status(404) });
    my $leaf = pki->leaf(names => [$site], extensions => [
        Net::SSLeay::NID_info_access() => 'OCSP;URI:' . $web->url("/$kind")]);
    $server->{store}->install($site, $leaf);
    is_served($server, $leaf, 'a certificate with a responder');
    ok wait_for(sub { $web->requests("/$kind") }), 'which is asked';
    $web->stop;
}

# In ticks.
sub cpu ($pid) {
    my @stat = split ' ', (slurp("/proc/$pid/stat") // '') =~ s/^.*\) //sr;
    return $stat[11] + $stat[12];
}

sub life ($kind) {
    my ($server, $store) = server($kind);
    $server->start;
    my ($first) = fetchers($server);
    my ($guard, $worker) = guard_and_worker($server);
    kill 'KILL', $worker;
    one_pair($server, 'the agent is back', $worker);
    is_deeply [fetchers($server)], [$first], 'with the same fetcher';
    kill 'KILL', (guard_and_worker($server))[0];
    one_pair($server, 'a new guard', $guard);
    ok Ecert::Process::alive($first), 'the fetcher goes on';

    $server->reload;
    ok wait_for(sub { !Ecert::Process::alive($first) }),
        'a reload takes the old one along';
    my ($second) = wait_for(sub { (fetchers($server))[0] });
    ok $second, 'and brings a new one';
    my @workers = $server->workers;
    kill 'KILL', $server->pid;
    ok wait_for(sub { !Ecert::Process::alive($second) }, 3),
        'it ends with a killed server';
    ok wait_for(sub { !$server->keepers }, 3), 'and so does its keeper';
    kill 'KILL', @workers;
    no_agents($server, 'as do the agents');
}

sub off ($kind) {
    my ($server) = server($kind, conf => { ecert_fetch => 'off' });
    $server->start;
    is_deeply [fetchers($server)], [], 'off: there is none';
    $server->write_config(conf => { ecert_fetch => 'on' });
    my ($status) = $server->configtest;
    is $status, 0, 'the test of the configuration';
    is_deeply [fetchers($server)], [], 'starts none';
}
