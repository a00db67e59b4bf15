#!/usr/bin/perl

# nginx as process 1, as in a container: what the agent leaves at a reload comes
# to it, and is nothing to be alarmed about.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Life;
use Ecert::Server;
use Ecert::Test;

my @apart = qw(unshare --pid --fork --kill-child --mount-proc);

plan skip_all => 'nginx alone tells of such processes'
    if !grep { $_ eq 'nginx' } servers();
plan skip_all => 'no namespace for processes'
    if system("@apart true 2>/dev/null") != 0;

my ($server, $store) = site_server('nginx', foreground => 1);
my $pid = fork // die "fork: $!";
if (!$pid) {
    $ENV{LD_PRELOAD} = $ENV{ECERT_TEST_PRELOAD} // '';
    exec @apart, $server->command or die "unshare: $!";
}
my $init = wait_for(sub { child_of($pid) }, 15);

if (!$init) {
    kill 'KILL', $pid;
    die 'it does not start';
}
swaps($server, $store, 'a new certificate goes live');
for my $n (1 .. 3) {
    my ($guard) = guard_and_worker($server);
    kill 'HUP', $init;
    one_pair($server, "reload $n: another pair", $guard);
    swaps($server, $store, 'that works');
}
kill 'TERM', $init;
waitpid $pid, 0;
my $log = slurp($server->error_log);
unlike $log, qr/\[alert\]/, 'no alert';
like $log, qr/\[notice\] .*unknown process \d+ exited with code 0/,
    'the guards and their workers have left by themselves';
unlike $log, qr/exited on signal/, 'none was killed';
done_testing;

sub child_of ($pid) {
    my ($child) = split ' ', slurp("/proc/$pid/task/$pid/children") // '';
    return $child;
}
