#!/usr/bin/perl

# The agent's processes die in turn while errands are under way: what the
# process before had open is nothing to the one that follows.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Net::SSLeay;

use Ecert::Life;
use Ecert::Server;
use Ecert::Test;
use Ecert::Web;

my $web = Ecert::Web->new(answer => sub ($method, $path, $body) {
    return sub ($client) { sleep 60 };
});
my @asks = (extensions => [
    Net::SSLeay::NID_info_access() => 'OCSP;URI:' . $web->url('/ocsp')]);
my @names = map { "s$_.example.hk" } 1 .. 8;

for my $kind (servers()) {
    subtest $kind => sub { in_turn($kind) };
}
$web->stop;
done_testing;

sub in_turn ($kind) {
    my $store = store_with($site);
    $store->install($_, pki->leaf(names => [$_], @asks)) for @names;
    my ($server) = site_server($kind, store => $store,
        conf => { ecert_fetch => ['on', 'allow=127.0.0.0/8'] },
        vhosts => [map { { names => [$_], ecert => 'on' } } $site, @names]);

    $server->start;
    is_deeply [map { killed($server, 'worker') } 1 .. 2], [100, 200],
        'each time after twice the pause, in milliseconds';
    killed($server, $_) for qw(guard worker guard worker guard);
    swaps($server, $store, 'it works');
    ok $server->stop, 'stops';
    no_agents($server, 'nothing is left');
}

# Then there are two again; a new worker asks for everything anew.
sub killed ($server, $which) {
    my ($guard, $worker) = guard_and_worker($server);
    my $pid = $which eq 'guard' ? $guard : $worker;
    my $asked = () = $web->requests;

    $server->mark;
    kill 'KILL', $pid;
    my $line = $server->wait_log($which eq 'guard' ? qr/its guard was gone/
        : qr/process $pid was killed by signal 9/, 15);
    ok $line, "$which killed: told";
    one_pair($server, 'there are two again', $pid);
    return if $which eq 'guard';
    ok wait_for(sub { $web->requests >= $asked + @names }, 15),
        'with errands under way';
    return $line && $line =~ /again in (\d+) ms/;
}
