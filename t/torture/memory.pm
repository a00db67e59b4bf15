package Ecert::Torture::Memory;

# Memory that is damaged or not to be had; descriptors that are used up.

use v5.36;

use List::Util qw(min);
use Time::HiRes ();

use Ecert::Client;
use Ecert::DCV;
use Ecert::Life qw($site guard_and_worker);
use Ecert::Live ();
use Ecert::Process;
use Ecert::Test;
use Ecert::Torture::Faulty;

my $calm = $Ecert::Torture::calm;

# src/ecert_snap.c: the slots behind the first page; generation (u64), id (32
# bytes), two records (u32 and 32 bytes each).
my ($slots_at, $slot_size) = (4096, 112);
my $buffer_size = 64 * 1024;

my @mpms = qw(apache-prefork apache-worker);

return [
    { name => 'damage', ci => 1, servers => \@mpms,
        run => sub ($t) { damage($t) },
        what => 'records in the shared memory are damaged' },
    { name => 'wrap', ci => 1, servers => \@mpms,
        run => sub ($t) { wrap($t) },
        what => "a site's generation runs over 2^64" },
    { name => 'no-memory', ci => 1, run => sub ($t) { no_memory($t) },
        what => 'each allocation of the callback in a worker fails' },
    { name => 'files-agent', ci => 1, run => sub ($t) { files_agent($t) },
        what => 'the agent may open no file (EMFILE)' },
    { name => 'files-worker', ci => 1, run => sub ($t) { files_worker($t) },
        what => 'workers may open no file (EMFILE)' },
];

# --- the snapshot, through the agent's own mapping

sub snapshot ($t) {
    my (undef, $worker) = guard_and_worker($t->server);
    my ($at) = (slurp("/proc/$worker/maps") // '')
        =~ /^([0-9a-f]+)-\S+ rw.*memfd:ecert-snapshot/m
        or die 'the agent has no snapshot';
    open my $memory, '+<:raw', "/proc/$worker/mem" or die "memory: $!";
    no warnings 'portable';
    return { memory => $memory, at => hex $at };
}

sub peek ($snap, $offset, $n) {
    sysseek $snap->{memory}, $snap->{at} + $offset, 0;
    sysread $snap->{memory}, my $bytes, $n or die "read memory: $!";
    return $bytes;
}

sub poke ($snap, $offset, $bytes) {
    sysseek $snap->{memory}, $snap->{at} + $offset, 0;
    syswrite($snap->{memory}, $bytes) == length $bytes
        or die "write memory: $!";
}

sub generation ($snap, $slot) {
    return unpack 'Q', peek($snap, $slots_at + $slot * $slot_size, 8);
}

sub set_generation ($snap, $slot, $generation) {
    poke($snap, $slots_at + $slot * $slot_size, pack 'Q', $generation);
}

# The slot whose number moves when the site is renewed.
sub slot_of ($t, $snap) {
    my @before = map { generation($snap, $_) } 0, 1;
    $t->renew('to find the slot');
    my @moved = grep { generation($snap, $_) != $before[$_] } 0, 1;
    is scalar @moved, 1, 'one slot moved';
    return $moved[0];
}

sub random_bytes ($n) { return join '', map { chr int rand 256 } 1 .. $n }

# Workers that have to read a damaged record go on with what they have.
sub damage ($t) {
    $t->begin;
    $t->warm;
    my $snap = snapshot($t);
    my $slot = slot_of($t, $snap);
    my ($sites) = unpack 'x12 L', peek($snap, 0, 16);
    my $buffers = $slots_at
        + 4096 * int(((2 * $sites + 2) * $slot_size + 4095) / 4096)
        + $slot * 2 * $buffer_size;

    for my $i (1 .. $t->times(8, 200)) {
        $t->server->mark;
        if ($i % 2) {
            # Somewhere in the bytes, of both records.
            poke($snap, $buffers + $_ * $buffer_size + int rand 300,
                random_bytes(20)) for 0, 1;
        } else {
            # The lengths and the hashes.
            poke($snap, $slots_at + $slot * $slot_size + 40, random_bytes(72));
        }
        set_generation($snap, $slot, generation($snap, $slot) + 1);
        # A worker may not have seen the last one yet.
        handshake($t->server->port, name => $site) for 1 .. 4;
        ok $t->serves($t->{good}{$calm}, $calm), "$i: the other site, too";
        my @told = Ecert::Live::complaints($t->server, $site);
        is_deeply [grep { !/: snapshot: .*\(.+\); ./ } @told], [],
            "$i: the reason, and what to do";
        cmp_ok scalar @told, '>=', 1, "$i: told";
        # And of the good one before, if it had not read that yet.
        cmp_ok scalar @told, '<=', 2 * $t->server->workers,
            "$i: once a worker and record";
        $t->renew("$i: the next certificate heals it");
    }
    $t->end(order => 0);
}

sub wrap ($t) {
    $t->begin;
    my $snap = snapshot($t);
    my $slot = slot_of($t, $snap);
    for my $i (1 .. $t->times(1, 3)) {
        # Of the same parity, so that it says the same buffer; not one from
        # before, which a worker may have slept through.
        my $before = 8 * ($i - 1);
        my $last = (~0 - 1 | generation($snap, $slot) & 1) - $before;
        set_generation($snap, $slot, $last);
        $t->stays("$i: near the end");
        $t->warm; # or one would sleep until the numbers from before are back
        $t->renew("$i: over the end, $_") for 1 .. $before + 4;
        my $now = generation($snap, $slot);
        ok $now > 0 && $now < 10, "$i: counted from the beginning"
            or diag $now;
    }
    $t->not_told('the end of numbers');
    $t->end;
}

# --- nothing to be had

# A handshake may fail for it, and the one before may be served once more; but
# never a mixture, and no worker may die.
sub no_memory ($t) {
    my $faulty = Ecert::Torture::Faulty->new
        or $t->cannot('no compiler');
    $t->cannot('a sanitizer has its own malloc')
        if ($ENV{ECERT_TEST_PRELOAD} // '') =~ /san/;
    my %environment = $faulty->environment;
    local @ENV{keys %environment} = values %environment;
    $t->begin(load => 0);
    # The first handshakes of a worker do much that later ones do not.
    $t->warm;
    $faulty->set(most => 0);
    $t->renew('at first');
    my $most = $faulty->get('most');
    cmp_ok $most, '>', 10, "a callback allocates ($most times)";
    $t->load;

    my @points = $ENV{ECERT_TORTURE_ALL} ? 1 .. $most
        : map { 1 + int $_ * ($most - 1) / 16 } 0 .. 16;
    for my $nth (@points) {
        my $leaf = $t->install;
        $faulty->set(nth => $nth);
        handshake($t->server->port, name => $_) for ($site, $calm) x 3;
        $faulty->set(nth => 0);
        $t->goes_live($leaf, "allocation $nth: then served", $site,
            'recovered');
    }
    my $failed = $faulty->get('failed');
    cmp_ok $failed, '>', @points / 2, "so many allocations failed: $failed";
    # Which worker takes a connection is the system's choice.
    ok wait_for(sub {
        handshake($t->server->port, name => $site) for 1 .. 4;
        return (Ecert::Life::status($t->server))[0] == 0;
    }), 'no worker goes without it in the end';
    $t->end(failed => $failed, order => 0);
}

sub limit ($pid, $files) {
    # As its own user, which needs no right; the hard limit stays.
    my ($uid) = Ecert::Process::uids($pid);
    my ($gid) = (slurp("/proc/$pid/status") // '') =~ /^Gid:\s+(\d+)/m;
    my ($status, $out) = run('setpriv', "--reuid=$uid", "--regid=$gid",
        '--clear-groups', 'prlimit', '--pid', $pid, "--nofile=$files:");
    is $status, 0, "$pid: at most $files files" or diag $out;
}

# With no descriptor at all, and with one: a folder can be listed then, but no
# file in it be read.
sub files_agent ($t) {
    $t->begin(vhosts => [{ names => [$site], listen => 'http' }]);
    $t->store->put_token($site, 'fileauth.txt', 'good');
    ok wait_for(sub { token($t) eq 'good' }), 'a validation file is answered';
    for my $i (1 .. $t->times(2, 10)) {
        my (undef, $worker) = guard_and_worker($t->server);
        $t->server->mark;
        limit($worker, $i % 2 ? 3 : one_free($worker));
        my $good = $t->{good}{$site};
        my $leaf = $t->install;
        $t->store->put_token($site, "more$i.txt", 'more');
        ok $t->server->wait_log(qr/site \Q$site\E: [a-z-]+: .*; ./, 15),
            "$i: told";
        ok $t->serves($good), "$i: what was served stays";
        is token($t), 'good', "$i: so does the validation file";
        my @told = Ecert::Live::complaints($t->server, $site);
        is scalar @told, 1, "$i: in one line" or diag join "\n", @told;
        limit($worker, 1024);
        $t->goes_live($leaf, "$i: files again", $site, 'recovered');
        ok wait_for(sub { token($t, "more$i.txt") eq 'more' }),
            "$i: and the new validation file";
    }
    $t->renew('all works');
    $t->end;
}

# The limit that leaves one number when the process is at rest.
sub one_free ($pid) {
    my @first;
    for (1 .. 20) {
        my %open = Ecert::Process::descriptors($pid);
        push @first, (grep { !exists $open{$_} } 0 .. keys %open)[0];
        Time::HiRes::sleep(0.01);
    }
    return 1 + min @first;
}

sub token ($t, $file = 'fileauth.txt') {
    return get($t->server->port('http'), $site, "$prefix/$file")->{body} // '';
}

sub files_worker ($t) {
    $t->begin(load => 0);
    $t->load;
    Time::HiRes::sleep(0.5);
    my @workers = $t->server->workers;
    limit($_, 3) for @workers;
    my $leaf = $t->install;
    ok $t->server->wait_log(qr/\b24\b.*Too many open files/),
        'there are none left';
    Time::HiRes::sleep($t->times(1, 4));
    # A child of httpd that cannot accept leaves, and another one comes.
    limit($_, 1024) for grep { Ecert::Process::alive($_) } @workers;
    $t->goes_live($leaf, 'files again', $site, 'recovered');
    $t->renew('all works');
    # New connections are the server's business.
    $t->end(failed => 200, workers => $t->kind eq 'nginx');
}
