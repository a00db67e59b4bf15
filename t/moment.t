#!/usr/bin/perl

# Dates take effect at their moment, in a running server, without any file
# changing: a cross-certificate ends or is no longer useful, a renewal that
# was put early begins.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();

use Ecert::Client;
use Ecert::Live;
use Ecert::PKI;
use Ecert::Server;
use Ecert::Store;
use Ecert::Test;

my $day = 86400;
# Seconds that a moment is ahead: time enough to see how it is before.
my $ahead = int patience(4);
my $pki = Ecert::PKI->new;
my ($sub, $cross, $root) = ($pki->sub, $pki->cross, $pki->root);

for my $kind (servers()) {
    subtest "$kind, certificates" => sub { certificates($kind) };
    subtest "$kind, broken files" => sub { broken_files($kind) };
    subtest "$kind, policy and catalogue" => sub {
        plan skip_all => 'needs the package libfaketime' if !faketime();
        last_second_of_a_day($kind);
    };
}
done_testing;

# notAfter of the cross-certificate and notBefore of a leaf, seconds ahead.
sub certificates ($kind) {
    my $store = Ecert::Store->new->add_issuers($sub, $root);
    my @names = ('a.example.hk', 'b.example.hk');
    my ($leaf, $old) = map { $pki->leaf(names => [$_]) } @names;
    $store->install('b.example.hk', $old);
    my $server = Ecert::Server->new($kind, store => $store, vhosts => [
        map { { names => [$_], ecert => 'on' } } @names ])->start;
    my @workers = $server->workers;

    my ($ends, $begins) = (time + $ahead, time + $ahead + 2);
    my $new = $pki->leaf(names => ['b.example.hk'], not_before => $begins);
    my $dying = $pki->cross(not_after => $ends);
    my $from = iso($begins);
    $store->install('b.example.hk', $new);
    $store->add_issuers($dying);
    $store->install('a.example.hk', $leaf);
    becomes($server, 'a.example.hk', [$leaf, $sub, $dying],
        'a cross-certificate that has some seconds left');
    ok $server->wait_log(qr/site b\.example\.hk: not-yet-valid: .*$from/),
        'the early renewal: the log says from when';
    becomes($server, 'b.example.hk', [$old, $sub, $dying],
        'until then the old one is served');
    cmp_ok time, '<=', $ends, 'this machine is quick enough';

    becomes($server, 'a.example.hk', [$leaf, $sub],
        'the dead cross-certificate is not served any more');
    becomes($server, 'b.example.hk', [$old, $sub],
        'nor is it while a renewal waits');
    cmp_ok time, '>', $ends, 'not before its end';
    becomes($server, 'b.example.hk', [$new, $sub], 'the renewal begins');
    cmp_ok time, '>=', $begins, 'not before its time';
    is status_of($server, 'b.example.hk')->{error}, undef, 'status: no error';
    is_deeply [sort $server->workers], [sort @workers], 'the same workers';
}

# The same while the files of the pair, which has no older generation, are
# broken: what is served follows the dates all the same.
sub broken_files ($kind) {
    my $store = Ecert::Store->new->add_issuers($sub, $root);
    my $leaf = $pki->leaf(names => ['f.example.hk']);
    my $dying = $pki->cross(not_after => time + $ahead);
    my $file = $leaf->file(tmp() . "/$kind-f.pem");
    $store->add_issuers($dying);
    my $server = Ecert::Server->new($kind, store => $store, vhosts => [{
        names => ['f.example.hk'], directives => { ecert_certificate => $file,
            ecert_certificate_key => $leaf->key_file(tmp() . "/$kind-f.key") }
    }])->start;

    serves($server, 'f.example.hk', [$leaf, $sub, $dying], 'a pair of files');
    open my $out, '>', $file or die $!;
    close $out;
    told($server, 'f.example.hk', 'empty', $file, 'its certificate is emptied');
    becomes($server, 'f.example.hk', [$leaf, $sub],
        'the cross-certificate goes at its moment');
    ok status_of($server, 'f.example.hk')->{error}, 'status: the error stays';
}

# The agent's clock shows the last seconds of a day three weeks ahead.
sub last_second_of_a_day ($kind) {
    my $midnight = time - time % $day + 21 * $day;
    my $date = POSIX::strftime('%Y-%m-%d', gmtime($midnight - 1));
    my $store = Ecert::Store->new->add_issuers($sub, $cross, $root);
    my %conf = (
        'until.example.hk' => { ecert_cross_certificate => "until=$date" },
        'catalogue.example.hk' => { ecert_catalogue => catalogue($date) },
        'on.example.hk' => { ecert_cross_certificate => 'on' },
        'site.example.hk' => {},
    );
    my %leaf = map { $_ => $pki->leaf(names => [$_]) } keys %conf;
    $store->install($_, $leaf{$_}) for keys %leaf;
    $store->describe('site.example.hk', JSON::PP::encode_json({
        policy => { cross_certificate => "until=$date" } }));
    my $server = Ecert::Server->new($kind, store => $store,
        agent => agent($midnight - $ahead), vhosts => [
            map { { names => [$_], ecert => 'on', directives => $conf{$_} } }
                sort keys %conf ]);
    my $begin = Time::HiRes::time();
    $server->start;
    my @workers = $server->workers;

    my @switched = grep { $_ ne 'on.example.hk' } sort keys %conf;
    for my $name (@switched) {
        serves($server, $name, [$leaf{$name}, $sub, $cross],
            "$name: served on its last day");
    }
    cmp_ok Time::HiRes::time() - $begin, '<', $ahead,
        'this machine is quick enough';
    for my $name (@switched) {
        becomes($server, $name, [$leaf{$name}, $sub],
            "$name: not served on the next");
    }
    cmp_ok Time::HiRes::time() - $begin, '>=', $ahead, 'not before midnight';
    serves($server, 'on.example.hk', [$leaf{'on.example.hk'}, $sub, $cross],
        'on: served as long as it is valid');
    is considered(status_of($server, $switched[0]))->{ $cross->fingerprint },
        'cross-past', 'status says why';
    is_deeply [sort $server->workers], [sort @workers], 'the same workers';
}

# An executable that runs the agent at another time.
sub agent ($time) {
    my $then = POSIX::strftime('%Y-%m-%d %H:%M:%S', gmtime $time);
    return command_at("TZ=UTC FAKETIME='\@$then' "
        . 'FAKETIME_DONT_FAKE_MONOTONIC=1');
}

sub catalogue ($date) {
    my $file = tmp() . '/catalogue.json';
    open my $out, '>', $file or die "$file: $!";
    print $out JSON::PP::encode_json({ schema => 'ecert-ca', version => 1,
        updated => '2026-01-01', name => 'Test', entries => [{
            id => 'cross', role => 'cross', name => $cross->cn,
            sha256 => $cross->fingerprint, status => 'current',
            useful_until => $date }] });
    close $out;
    return $file;
}

sub iso ($time) { return POSIX::strftime('%Y-%m-%dT%H:%M:%SZ', gmtime $time) }
