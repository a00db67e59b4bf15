#!/usr/bin/perl

# Renewals under load: each reaches the next handshake, and nobody notices.
# Key, leaf and chain change together: kinds of keys and issuers alternate.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Client;
use Ecert::Load;
use Ecert::PKI;
use Ecert::Process;
use Ecert::Server;
use Ecert::Store;
use Ecert::Test;

my $site = 'www.example.hk';
my $warm_up = 10;
my $renewals = $ENV{ECERT_RENEWALS} || 60;

my $pki = Ecert::PKI->new;
my @keys = (map({ $pki->key($_) } qw(RSA-2048 RSA-2048)), qw(P-256 P-384));
my @leaves = map {
    $pki->leaf(names => [$site], key => $keys[$_ % @keys],
        issuer => $_ % 3 ? $pki->sub : $pki->ev)
} 0 .. $warm_up + $renewals;

for my $kind (servers()) {
    subtest $kind => sub {
        my $store = Ecert::Store->new->add_issuers($pki->sub, $pki->ev,
            $pki->cross);
        $store->install($site, $leaves[0]);
        my $server = Ecert::Server->new($kind, store => $store,
            vhosts => [{ names => [$site], ecert => 'on' }])->start;

        under_load($server, $store, @leaves[1 .. $warm_up]);
        my $before = workers($server);
        my $report = under_load($server, $store,
            @leaves[$warm_up + 1 .. $#leaves]);
        nobody_noticed($report);
        workers_stay($server, $before);
    };
}
done_testing;

# Renews again and again, each time as soon as the one before was seen.
sub under_load ($server, $store, @renewed) {
    my $load = Ecert::Load->new($server->port, name => $site,
        clients => { full => 2, resume => 1, keepalive => 2 });
    my @took;
    for my $leaf (@renewed) {
        $store->install($site, $leaf);
        push @took, took(sub { sees($server, $leaf) }, 15) // last;
    }
    my $report = $load->stop;

    is scalar @took, @renewed, scalar @renewed . ' renewals were seen';
    @took = sort { $a <=> $b } @took;
    note sprintf 'seen after %.0f ms (median), %.0f ms (longest)',
        map { 1000 * $_ } $took[$#took / 2], $took[-1] if @took;
    cmp_ok $took[-1], '<', patience(5), 'none of them late' if @took;
    return $report;
}

sub sees ($server, $leaf) {
    return ((served($server->port, $site))[0] // '') eq $leaf->fingerprint;
}

sub nobody_noticed ($report) {
    note join ', ', map { "$_ $report->{$_}" }
        qw(handshakes resumed requests reconnects);
    note sprintf 'longest handshake: %.0f ms', 1000 * $report->{longest};
    is $report->{failed}, 0, 'no handshake and no request failed'
        or diag join "\n", @{ $report->{failures} };
    is $report->{reconnects}, 0, 'no connection was closed';
    cmp_ok $report->{$_}, '>', $renewals, "$_: enough of them to say so"
        for qw(handshakes resumed requests);

    my %published = map { chain($_) => 1 } @leaves;
    my @seen = keys %{ $report->{certificates} };
    is_deeply [grep { !$published{$_} } @seen], [],
        'each leaf came with its own chain';
    cmp_ok scalar @seen, '>', 1, 'the clients saw several of them';
}

sub chain ($leaf) {
    return join ',', map { $_->fingerprint } $leaf, $leaf->issued_by,
        $pki->cross;
}

# { pid => what it holds }
sub workers ($server) {
    return { map {
        my %open = Ecert::Process::descriptors($_);
        $_ => { files => scalar keys %open, maps => maps($_), rss => rss($_) }
    } $server->workers };
}

# Mappings with a name: files and shared memory.
sub maps ($pid) {
    return scalar grep { m{ /} } split /\n/, slurp("/proc/$pid/maps") // '';
}

sub rss ($pid) {
    my ($kib) = (slurp("/proc/$pid/status") // '') =~ /^VmRSS:\s+(\d+)/m;
    return $kib;
}

sub workers_stay ($server, $before) {
    my $now;
    my $same = wait_for(sub {
        $now = workers($server);
        return !grep { !$now->{$_} || $now->{$_}{files} > $before->{$_}{files} }
            keys %$before;
    }, 15);
    is_deeply [sort keys %$now], [sort keys %$before], 'the same workers';
    ok $same, 'no more descriptors than before';
    for my $pid (grep { $now->{$_} } sort keys %$before) {
        is $now->{$pid}{maps}, $before->{$pid}{maps}, 'mappings as before';
        my $grown = $now->{$pid}{rss} - $before->{$pid}{rss};
        # A sanitizer keeps what is freed.
        my $most = $ENV{ECERT_TEST_PRELOAD} ? 512 : 8;
        cmp_ok $grown, '<', 1024 * $most, "memory has not grown by $most MiB";
        note "grown by $grown KiB";
    }
}
