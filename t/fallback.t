#!/usr/bin/perl

# A bad generation in the store: the one before stays, also over a restart
# and a reload; the next good one goes live.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Live;
use Ecert::PKI;
use Ecert::Server;
use Ecert::Store;
use Ecert::Test;

my $site = 'www.example.hk';
my $day = 86400;
my $pki = Ecert::PKI->new;
my @chain = ($pki->sub, $pki->cross);
my @good = map { $pki->leaf(names => [$site]) } 0 .. 3;
my %expired = (not_before => time - 9 * $day, not_after => time - $day);

# Reason word, file that the message names, arguments of Ecert::Store::install.
my @bad = (
    ['key-mismatch', 'certificate.pem', $good[0], key => $good[1]],
    ['names', 'certificate.pem', $pki->leaf(names => ['other.example.hk'])],
    ['expired', 'certificate.pem', $pki->leaf(names => [$site], %expired)],
);

for my $kind (servers()) {
    subtest "$kind, $_->[0]" => sub { bad($kind, @$_) } for @bad;
    subtest "$kind, nothing else" => sub { only_bad($kind) };
}
done_testing;

sub server ($kind, $store) {
    return Ecert::Server->new($kind, store => $store,
        vhosts => [{ names => [$site], ecert => 'on' }]);
}

sub bad ($kind, $reason, $file, $leaf, %how) {
    my $store = Ecert::Store->new->add_issuers(@chain);
    my $path = $store->site_dir($site) . "/current/$file";
    $store->install($site, $good[2]);
    my $server = server($kind, $store)->start;

    $store->install($site, $leaf, %how);
    told($server, $site, $reason, $path, 'told');
    serves($server, $site, [$good[2], @chain], 'generation 1 stays');

    for my $do (qw(reload restart)) {
        $server->mark;
        $server->$do;
        serves($server, $site, [$good[2], @chain], "also after a $do");
        told($server, $site, $reason, $path, 'told again, once');
        is scalar complaints($server, $site), 1, 'once'
            or diag join "\n", complaints($server, $site);
        my $status = status_of($server, $site);
        is $status->{error}{reason}, $reason, 'status: the reason';
        is $status->{generation}, 1, 'status: which generation';
        ok $status->{fallback}, 'status: it stands in';
    }
    $server->mark;
    is $store->install($site, $good[3]), 3, 'generation 3';
    becomes($server, $site, [$good[3], @chain], 'is live');
    is_deeply [complaints($server, $site)], [], 'nothing to complain about';
    is status_of($server, $site)->{error}, undef, 'status: no error';
    $store->current($site, 1);
    becomes($server, $site, [$good[2], @chain], 'back to generation 1');
}

# An expired one is better than a placeholder, a valid one than that.
sub only_bad ($kind) {
    my $store = Ecert::Store->new->add_issuers(@chain);
    my $old = $pki->leaf(names => [$site], %expired);
    $store->install($site, $old);
    my $server = server($kind, $store)->start;

    serves($server, $site, [$old, @chain], 'an expired one');
    ok $server->wait_log(qr/site \Q$site\E: expired: /), 'told';
    is status_of($server, $site)->{state}, 'expired', 'status: expired';
    $store->install($site, $good[2]);
    becomes($server, $site, [$good[2], @chain], 'a valid one');
    is status_of($server, $site)->{state}, 'valid', 'status: valid';
}
