#!/usr/bin/perl

# Sessions: those from before a swap go on, one site's are worth to another
# what the stock server lets them be worth, and in the middle of a connection
# the certificate never changes.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Client;
use Ecert::Connection;
use Ecert::PKI;
use Ecert::Server;
use Ecert::Store;
use Ecert::Test;

my ($a, $also_a, $b) = map { "$_.example.hk" } qw(a also-a b);
my %ways = (
    'TLS 1.2, session ids' => { version => '1.2', no_tickets => 1 },
    'TLS 1.2, tickets' => { version => '1.2' },
    'TLS 1.3' => { version => '1.3' },
);
my $pki = Ecert::PKI->new;
my $client = $pki->client;
my $client_ca = $pki->client_ca->file(tmp() . '/client-ca.pem');

for my $kind (servers()) {
    subtest $kind => sub {
        my $store = Ecert::Store->new->add_issuers($pki->sub, $pki->cross);
        my %leaf = ($a => new_leaf($a, $also_a), $b => new_leaf($b));
        $store->install($_, $leaf{$_}) for keys %leaf;
        my $server = Ecert::Server->new($kind, store => $store, http => {
            apache => 'Header always set X-Server "%{SSL_SERVER_M_SERIAL}s '
                . '%{SSL_SERVER_S_DN}s %{SSL_SERVER_I_DN}s"',
        }, vhosts => [
            { names => [$a], ecert => 'on', apache => verify('/closed') },
            { names => [$also_a], ecert => $a },
            { names => [$b], ecert => 'on' },
        ])->start;
        my $stock = Ecert::Server->new($kind, ecert => 0, vhosts => [
            { names => [$a], cert => $leaf{$a} },
            { names => [$also_a], cert => $leaf{$a} },
            { names => [$b], cert => $leaf{$b} },
        ])->start;

        is_deeply [offers($server)], [offers($stock)],
            'sessions offered to another site: as the stock server does';
        after_a_swap($server, $_) for sort keys %ways;
        is_deeply [offers($server)], [offers($stock)],
            'offered to another site after the swaps: the same';
        one_connection($server);
        renegotiated($server) if $kind eq 'apache';
        described($server) if $kind eq 'apache';
    };
}
done_testing;

sub new_leaf (@names) { return $pki->leaf(names => \@names) }

sub verify ($path) {
    return "SSLCACertificateFile $client_ca\n<Location $path>\n"
        . "SSLVerifyClient require\nSSLVerifyDepth 2\n</Location>";
}

# What becomes of each session at each vhost.
sub offers ($server) {
    my @lines;
    for my $way (sort keys %ways) {
        for my $from ($a, $also_a, $b) {
            my $first = handshake($server->port, name => $from,
                %{ $ways{$way} });
            for my $to ($a, $also_a, $b) {
                my $next = handshake($server->port, name => $to,
                    session => $first->{session}, %{ $ways{$way} });
                push @lines, "$way: $from to $to: "
                    . ($next->{resumed} ? 'resumed' : 'full')
                    . " $next->{status} $next->{error}";
            }
        }
    }
    return @lines;
}

sub after_a_swap ($server, $way) {
    my @ask = ($server->port, name => $a, %{ $ways{$way} });
    my $before = handshake(@ask);
    ok !$before->{resumed}, "$way: the first handshake is a full one";
    my $again = handshake(@ask, session => $before->{session});
    ok $again->{resumed}, "$way: its session is resumed";

    my $next = new_leaf($a, $also_a);
    $server->{store}->install($a, $next);
    ok wait_for(sub {
        (served($server->port, $a))[0] eq $next->fingerprint;
    }), "$way: a swap";

    my $session = $before->{session};
    for my $n (1 .. 3) {
        my $after = handshake(@ask, session => $session);
        ok $after->{resumed}, "$way: the session of before is resumed";
        is "$after->{status} $after->{body}", "200 $a\n", "$way: and answered";
        $session = $after->{session};
    }
    my $fresh = handshake(@ask);
    ok !$fresh->{resumed}, "$way: a fresh handshake";
    is $fresh->{fingerprint}, $next->fingerprint, "$way: shows the new one";
    ok handshake(@ask, session => $fresh->{session})->{resumed},
        "$way: and its session is resumed";
}

sub one_connection ($server) {
    for my $way ('TLS 1.2, tickets', 'TLS 1.3') {
        my %way = %{ $ways{$way} };
        my $old = (served($server->port, $a))[0];
        my ($plain, $closed) = map { Ecert::Connection->new($server->port,
            tls => 1, name => $a, client => $client, post_auth => 1, %way) }
            1 .. 2;
        is status($_, '/'), 200, "$way: a connection" for $plain, $closed;

        my $next = new_leaf($a, $also_a);
        $server->{store}->install($a, $next);
        ok wait_for(sub {
            (served($server->port, $a))[0] eq $next->fingerprint;
        }), "$way: a swap meanwhile";

        is status($plain, '/'), 200, "$way: it goes on";
        is peer($plain), $old, "$way: with its certificate";
        # In TLS 1.2 the server renegotiates for this, in 1.3 it asks once more.
        is status($closed, '/closed'), 404, "$way: the certificate asked for"
            if $server->kind eq 'apache';
        is peer($closed), $old, "$way: and again it is the old one";
        ok Net::SSLeay::total_renegotiations($closed->{ssl}), "$way: renegotiated"
            if $server->kind eq 'apache' && $way =~ /1\.2/;

        renegotiate($server, $plain, $old) if $way =~ /1\.2/;
    }
}

# A resumed connection has shown no certificate when httpd renegotiates.
sub renegotiated ($server) {
    my @ask = ($server->port, tls => 1, name => $a, client => $client);
    for my $way (grep { /1\.2/ } sort keys %ways) {
        my $first = Ecert::Connection->new(@ask, %{ $ways{$way} });
        is status($first, '/'), 200, "$way: a connection";
        my $c = Ecert::Connection->new(@ask, %{ $ways{$way} },
            session => $first->session);
        ok $c->resumed, "$way: its session is resumed";
        is status($c, '/closed'), 404, "$way: the certificate asked for";
        ok Net::SSLeay::total_renegotiations($c->{ssl}), "$way: renegotiated";
        is peer($c), (served($server->port, $a))[0],
            "$way: with the site's certificate";
    }
}

# What httpd tells of its own certificate is the same on a resumed connection.
sub described ($server) {
    for my $way (sort keys %ways) {
        for my $name ($a, $b) {
            my $first = Ecert::Connection->new($server->port, tls => 1,
                name => $name, %{ $ways{$way} });
            my $full = of_server($first, $name);
            my $c = Ecert::Connection->new($server->port, tls => 1,
                name => $name, session => $first->session, %{ $ways{$way} });

            like $full, qr/CN=\Q$name/, "$way, $name: told by httpd";
            is of_server($c, $name), $full, 'the same of a resumed one';
            ok $c->resumed, 'which it is';
            is of_server($c, $name), $full, 'and once more';
        }
    }
}

sub of_server ($c, $name) {
    return $c->exchange('GET', "GET / HTTP/1.1\r\nHost: $name\r\n\r\n")
        ->{headers}{'x-server'};
}

sub status ($c, $path) {
    return $c->exchange('GET', "GET $path HTTP/1.1\r\nHost: $a\r\n\r\n")
        ->{status};
}

sub peer ($c) { return { $c->facts }->{fingerprint} }

# Neither server lets a client ask for it; nobody gets the new certificate.
sub renegotiate ($server, $c, $old) {
    Net::SSLeay::renegotiate($c->{ssl});
    is status($c, '/'), 0, 'a renegotiation that the client wants: refused';
    is peer($c), $old, 'and no other certificate was seen';
    is handshake($server->port, name => $a)->{status}, 200,
        'the server goes on';
}
