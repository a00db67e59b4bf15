#!/usr/bin/perl

# ecert install is killed while servers run: every handshake gets the old or the
# new certificate with its own chain, nobody notices, and the same install again
# has the new one served.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Client;
use Ecert::Command;
use Ecert::Live;
use Ecert::Load;
use Ecert::PKI;
use Ecert::Server;
use Ecert::Store;
use Ecert::Strace;
use Ecert::Test;

my $missing = Ecert::Strace->missing;
plan skip_all => $missing if $missing;

my $site = 'www.example.hk';
my $ecert = build_dir() . '/ecert';
my $pki = Ecert::PKI->new;
my $n = 0;

for my $kind (servers()) {
    subtest $kind => sub { live($kind) };
}
done_testing;

sub live ($kind) {
    my $store = Ecert::Store->new->add_issuers($pki->root, $pki->sub, $pki->ev);
    my ($served, @first) = asked($store);
    is_deeply [ecert($store, @first)]->[0], 0, 'the first certificate';
    my $server = Ecert::Server->new($kind, store => $store,
        vhosts => [{ names => [$site], ecert => 'on' }])->start;

    # The calls are counted at a renewal of its own.
    my %right = (line($served) => 1);
    ($served, my @install) = asked($store);
    $right{ line($served) } = 1;
    my $load = Ecert::Load->new($server->port, name => $site,
        clients => { full => 1, resume => 1 });
    my @points = points($store, @install);
    becomes($server, $site, $served, 'the second certificate');

    for my $point (@points) {
        (my $new, @install) = asked($store);
        $right{ line($new) } = 1;
        killed($server, $store, $point, $served, $new, @install);
        $served = $new;
    }
    nobody_noticed($load->stop, \%right);
    is_deeply [complaints($server, $site)], [], 'nothing to complain about';
    note "$kind: ", scalar @points, ' points';
}

sub line ($certs) { return join ',', map { $_->fingerprint } @$certs }

# A new request and a certificate for it, with other names and another Sub CA
# than before: ([leaf, chain], what installs it).
sub asked ($store) {
    my $issuer = ++$n % 2 ? $pki->sub : $pki->ev;
    my @names = ($site, $n % 2 ? 'example.hk' : 'shop.example.hk');
    my ($status, $out) = ecert($store, 'new', $site, '--key', 'ec:P-256',
        '--name', $names[1]);
    $status == 0 or die $out;
    my $leaf = signed($pki, csr_of($store, $site, '--no-backup'),
        names => \@names, issuer => $issuer);
    return ([$leaf, $issuer], 'install', $site,
        $leaf->file(tmp() . "/issued$n.pem"));
}

# Where folders and links come, go or move.
sub points ($store, @install) {
    my ($status, $out, @calls) = Ecert::Strace->calls([$store->dir],
        $ecert, @install, '--store', $store->dir);
    is $status, 0, 'the second certificate is installed' or diag $out;
    my @points = grep { $_->{changes}
        && $_->{name} =~ /^(?:rename|symlink|unlink|mkdir)/ } @calls;
    cmp_ok scalar @points, '>', 5, 'there are such calls';
    return @points;
}

sub killed ($server, $store, $point, $old, $new, @install) {
    my $name = Ecert::Strace->name($point);
    my ($status) = Ecert::Strace->run($point, 'signal=KILL', $ecert, @install,
        '--store', $store->dir);
    is $status, 137, "$name: killed";
    my $now = join ',', served($server->port, $site);
    ok $now eq line($old) || $now eq line($new),
        "$name: the old or the new one with its chain";
    my ($again, $out) = ecert($store, @install);
    is $again, 0, "$name: the same again" or diag $out;
    becomes($server, $site, $new, "$name: the new one is served");
}

sub nobody_noticed ($report, $right) {
    is_deeply $report->{failures}, [], 'no handshake or request failed';
    my @sent = keys %{ $report->{certificates} };
    is_deeply [grep { !$right->{$_} } @sent], [], 'no other leaf or chain';
    cmp_ok scalar @sent, '>', 3, 'several were seen';
    note "$report->{handshakes} handshakes";
}
