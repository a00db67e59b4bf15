#!/usr/bin/perl

# A virtual host that requires client certificates: none without one gets its
# content, also not with a session that was made elsewhere, before or after a
# swap.  Compared with the same server without the module.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Client;
use Ecert::PKI;
use Ecert::Server;
use Ecert::Store;
use Ecert::Test;

my ($open, $closed, $other) = map { "$_.example.hk" } qw(open closed other);
my $pki = Ecert::PKI->new;
my $client = $pki->client;
my $stranger = $pki->stranger;
my $foreign = $pki->issue(subject => [[CN => 'A stranger']],
    issuer => $stranger, eku => 'clientAuth', not_before => time - 3600,
    not_after => time + 86400);
my %ways = (
    'TLS 1.2, session ids' => { version => '1.2', no_tickets => 1 },
    'TLS 1.2, tickets' => { version => '1.2' },
    'TLS 1.3' => { version => '1.3' },
);

for my $kind (servers()) {
    for my $first ($open, $closed) {
        subtest "$kind, $first is the default" => sub { run_all($kind, $first) };
    }
}
done_testing;

sub run_all ($kind, $first) {
    my $store = Ecert::Store->new->add_issuers($pki->sub, $pki->cross);
    my $leaf = new_leaf();
    $store->install($open, $leaf);
    my %ca = ($closed => $pki->client_ca, $other => $stranger);
    my @names = sort { ($b eq $first) <=> ($a eq $first) }
        $open, $closed, $other;
    my $server = Ecert::Server->new($kind, store => $store, vhosts => [
        map { +{ names => [$_], client_ca => $ca{$_}, ecert => $open } } @names
    ])->start;
    my $stock = Ecert::Server->new($kind, ecert => 0, vhosts => [
        map { +{ names => [$_], client_ca => $ca{$_}, cert => $leaf } } @names
    ])->start;

    for my $when ('at first', 'after a swap') {
        for my $way (sort keys %ways) {
            full($server, $when, $way);
            is_deeply [offers($server, $when, $way)],
                [offers($stock, $when, $way)],
                "$when, $way: sessions are worth what they are to stock";
        }
        swap($server) if $when eq 'at first';
    }
}

sub new_leaf { return $pki->leaf(names => [$open, $closed, $other]) }

sub ask ($server, $name, $way, %o) {
    return handshake($server->port, name => $name, %{ $ways{$way} }, %o);
}

sub full ($server, $when, $way) {
    is ask($server, $open, $way)->{status}, 200, "$when, $way: open";
    isnt ask($server, $closed, $way)->{status} || 0, 200,
        "$when, $way: no certificate, no content";
    isnt ask($server, $closed, $way, client => $foreign)->{status} || 0, 200,
        "$when, $way: nor with one of another CA";
    my $good = ask($server, $closed, $way, client => $client);
    is "$good->{status} $good->{body}", "200 $closed\n",
        "$when, $way: with the right one there is" or diag $good->{error};
    ok $good->{session}, "$when, $way: a session comes with it";
    my $again = ask($server, $closed, $way, session => $good->{session});
    is $again->{status}, 200, "$when, $way: and with that there is, too";
    ok $again->{resumed}, "$when, $way: which was resumed"
        or diag $again->{error};
}

# Sessions made at one virtual host and offered at another, where no
# certificate is shown.
sub offers ($server, $when, $way) {
    my @lines;
    my %with = ($closed => $client, $other => $foreign);
    for my $from ($open, $closed, $other) {
        my $session = ask($server, $from, $way, client => $with{$from})
            ->{session};
        ok $session, "$when, $way: a session of $from";
        for my $to (grep { $_ ne $from } $closed, $other, $open) {
            my $got = ask($server, $to, $way, session => $session);
            my $status = $got->{status} || 'refused';
            push @lines, "$from to $to: $status";
            isnt $status, 200, "$when, $way: a session of $from is no "
                . "certificate for $to" if $from eq $open;
        }
    }
    return @lines;
}

sub swap ($server) {
    my $next = new_leaf();
    $server->{store}->install($open, $next);
    ok wait_for(sub {
        ((served($server->port, $open))[0] // '') eq $next->fingerprint;
    }), 'a swap';
}
