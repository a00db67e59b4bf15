#!/usr/bin/perl

# The first start, in every way in which the servers can be started: the agent
# is ready before the first connection is answered, changes go live, and
# nothing remains after the end.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Client;
use Ecert::Life;
use Ecert::Process;
use Ecert::Server;
use Ecert::Test;

my %way = (
    nginx => [
        ['daemon off', foreground => 1],
        ['master_process off', single => 1, workers => 1],
    ],
    apache => [
        ['-DFOREGROUND', foreground => 1],
        ['-X', single => 1, workers => 1],
        ['prefork', mpm => 'prefork'],
        ['worker', mpm => 'worker'],
    ],
);

for my $kind (servers()) {
    subtest "$kind: many sites" => sub { many_sites($kind) };
    subtest "$kind: captured" => sub { captured($kind) };
    for my $way (@{ $way{$kind} }) {
        my ($name, @options) = @$way;
        subtest "$kind: $name" => sub { lives($kind, @options) };
    }
}
done_testing;

# As much to load as takes a while, and the last site is asked first.
sub many_sites ($kind) {
    my @names = map { "site$_.example.hk" } 1 .. 60;
    my $store = store_with(@names);
    my $server = Ecert::Server->new($kind, store => $store,
        vhosts => [map { { names => [$_], ecert => 'on' } } @names]);

    $server->start;
    like serves($server, $names[-1]), qr/^[0-9A-F]{64}$/,
        'the first handshake has the certificate';
    my @bad = grep { serves($server, $_) !~ /^[0-9A-F]{64}$/ } @names;
    is "@bad", '', 'and so have all sites';
    ok $server->stop, 'stops, and the agent with it';
}

# A start script that reads the output of the start is not held up.
sub captured ($kind) {
    my ($server) = site_server($kind);
    my $seconds = took(sub {
        my $pid = open(my $out, '-|') // die "fork: $!";
        if (!$pid) {
            open STDIN, '<', '/dev/null';
            open STDERR, '>&', \*STDOUT;
            $ENV{LD_PRELOAD} = $ENV{ECERT_TEST_PRELOAD} // '';
            exec $server->command or POSIX::_exit(127);
        }
        local $SIG{ALRM} = sub { die "still held open\n" };
        alarm patience(15);
        my $text = quietly(sub { local $/; readline($out) // '' });
        alarm 0;
        return if !defined $text;
        close $out;
        return 1;
    }, 0);
    ok defined $seconds, 'the output of the start ends while the server runs';
    ok $server->adopt, 'which it does';
    ok $server->stop, 'stops';
}

sub lives ($kind, @options) {
    my ($server, $store) = site_server($kind, @options);
    $server->start;
    like serves($server), qr/^[0-9A-F]{64}$/, 'serves the certificate';
    one_pair($server, 'one agent');
    swaps($server, $store, 'a new certificate goes live');
    if (!$server->{single}) {
        my @old = $server->agents;
        ok $server->reload, 'reload';
        one_pair($server, 'a new agent', @old);
        swaps($server, $store, 'that works');
    }
    ok $server->stop, 'stops, and the agent with it';
    is_deeply [$store->in_run], [], 'its socket is gone';
}
