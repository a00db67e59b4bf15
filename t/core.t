#!/usr/bin/perl

# Keys never reach the disk through a core dump: neither a worker nor the
# agent leaves one, even where the server's configuration asks for it.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Life;
use Ecert::Process;
use Ecert::Server;
use Ecert::Test;

plan skip_all => 'core dumps do not become files here: core_pattern'
    if (slurp('/proc/sys/kernel/core_pattern') // '|') =~ m{^[|/]};
plan skip_all => 'prlimit is not here, or may not raise the limit'
    if (run('prlimit', '--pid', $$, '--core=unlimited'))[0] != 0;

my $dir = tmp() . '/cores';
mkdir $dir;
chmod 0777, $dir;

my $ordinary = fork // die "fork: $!";
if (!$ordinary) {
    chdir $dir;
    exec 'setpriv', '--reuid=www-data', '--regid=www-data', '--clear-groups',
        'sleep', 60 or POSIX::_exit(127);
}
wait_for(sub { Ecert::Process::command($ordinary) =~ /^sleep/ });
aborts($ordinary);
waitpid $ordinary, 0;
plan skip_all => 'not even an ordinary process leaves a core dump here'
    if !cores();
unlink cores();

for my $kind (servers()) {
    subtest $kind => sub {
        my ($server, $store) = site_server($kind, main => {
            nginx => "worker_rlimit_core 1g; working_directory $dir;",
            apache => "CoreDumpDirectory $dir",
        });
        $server->start;
        serves($server) for 1 .. 4;

        my ($worker) = $server->workers;
        aborts($worker);
        ok $server->wait_log(qr/\b$worker\b.*(?:signal 6|\(6\))/, 15),
            "the server's worker was aborted";
        my $agent = (guard_and_worker($server))[1];
        aborts($agent);
        one_pair($server, "and the agent's", $agent);
        is join(' ', cores()), '', 'there is no core dump';
        swaps($server, $store, 'all goes on');
    };
}
done_testing;

sub cores { return grep { -f } glob "$dir/*" }

sub aborts ($pid) {
    kill 'ABRT', $pid;
    return wait_for(sub { !Ecert::Process::alive($pid) }, 15);
}
