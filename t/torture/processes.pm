package Ecert::Torture::Processes;

# What becomes of processes while certificates are swapped.

use v5.36;

use Errno ();
use Time::HiRes ();

use Ecert::Life qw($site pki guard_and_worker one_pair no_agents status);
use Ecert::Live ();
use Ecert::PKI;
use Ecert::Process;
use Ecert::Test;
use Ecert::Torture::Faulty;

my $calm = $Ecert::Torture::calm;
my @mpms = qw(apache-prefork apache-worker);

return [
    { name => 'agent-killed', ci => 1, servers => \@mpms,
        run => sub ($t) { agent_killed($t) },
        what => 'guard and agent killed, in turn, 1,000 times' },
    { name => 'agent-stopped', ci => 1, run => sub ($t) { agent_stopped($t) },
        what => 'the agent stands still for a minute' },
    { name => 'crash-loop', ci => 1, run => sub ($t) { crash_loop($t) },
        what => 'a file that the agent dies of' },
    { name => 'fork-refused', ci => 1, run => sub ($t) { fork_refused($t) },
        what => 'the agent is killed, and there is no new process' },
    { name => 'worker-killed', ci => 1, servers => \@mpms,
        run => sub ($t) { worker_killed($t) },
        what => 'workers killed in the midst of swaps' },
    { name => 'reload-storm', ci => 1, servers => \@mpms,
        run => sub ($t) { reload_storm($t) },
        what => 'a reload each 100 ms while certificates are swapped' },
    { name => 'upgrade', ci => 1, only => ['nginx'],
        run => sub ($t) { upgrade($t) },
        what => 'binary upgrade and its rollback during swaps' },
    { name => 'configtest', ci => 1, run => sub ($t) { configtest($t) },
        what => 'tests of the configuration while it runs' },
    { name => 'bad-site', ci => 1, run => sub ($t) { bad_site($t) },
        what => 'a start with one bad site of 100' },
    { name => 'master-killed', ci => 1, servers => \@mpms,
        run => sub ($t) { master_killed($t) },
        what => 'the master is killed' },
    { name => 'modes-of-running', ci => 1,
        only => [qw(nginx-single nginx-foreground apache-single
            apache-foreground apache-prefork apache-worker)],
        run => sub ($t) { swaps($t) },
        what => 'one process, in the foreground, prefork, worker' },
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
    Time::HiRes::sleep($t->times(2, 60));
    ok $t->serves($good), 'stopped: the last one is served';
    kill 'CONT', @agents;
    $t->goes_live($leaf, 'it catches up', $site, 'recovered');
    is_deeply [sort $t->server->agents], [sort @agents], 'the same processes';
    $t->end;
}

# Each return of the agent reads the file again, and dies again.
sub crash_loop ($t) {
    my $faulty = Ecert::Torture::Faulty->new or return pass 'no compiler # SKIP';
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
    $t->goes_live($leaf, 'the file is harmless again', $site, 'recovered');
    $t->goes_live($new, 'and is served', $host, 'recovered');
    cmp_ok $deaths->(), '<=', $most + 1, 'it does not die any more';
    $t->end;
}

sub fork_refused ($t) {
    my $faulty = Ecert::Torture::Faulty->new or return pass 'no compiler # SKIP';
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

# What dies with a worker is its own connections.
sub worker_killed ($t) {
    my $rounds = $t->times(10, 100);
    $t->begin(load => { reloads => 1 });
    for my $i (1 .. $rounds) {
        my $leaf = $t->install;
        Time::HiRes::sleep(0.005 * ($i % 4));
        my ($victim) = $t->server->workers;
        kill 'KILL', $victim;
        my $took = took(sub { $t->server->is_staffed
            && !grep { $_ == $victim } $t->server->workers }, 20);
        $t->figure('new worker', $took);
        ok defined $took, "$i: there is a new worker" or last;
        $t->goes_live($leaf, "$i: served");
    }
    # Each kind of client may lose what it has in a killed worker.
    $t->end(workers => 0, failed => 5 * $rounds);
}

# Certificates are swapped at the same time; a look never finds fewer than one
# agent that is whole, once a reload is done.
sub reload_storm ($t) {
    $t->begin(load => { reloads => 1 });
    for my $i (1 .. $t->times(20, 300)) {
        $t->server->signal($t->server->reload_signal);
        $t->install if $i % 3 == 0;
        Time::HiRes::sleep(0.1);
    }
    my $leaf = $t->install;
    $t->goes_live($leaf, 'after all reloads', $site, 'recovered');
    ok wait_for(sub { $t->server->is_staffed && $t->server->agents == 2 }, 40),
        'one agent in the end';
    $t->renew('that works') for 1 .. 3;
    # The old configuration's workers end what they had begun.
    $t->end(workers => 0, slack => 3);
}

sub upgrade ($t) {
    $t->begin(load => { reloads => 1 });
    my $server = $t->server;
    for my $i (1 .. $t->times(1, 10)) {
        my $old = $server->upgrade_begin;
        my $new = $server->{pid};
        $t->renew("$i: two masters");
        # The way back: the old one is told to go on alone.
        kill 'WINCH', $old;
        $t->renew("$i: the old one's workers leave");
        kill 'HUP', $old;
        kill 'QUIT', $new;
        ok wait_for(sub { !Ecert::Process::alive($new) }, 20),
            "$i: rolled back";
        $server->{pid} = $old;
        ok wait_for(sub { $server->is_staffed && $server->agents == 2 }, 20),
            "$i: one agent";
        $t->renew("$i: after the rollback");
        ok $server->upgrade, "$i: upgraded";
        $t->renew("$i: after the upgrade");
    }
    $t->end(workers => 0, slack => 3);
}

sub configtest ($t) {
    $t->begin;
    for my $i (1 .. $t->times(3, 30)) {
        my $leaf = $t->install;
        my ($status, $out) = $t->server->configtest;
        is $status, 0, "$i: the test passes" or diag $out;
        $t->goes_live($leaf, "$i: swapped meanwhile");
    }
    $t->end;
}

sub bad_site ($t) {
    my $n = $t->times(30, 100);
    my @names = map { "n$_.example.hk" } 1 .. $n - 1;
    my $bad = "bad.example.hk";
    $t->begin(sites => [@names, $bad], unstarted => 1);
    my $file = $t->store->site_dir($bad) . '/current/certificate.pem';
    $t->store->write($file, "-----BEGIN CERTIFICATE-----\nMIIB\n", 0644);
    $t->figure('started', took(sub { $t->server->try_start }, 0));
    $t->_loaded({});
    Ecert::Live::told($t->server, $bad, 'truncated', $file, 'the bad one: told');
    is Ecert::Life::serves($t->server, $bad), 'placeholder',
        'it has a placeholder';
    is scalar(grep { !$t->serves($t->{good}{$_}, $_) } @names), 0,
        'all others are served';
    my $leaf = $t->install($bad);
    $t->goes_live($leaf, 'repaired', $bad, 'recovered');
    $t->renew;
    $t->end;
}

# The servers' own workers go on without their master: with what they have.
sub master_killed ($t) {
    for my $i (1 .. $t->times(1, 10)) {
        $t->{server} ? $t->server->start : $t->begin;
        $t->load if $i > 1;
        $t->renew("$i: at first");
        my @all = ($t->server->pid, $t->server->workers, $t->server->agents);
        my @agents = $t->server->agents;
        kill 'KILL', $t->server->pid;
        my $took = took(sub { !grep { Ecert::Process::alive($_) } @agents });
        ok defined $took, "$i: the agent goes with the master";
        $t->figure('agent gone', $took);
        ok $t->serves($t->{good}{$site}), "$i: workers go on";
        $t->end(stopped => 1);
        kill 'KILL', grep { Ecert::Process::alive($_) } @all;
        ok wait_for(sub { !grep { Ecert::Process::alive($_) } @all }),
            "$i: no process is left";
        is_deeply [glob $t->store->dir . '/run/*'], [], "$i: no socket";
    }
    $t->server->start;
    ok $t->serves($t->{good}{$site}), 'started again: the same certificate';
    $t->renew('that works');
    $t->{held} = undef;
    $t->end;
}

sub swaps ($t) {
    $t->begin;
    $t->renew("renewal $_") for 1 .. $t->times(8, 100);
    is_deeply [Ecert::Live::complaints($t->server, $site)], [],
        'nothing to complain about';
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

    my $n = $ENV{ECERT_RENEWALS} || $t->times(250, 64_000);
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
        cmp_ok $grown, '<', $allowed, "$pid: memory has not grown";
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
