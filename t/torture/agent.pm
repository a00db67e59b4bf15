package Ecert::Torture::Agent;

# The agent is killed, stopped, starved, and kept busy.

use v5.36;

use Errno ();
use Time::HiRes ();

use Ecert::Life qw($site pki guard_and_worker one_pair);
use Ecert::Test;
use Ecert::Torture::Faulty;

my $calm = $Ecert::Torture::calm;
my @mpms = qw(apache-prefork apache-worker);

return [
    { name => 'agent-killed', ci => 1, servers => \@mpms,
        run => sub ($t) { agent_killed($t) },
        what => 'guard and agent killed, in turn, 1,000 times' },
    { name => 'agent-stopped', servers => \@mpms,
        run => sub ($t) { agent_stopped($t) },
        what => 'the agent stands still for two minutes' },
    { name => 'crash-loop', ci => 1, servers => \@mpms,
        run => sub ($t) { crash_loop($t) },
        what => 'a file that the agent dies of' },
    { name => 'fork-refused', ci => 1, servers => \@mpms,
        run => sub ($t) { fork_refused($t) },
        what => 'the agent is killed, and there is no new process' },
    { name => 'many-swaps', ci => 1, run => sub ($t) { many_swaps($t) },
        what => '64,000 swaps: descriptors, maps and memory stay flat' },
];

sub agent_killed ($t) {
    $t->begin;
    for my $i (1 .. $t->times(20, 500)) {
        my ($guard, $worker) = guard_and_worker($t->server);
        # A guard's death is answered at once, and its successor has patience
        # anew: with an agent's death alone the pauses would grow to 30 s.
        kill 'KILL', $guard;
        my $took = took(sub { is_pair($t, $guard) }, 15);
        $t->figure('guard', $took);
        defined $took or return fail "$i: no new guard";
        (undef, $worker) = guard_and_worker($t->server);
        my $leaf = $i % 5 ? undef : $t->install;
        kill 'KILL', $worker;
        $took = took(sub { is_pair($t, $worker) }, 15);
        $t->figure('agent', $took);
        defined $took or return fail "$i: no new agent";
        $t->goes_live($leaf, "$i: swapped", $site, 'recovered') if $leaf;
    }
    $t->renew('the last one works');
    $t->end;
}

# Two processes, none of them this one.
sub is_pair ($t, $not) {
    my ($guard, $worker) = guard_and_worker($t->server);
    return $guard && $worker && $guard != $not && $worker != $not
        && $t->server->agents == 2;
}

sub agent_stopped ($t) {
    $t->begin;
    my @agents = $t->server->agents;
    kill 'STOP', @agents;
    my $good = $t->{good}{$site};
    my $leaf = $t->install;
    Time::HiRes::sleep($t->times(2, 120));
    ok $t->serves($good), 'stopped: the last one is served';
    kill 'CONT', @agents;
    $t->goes_live($leaf, 'it catches up', $site, 'recovered');
    is_deeply [sort $t->server->agents], [sort @agents], 'the same processes';
    $t->end;
}

# Each return of the agent reads the file again, and dies again.
sub crash_loop ($t) {
    my $faulty = Ecert::Torture::Faulty->new
        or $t->cannot('no compiler');
    my $dir = tmp() . "/$t->{name}-crash";
    my $host = 'poison.example.hk';
    mkdir $dir;
    my $put = sub ($leaf) {
        $leaf->key_file("$dir/key.pem");
        $leaf->file("$dir/poison.pem");
    };
    $put->($t->{good}{$host} = $t->leaf($host));
    $t->begin(agent => $faulty->agent, vhosts => [{ names => [$host],
        directives => { ecert_certificate => "$dir/poison.pem",
            ecert_certificate_key => "$dir/key.pem" } }]);

    my $died = qr/process \d+ was killed by signal 6/;
    my $deaths = sub { return scalar(() = $t->server->log =~ /$died/g) };
    my $most = $t->times(4, 8);
    $faulty->set(poison => 1);
    my $new = $t->leaf($host);
    $put->($new);
    ok wait_for(sub { $deaths->() >= $most }, 120), "it dies $most times";
    ok $t->serves($t->{good}{$_}, $_), "$_: served" for $site, $calm, $host;
    my $leaf = $t->install;
    $faulty->set(poison => 0);
    # Its guard waits longer after each death, up to 30 seconds.
    $t->goes_live($leaf, 'the file is harmless again', $site, 'recovered',
        $t->times($Ecert::Torture::soon, $Ecert::Torture::polled));
    $t->goes_live($new, 'and is served', $host, 'recovered');
    cmp_ok $deaths->(), '<=', $most + 1, 'it does not die any more';
    $t->end;
}

sub fork_refused ($t) {
    my $faulty = Ecert::Torture::Faulty->new
        or $t->cannot('no compiler');
    $t->begin(agent => $faulty->agent);
    my ($guard, $worker) = guard_and_worker($t->server);

    $faulty->set(fork => Errno::EAGAIN());
    kill 'KILL', $worker;
    ok $t->server->wait_log(qr/agent: .*\(fork: .*; ./, 15),
        'no agent to be had: told';
    my $good = $t->{good}{$site};
    my $leaf = $t->install;
    ok $t->serves($good), 'without an agent the last one is served';
    $faulty->set(fork => 0);
    $t->goes_live($leaf, 'there are processes again', $site, 'recovered');

    ($guard, $worker) = guard_and_worker($t->server);
    $faulty->set(fork => Errno::EAGAIN());
    $t->server->mark;
    kill 'KILL', $guard;
    ok $t->server->wait_log(qr/fork/, 15), 'no guard to be had: told';
    $t->renew('the agent works without');
    $faulty->set(fork => 0);
    one_pair($t->server, 'and has a guard again', $guard);
    $t->renew('all works');
    $t->end;
}

# The same few certificates in turn, through files outside of the store.
sub many_swaps ($t) {
    my $dir = tmp() . "/$t->{name}-many";
    my $host = 'many.example.hk';
    mkdir $dir;
    my @leaves = map { pki->leaf(names => [$host]) } 1 .. 8;
    my $swap = sub ($leaf) {
        for (['key', $leaf->key_pem], ['cert', $leaf->pem]) {
            open my $out, '>', "$dir/$_->[0].new" or die "$dir: $!";
            print $out $_->[1];
            close $out;
            rename "$dir/$_->[0].new", "$dir/$_->[0].pem";
        }
        return took(sub { $t->serves($leaf, $host) }, 15);
    };
    $leaves[0]->file("$dir/cert.pem");
    $leaves[0]->key_file("$dir/key.pem");
    $t->begin(vhosts => [{ names => [$host], directives => {
        ecert_certificate => "$dir/cert.pem",
        ecert_certificate_key => "$dir/key.pem" } }]);

    my $n = $ENV{ECERT_RENEWALS} || $t->times(150, 64_000);
    my (%before, $late);
    for my $i (1 .. $n) {
        my $took = $swap->($leaves[$i % @leaves]);
        defined $took or $late = $i, last;
        $t->figure('swap', $took);
        %before = sizes($t) if $i == 50;
    }
    is $late, undef, "$n swaps, each was served";
    my %after = sizes($t);
    for my $pid (sort keys %before) {
        my ($old, $new) = ($before{$pid}, $after{$pid} // next);
        is $new->{maps}, $old->{maps}, "$pid: as many maps";
        my $grown = $new->{rss} - $old->{rss};
        my $allowed = 1024 * ($n < 1000 ? 4 : $n / 1000 + 4);
        # Sanitizers keep what was freed.
        cmp_ok $grown, '<', $allowed, "$pid: memory has not grown"
            if !$ENV{ECERT_TEST_PRELOAD};
        $t->figure('grown', $grown, 'KiB');
    }
    $t->end;
}

sub sizes ($t) {
    return map {
        my $pid = $_;
        my ($rss) = (slurp("/proc/$pid/status") // '') =~ /^VmRSS:\s+(\d+)/m;
        my @maps = grep { m{ /} } split /\n/, slurp("/proc/$pid/maps") // '';
        $pid => { rss => $rss, maps => scalar @maps };
    } $t->server->workers, $t->server->agents;
}
