#!/usr/bin/perl

# A worker that was taken over cannot change what the others serve: whatever
# it tries, with its own rights and from inside, the snapshot stays as it is.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Client;
use Ecert::Command;
use Ecert::DCV;
use Ecert::Life;
use Ecert::Server;
use Ecert::Test;


my $library = tmp() . '/attacker.so';
my ($status, $out) = run($ENV{CC} || 'cc', '-shared', '-fPIC', '-O1',
    '-D_GNU_SOURCE', '-o', $library, "$FindBin::Bin/lib/attacker.c");
plan skip_all => "no compiler: $out" if $status != 0;

# What must work, to see that the attempts are real.
my @works = ('mprotect for reading', 'spoil its own visits');
my @fails = ('mprotect for writing', 'punch a hole', 'open the mapping',
    'write through /proc/self/mem', 'write by process_vm_writev',
    'reopen a descriptor of its own', "reopen one of the parent's",
    "reach another worker's visits");

for my $kind (servers()) {
    subtest $kind => sub {
        my ($server, $store) = site_server($kind);
        my $report = $server->write('attack/report', '');
        chmod 0777, $report =~ s{/report$}{}r;
        local $ENV{ECERT_TEST_ATTACK} = $report;
        local $ENV{ECERT_TEST_PRELOAD} = join ':', grep { defined }
            $ENV{ECERT_TEST_PRELOAD}, $library;

        $server->start;
        tried($_, "$report.$_") for $server->workers;
        believes_nothing($server, $store);
        swaps($server, $store, 'all goes on');
    };
}
done_testing;

sub tried ($pid, $file) {
    ok wait_for(sub { (slurp($file) // '') =~ /^end$/m }, 15),
        "worker $pid attacks";
    my %result = (slurp($file) // '') =~ /^(.*?): (.*)$/mg;
    is $result{$_}, 'done', "it can $_" for @works;
    ok $result{$_} && $result{$_} ne 'done',
        "it cannot $_: " . ($result{$_} // '') for @fails;
}

# The workers' pages of visits are garbage now, and more comes: the agent lives,
# and what it says is text, with a fetch that can be true.
sub believes_nothing ($server, $store) {
    my $path = "$prefix/fileauth.txt";
    $store->put_token($site, 'fileauth.txt', 'code');
    my @agents = sort $server->agents;
    my $bad = 0;
    for (1 .. 12) {
        my $file = get($server->port, $site, $path, tls => 1);
        my ($status, $text) = ecert($store, 'dcv', 'list', $site);
        my $json = ecert_json($store, 'dcv', 'list');
        $bad++ if $text =~ /[^\n -~]/ || !$json
            || ref $json->{validation_files} ne 'ARRAY';
        $bad++ if grep { ($_->{status} // 0) !~ /^(200|405)$/
            || $_->{bytes} > 65536 || $_->{time} !~ /^20/ }
            map { @{ $_->{last} } } map { @{ $_->{fetched} } }
            @{ $json->{validation_files} };
    }
    is $bad, 0, 'no nonsense is shown of what they wrote';
    is_deeply [sort $server->agents], \@agents, 'the agent is the same';
}
