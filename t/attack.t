#!/usr/bin/perl

# A worker that was taken over cannot change what the others serve: whatever
# it tries, with its own rights and from inside, the snapshot stays as it is.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Life;
use Ecert::Server;
use Ecert::Test;


my $library = tmp() . '/attacker.so';
my ($status, $out) = run($ENV{CC} || 'cc', '-shared', '-fPIC', '-O1',
    '-D_GNU_SOURCE', '-o', $library, "$FindBin::Bin/lib/attacker.c");
plan skip_all => "no compiler: $out" if $status != 0;

# What must work, to see that the attempts are real.
my @works = ('mprotect for reading');
my @fails = ('mprotect for writing', 'punch a hole', 'open the mapping',
    'write through /proc/self/mem', 'write by process_vm_writev',
    'reopen a descriptor of its own', "reopen one of the parent's");

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
