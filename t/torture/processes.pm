package Ecert::Torture::Processes;

# What becomes of processes while certificates are swapped.

use v5.36;

use Time::HiRes ();

use Ecert::Life qw($site);
use Ecert::Live ();
use Ecert::Process;
use Ecert::Test;

my @mpms = qw(apache-prefork apache-worker);

return [
    { name => 'worker-killed', ci => 1, servers => \@mpms,
        run => sub ($t) { worker_killed($t) },
        what => 'workers killed in the midst of swaps' },
    { name => 'reload-storm', ci => 1, servers => \@mpms,
        run => sub ($t) { reload_storm($t) },
        what => 'a reload each 100 ms while certificates are swapped' },
    { name => 'upgrade', ci => 1, only => ['nginx'],
        run => sub ($t) { upgrade($t) },
        what => 'binary upgrade and its rollback during swaps' },
    { name => 'configtest', run => sub ($t) { configtest($t) },
        what => 'tests of the configuration while it runs' },
    { name => 'bad-site', ci => 1, servers => \@mpms,
        run => sub ($t) { bad_site($t) },
        what => 'a start with one bad site of 100' },
    { name => 'master-killed', servers => \@mpms,
        run => sub ($t) { master_killed($t) },
        what => 'the master is killed' },
    { name => 'modes-of-running', ci => 1,
        only => [qw(nginx-single nginx-foreground apache-single
            apache-foreground apache-prefork apache-worker)],
        run => sub ($t) { swaps($t) },
        what => 'one process, in the foreground, prefork, worker' },
];

# What dies with a worker is its own connections.
sub worker_killed ($t) {
    my $rounds = $t->times(10, 100);
    $t->begin(load => { reloads => 1 });
    for my $i (1 .. $rounds) {
        my $leaf = $t->install;
        Time::HiRes::sleep(0.005 * ($i % 4));
        my ($victim) = $t->server->workers;
        kill 'KILL', $victim;
        my $took = took(sub { has_workers($t, $victim) }, 20);
        $t->figure('new worker', $took);
        ok defined $took, "$i: there are workers" or last;
        $t->goes_live($leaf, "$i: served");
    }
    # Each kind of client may lose what it has in a killed worker.
    $t->end(workers => 0, failed => 5 * $rounds);
}

# httpd starts a new one only where it has too few that are idle.
sub has_workers ($t, $victim) {
    my @now = $t->server->workers;
    return !grep({ $_ == $victim } @now)
        && ($t->kind eq 'apache' ? @now > 0 : $t->server->is_staffed);
}

# Certificates are swapped at the same time.  A new agent takes the place of the
# old one: there may be none, and two, but not for long.
sub reload_storm ($t) {
    $t->begin(load => { reloads => 1 });
    my %seen = (since => Time::HiRes::time());
    # httpd answers nothing while it restarts, which takes it longer than that:
    # so the storms are short ones.
    for my $storm (1 .. $t->times(1, 15)) {
        for my $i (1 .. 20) {
            $t->server->signal($t->server->reload_signal);
            $t->install if $i % 3 == 0;
            look_at_agents($t, \%seen, 0.1);
        }
        my $leaf = $t->install;
        $t->goes_live($leaf, "after storm $storm", $site, 'recovered');
    }
    ok wait_for(sub {
        look_at_agents($t, \%seen, 0.02);
        return $t->server->is_staffed && $t->server->agents == 2;
    }, 40), 'one agent in the end';
    agents_changed($t, \%seen);
    $t->renew('that works') for 1 .. 3;
    # The old configuration's workers end what they had begun.
    $t->end(workers => 0, slack => 3);
}

# Notes for how long there is no agent at all, and when each guard is seen: its
# parent is no agent.
sub look_at_agents ($t, $seen, $seconds) {
    my $end = Time::HiRes::time() + $seconds;
    do {
        my %agent = map { $_ => 1 } $t->server->agents;
        my $now = Time::HiRes::time();
        push @{ $seen->{guards}{ $_ . '/' . (Ecert::Process::born($_) // '') } },
            $now
            for grep { !$agent{ Ecert::Process::parent($_) // 0 } } keys %agent;
        $t->figure('no agent', $now - $seen->{since});
        $seen->{since} = $now if %agent;
        Time::HiRes::sleep(0.02);
    } while (Time::HiRes::time() < $end);
}

# Each guard goes soon after the next one came.
sub agents_changed ($t, $seen) {
    my @guards = sort { $a->[0] <=> $b->[0] } values %{ $seen->{guards} };
    for my $i (0 .. $#guards - 1) {
        $t->figure('two agents', $guards[$i][-1] - $guards[$i + 1][0])
            if $guards[$i][-1] > $guards[$i + 1][0];
    }
    cmp_ok scalar @guards, '>', 1, 'new configurations have new agents';
    for my $what ('no agent', 'two agents') {
        my ($longest) = @{ $t->figures->{$what} // [0] };
        cmp_ok $longest, '<', patience(10), "$what: not for long";
    }
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
    $t->started;
    Ecert::Live::told($t->server, $bad, 'truncated', $file,
        'the bad one: told');
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
        $i == 1 ? $t->begin : again($t);
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
        is_deeply [$t->store->in_run], [], "$i: no socket";
    }
    again($t);
    ok $t->serves($t->{good}{$site}), 'started again: the same certificate';
    $t->renew('that works');
    $t->end;
}

sub again ($t) {
    $t->server->start;
    $t->started;
}

sub swaps ($t) {
    $t->begin;
    $t->renew("renewal $_") for 1 .. $t->times(8, 100);
    is_deeply [Ecert::Live::complaints($t->server, $site)], [],
        'nothing to complain about';
    $t->end;
}

