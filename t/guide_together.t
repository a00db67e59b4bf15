#!/usr/bin/perl

# Several people, or scripts, at once: commands wait for each other, all of
# them succeed, and nothing is lost or used twice.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use POSIX ();

use Ecert::Command;
use Ecert::Guide;
use Ecert::Live;
use Ecert::Test;

my @sites = map { "s$_.example.hk" } 1 .. 3;
my $site = $sites[0];
my $many = 4;

for my $kind (servers()) {
    subtest $kind => sub {
        my $guide = Ecert::Guide->new($kind,
            sites => { map { $_ => [] } @sites });
        $guide->add_issuers;
        $guide->server->mark;
        my @csrs = requests($guide);
        certificates($guide, @csrs);
        all_kinds($guide);
        first_certificates($guide);
        one_site($guide);
        is_deeply [map { complaints($guide->server, $_) } @sites], [],
            'the servers had nothing to complain about';
    };
}
done_testing;

# All at once: [exit status, output] of each.
sub together ($guide, @commands) {
    my @running;
    for my $command (@commands) {
        my $out = tmp() . '/together' . @running;
        my $pid = fork // die "fork: $!";
        if (!$pid) {
            $ENV{ECERT_STORE} = $guide->store->dir;
            open STDIN, '<', '/dev/null';
            open STDOUT, '>', $out;
            open STDERR, '>&', \*STDOUT;
            exec build_dir() . '/ecert', @$command or POSIX::_exit(127);
        }
        push @running, [$pid, $out];
    }
    return map {
        my ($pid, $out) = @$_;
        waitpid $pid, 0;
        [$? & 127 ? "signal $?" : $? >> 8, slurp($out)];
    } @running;
}

sub all_succeed ($what, @done) {
    my @bad = grep { $_->[0] ne '0' } @done;
    is scalar @bad, 0, "$what: all " . @done . ' succeed'
        or diag map { "$_->[0]: $_->[1]" } @bad;
}

sub requests ($guide) {
    my @done = together($guide, map { ['new', $site] } 1 .. $many);
    all_succeed('new', @done);
    my $requests = $guide->progress($site)->{requests};
    is_deeply [map { $_->{request} } @$requests], [1 .. $many],
        'each has a number of its own';
    my %keys = map { $_->{key_sha256} => 1 } @$requests;
    is scalar keys %keys, $many, 'and a key';
    return map { csr_of($guide->store, $site, '--request', $_, '--no-backup') }
        1 .. $many;
}

sub certificates ($guide, @csrs) {
    my @leaves = map { signed($guide->pki, $_, names => [$site]) } @csrs;
    my $n = 0;
    my @files = map { $_->file(tmp() . '/leaf' . $n++ . '.crt') } @leaves;
    all_succeed('install', together($guide, map { ['install', $_] } @files));

    my @generations = generations($guide);
    is scalar @generations, $many, 'as many generations' or diag "@generations";
    my $current = slurp($guide->store->site_dir($site)
        . '/current/certificate.pem');
    my ($leaf) = grep { $_->pem eq $current } @leaves;
    ok $leaf, 'the current one is one of them';
    becomes($guide->server, $site, [$leaf, $guide->pki->sub,
        $guide->pki->cross], 'and served');
}

sub generations ($guide) {
    return sort { $a <=> $b } map { m{/(\d+)$} ? $1 : () }
        glob $guide->store->site_dir($site) . '/generations/*';
}

# Commands of other kinds meet as well.
sub all_kinds ($guide) {
    my $pfx = tmp() . '/' . $guide->server->kind;
    my @password = ('--password-file', password_file());
    my ($first) = generations($guide);
    my $file = $guide->save('fileauth.txt', 'code');
    all_succeed('commands of all kinds', together($guide,
        ['new', $site], ['new', $sites[1]], ['new', $sites[2]],
        ['backup', $site, '-o', "$pfx-1.pfx", @password],
        ['backup', $site, '-o', "$pfx-2.pfx", @password],
        ['dcv', 'add', $site, $file], ['dcv', 'add', $site, $file],
        ['status', $site], ['log'], ['rollback', $site, $first],
        ['issuers', 'add', '--catalogue', $guide->catalogue,
            $guide->portal->ca_file('ecert_ev_ssl_ca_3-17_pem.crt')]));
    my $log = ecert_json($guide->store, 'log')->{log};
    my %done;
    $done{ $_->{command} }++ for @$log;
    is_deeply \%done, { new => $many + 3, csr => $many, install => $many,
        backup => 2, 'dcv add' => 2, rollback => 1, 'issuers add' => 3 },
        'log: each of them is there once';
}

# Several sites become live at the same moment.
sub first_certificates ($guide) {
    my %leaf = map {
        my $csr = csr_of($guide->store, $_, '--no-backup');
        $_ => signed($guide->pki, $csr, names => [$_])
    } @sites;
    all_succeed('install --wait', together($guide, map {
        ['install', $_, $leaf{$_}->file(tmp() . "/$_.crt"), '--wait']
    } @sites));
    serves($guide->server, $_, [$leaf{$_}, $guide->pki->sub,
        $guide->pki->cross], "$_: served") for @sites;
}

# Of several for one site the last one stays; nobody waits for the others.
sub one_site ($guide) {
    my @csrs = map {
        $guide->does("new $_", 'new', $site);
        csr_of($guide->store, $site, '--no-backup');
    } 1 .. $many;
    my $n = 0;
    my @files = map {
        signed($guide->pki, $_, names => [$site])
            ->file(tmp() . '/one' . $n++ . '.crt')
    } @csrs;
    my $begin = time;
    my @done = together($guide, map {
        ['install', $_, '--timeout', 600]
    } @files);
    cmp_ok time - $begin, '<', patience(60), 'nobody waits in vain';
    my @late = grep { $_->[0] ne '0' } @done;
    cmp_ok scalar @late, '<', $many, 'the last one is served';
    is_deeply [grep { $_->[0] ne '1' || $_->[1] !~
        /not-served: .*another one was installed meanwhile/ } @late], [],
        'the others were, too, or are told that another one came';
}
