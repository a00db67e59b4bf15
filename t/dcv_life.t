#!/usr/bin/perl

# The life of a validation file: answered within a second after it was put,
# changed, ended after 30 days, removed, all without a reload; and no request
# opens a file.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Client;
use Ecert::DCV;
use Ecert::Server;
use Ecert::Store;
use Ecert::Test;

my $host = 'www.example.hk';
my $path = "$prefix/fileauth.txt";

for my $kind (servers()) {
    subtest $kind => sub {
        my $store = Ecert::Store->new;
        my $server = Ecert::Server->new($kind, store => $store,
            vhosts => [{ names => [$host], listen => 'http' }]);
        my @workers = $server->start->workers;

        comes_and_goes($server, $store);
        ends($server, $store);
        opens_no_file($server, $store);
        is_deeply [sort $server->workers], [sort @workers], 'the same workers';
    };
}
done_testing;

sub ask ($server) { return get($server->port('http'), $host, $path) }

# Each worker must have it, so several answers in a row have to agree.
sub becomes ($server, $answer, $name) {
    my $took = took(sub {
        !grep { my $r = ask($server);
            ($r->{status} == 200 ? $r->{body} : $r->{status}) ne $answer }
            1 .. 8;
    });
    ok defined $took && $took < patience(1), $name
        or diag defined $took ? "after $took seconds" : 'never';
}

sub comes_and_goes ($server, $store) {
    is ask($server)->{status}, 404, 'nothing there';
    $store->put_token($host, 'fileauth.txt', 'first');
    becomes($server, 'first', 'put: answered within a second');
    answered(ask($server), 'first', 'as it should be');

    $store->put_token($host, 'fileauth.txt', 'second, longer');
    becomes($server, 'second, longer', 'replaced');
    $store->remove_token($host, 'fileauth.txt');
    becomes($server, 404, 'removed');

    $store->put_token('WWW.Example.HK', 'fileauth.txt', 'capitals');
    becomes($server, 'capitals', 'put for the host in capitals');
    $store->remove_token('WWW.Example.HK', 'fileauth.txt');
    becomes($server, 404, 'removed again');
}

sub ends ($server, $store) {
    $store->put_token($host, 'fileauth.txt', 'old', days => 29.99);
    becomes($server, 'old', 'put 29.99 days ago');
    $store->age_token($host, 'fileauth.txt', 31);
    becomes($server, 404, 'put 31 days ago: over');
    my $line = $server->wait_log(qr/fileauth\.txt: .*its 30 days are over/) // '';
    like $line, qr/\[(?:ecert:)?warn\].*; touch it/,
        'its time of change was old when it came, which is told';

    $store->put_token($host, 'fileauth.txt', 'last', days => 30 - 2 / 86400);
    becomes($server, 'last', 'two seconds left');
    ok wait_for(sub { ask($server)->{status} == 404 }),
        'ends at its moment, without any change of the file';
    ok $server->wait_log(qr/\[(?:ecert:)?notice\].*its 30 days are over/),
        'told, as nothing to worry about';
}

sub opens_no_file ($server, $store) {
    $server->write("vhost0/www$prefix/own.txt", 'own');
    $store->put_token($host, 'fileauth.txt', 'traced');
    becomes($server, 'traced', 'one more');

    my $out = tmp() . '/strace.out';
    my $strace = trace($out, $server->workers);
    SKIP: {
        skip 'strace cannot be used here', 2 if !$strace;
        ask($server) for 1 .. 20;
        my $paths = join '', grep { !/attached/ } traced($out);
        get($server->port('http'), $host, "$prefix/own.txt") for 1 .. 20;
        wait_for(sub { slurp($out) =~ /own\.txt/ }, 5);
        kill 'INT', $strace;
        waitpid $strace, 0;

        is $paths, '', 'no request for a validation file names a path';
        like slurp($out), qr/own\.txt/, 'and such a call would be seen';
    }
}

# The process of strace when it is attached to all of them, else nothing.
sub trace ($out, @pids) {
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        open STDERR, '>', '/dev/null';
        exec 'strace', '-f', '-qq', '-e', 'trace=%file', '-e', 'signal=none',
            '-o', $out, map { ('-p', $_) } @pids or POSIX::_exit(127);
    }
    my $attached = wait_for(sub {
        return -1 if waitpid($pid, POSIX::WNOHANG()) == $pid;
        return !grep { (slurp("/proc/$_/status") // '')
            !~ /^TracerPid:\t$pid$/m } @pids;
    }, 5);
    return if $attached == -1;
    return $pid;
}

sub traced ($out) { return split /^/, slurp($out) // '' }
