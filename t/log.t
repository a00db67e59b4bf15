#!/usr/bin/perl

# The agent writes into the server's error log, in the server's own form, and
# goes on in the new file after a rotation.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::UNIX;

use Ecert::Life;
use Ecert::Process;
use Ecert::Server;
use Ecert::Test;

my %form = (
    nginx => qr{^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[(\w+)\] (\d+)#0: ecert: },
    apache => qr{^\[\w{3} \w{3} \d\d \d\d:\d\d:\d\d \d{4}\] }
        . qr{\[ecert:(\w+)\] \[pid (\d+)\] },
);

for my $kind (servers()) {
    subtest $kind => sub {
        my ($server, $store) = site_server($kind);
        $server->start;
        form($server, $store);
        rotation($server, $store);
    };
    subtest "$kind, nothing to say" => sub { deleted() } if $kind eq 'nginx';
    subtest "$kind, syslog" => sub { to_syslog() } if $kind eq 'nginx';
    subtest "$kind, another time zone" => sub { zone($kind) };
}
done_testing;

sub form ($server, $store) {
    my ($worker) = (guard_and_worker($server))[1];
    my $form = $form{ $server->kind };

    $server->mark;
    swaps($server, $store, 'a new certificate');
    my $line = $server->wait_log(qr/site \Q$site\E: live: /) // '';
    my ($level, $pid) = $line =~ $form;
    is $level, 'notice', 'told as a notice';
    is $pid, $worker, "with the agent's pid";

    $server->mark;
    $store->current($site, 'nothing');
    $line = $server->wait_log(qr/site \Q$site\E: /, 15) // '';
    ($level, $pid) = $line =~ $form;
    like $level, qr/^(?:error|warn)$/, 'what is wrong is told louder'
        or diag $line;
    my @lines = grep { /site \Q$site/ } split /\n/, $server->log(0);
    is_deeply [grep { !/$form/ } @lines], [], 'all lines have this form';
    $store->current($site, 1);
}

sub to_syslog () {
    my $path = tmp() . '/syslog';
    my $syslog = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $path)
        or die "$path: $!";
    my ($server) = site_server('nginx', main => {
        nginx => "error_log syslog:server=unix:$path,facility=local3,tag=web;",
    });
    $server->start;
    my $line;
    ok wait_for(sub {
        $syslog->recv($line, 4096);
        return $line =~ /ecert: site \Q$site\E: live: /;
    }), 'the agent tells syslog';
    like $line, qr/^<157>\w{3} [ \d]\d \d\d:\d\d:\d\d \S+ web: /, 'in its form';
    $server->stop;

    $server->write_config(main => {
        nginx => 'error_log syslog:server=127.0.0.1:9;',
    });
    # without a log that takes warnings
    $server->write('nginx.conf',
        $server->config_text =~ s/^error_log \S+ info;$//mr);
    my ($status, $out) = $server->configtest;
    is $status, 0, 'over the network';
    like $out, qr/\[warn\].*ecert: the agent's messages do not go to the syslog/,
        'is told';
}

# All processes let a deleted log go, also those that have nothing to say.
sub deleted () {
    plan skip_all => 'needs the package libfaketime' if !faketime();
    my ($server) = site_server('nginx', agent => hurried(),
        conf => { ecert_fetch => 'on' });
    $server->start;
    my $log = $server->error_log;
    my @keepers = $server->keepers;
    my @all = ($server->agents, @keepers);
    is @all, 3, 'guard, worker and keeper';

    rename $log, "$log.1" or die "$log: $!";
    $server->signal('USR1');
    ok wait_for(sub { -e $log }, 15), 'a new log';
    unlink "$log.1";
    my %held;
    ok wait_for(sub {
        %held = map { $_ => readlink "/proc/$_/fd/2" } @all;
        return !grep { /deleted/ } values %held;
    }, 30), 'nobody holds the old one';
    is $held{$_}, $log, 'guard and worker: but the new one'
        for guard_and_worker($server);
    # nginx has given it to the workers' user, whom the keeper cannot overrule.
    is $held{$_}, '/dev/null', 'the keeper: none' for @keepers;
    one_pair($server, 'the same processes');
}

# An executable that runs the agent a hundred times as fast.
sub hurried () { return command_at(q{FAKETIME='+0 x100'}) }

# The zone that the server was started with is the agent's, too.
sub zone ($kind) {
    local $ENV{TZ} = 'AHEAD-11:30';
    my $begin = time + 11.5 * 3600;
    my ($server, $store) = site_server($kind);
    $server->start;
    my $line = $server->wait_log(qr/site \Q$site\E: live: /) // '';
    my $end = time + 11.5 * 3600;
    my ($time) = $line =~ /(\d\d:\d\d:\d\d)/;
    ok $time, 'a line of the agent';
    ok scalar(grep { $time eq POSIX::strftime('%H:%M:%S', gmtime $_) }
        $begin .. $end), 'has the time of the server' or diag $line;
}

# Moved away, then the signal by which the server opens a new one.
sub rotation ($server, $store) {
    my $log = $server->error_log;

    swaps($server, $store, 'before the rotation');
    rename $log, "$log.1" or die "$log: $!";
    swaps($server, $store, 'moved away: the log is the old file');
    if ($server->kind eq 'nginx') {
        $server->signal('USR1');
        ok wait_for(sub { -e $log }, 15), 'nginx makes a new one';
    } else {
        ok $server->reload, 'graceful';
    }
    my $old = -s "$log.1";

    $server->mark;
    swaps($server, $store, 'after it');
    my $line = $server->wait_log(qr/site \Q$site\E: live: /) // '';
    my ($worker) = $line =~ $form{ $server->kind } ? $2 : ();
    ok $worker, 'the line is in the new file';
    unlike substr(slurp("$log.1"), $old), qr/live/, 'and not in the old one';
    kill 'KILL', $worker if $worker;
    ok $server->wait_log(qr/process $worker was killed by signal 9/, 15),
        'the guard, too, writes to the new one';
}
