#!/usr/bin/perl

# Two hundred sites in one server: it starts, one change goes live, and no
# other site is touched by it.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();

use Ecert::Client;
use Ecert::PKI;
use Ecert::Server;
use Ecert::Store;
use Ecert::Test;

my $n = 200;
my @names = map { sprintf 'site-%03d.example.hk', $_ } 1 .. $n;
my $pki = Ecert::PKI->new;
my %leaf = map { $_ => $pki->leaf(names => [$_]) } @names;

for my $kind (servers()) {
    subtest $kind => sub {
        my $store = Ecert::Store->new->add_issuers($pki->sub, $pki->cross);
        $store->install($_, $leaf{$_}) for @names;
        my $server = Ecert::Server->new($kind, store => $store, vhosts => [
            map { +{ names => [$_], ecert => 'on' } } @names ]);
        my $took = took(sub { $server->try_start });
        ok $server->alive, "it starts with $n sites" or diag $server->{said};
        cmp_ok $took // 9999, '<', patience(10),
            'in less than ten seconds';

        is_deeply [wrong($server)], [], 'each serves its own';
        one_change($server, $store, $names[137]);
        ca_change($server, $store);
        $server->reload;
        is_deeply [wrong($server)], [], 'each, after a reload';
        ok $server->stop, 'it stops';
    };
}
done_testing;

# The names whose certificate is not the right one.
sub wrong ($server) {
    return grep { ((served($server->port, $_))[0] // '')
        ne $leaf{$_}->fingerprint } @names;
}

# Name => number of the record that is published.
sub published ($server) {
    my ($status, $out) = run(build_dir() . '/ecert', 'status', '--json',
        '--store', $server->{store}->dir);
    my $report = JSON::PP->new->utf8->decode($out)->{servers}[0];
    return { map { $_->{site} => $_->{published} } @{ $report->{sites} } };
}

sub one_change ($server, $store, $name) {
    my $before = published($server);
    is scalar keys %$before, $n, "status tells of $n";

    $store->install($name, $leaf{$name} = $pki->leaf(names => [$name]));
    my $took = took(sub { (served($server->port, $name))[0]
        eq $leaf{$name}->fingerprint });
    ok defined $took, "a change of $name goes live";
    cmp_ok $took, '<', patience(1), 'within a second' if defined $took;
    my $after = published($server);
    is_deeply [grep { $before->{$_} != $after->{$_} } @names], [$name],
        'no other site was published again';
    is_deeply [wrong($server)], [], 'all serve their own';
}

# A CA certificate concerns all of them.
sub ca_change ($server, $store) {
    $store->remove_issuer($pki->cross);
    my @chains;
    ok wait_for(sub {
        @chains = map { scalar served($server->port, $_) } @names[0, 99, -1];
        return "@chains" eq '2 2 2';
    }), 'the cross-certificate is taken away: all chains are shorter'
        or diag "@chains";
    $store->add_issuers($pki->cross);
    ok wait_for(sub { served($server->port, $names[-1]) == 3 }),
        'and longer again when it is back';
}
