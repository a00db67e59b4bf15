package Ecert::Torture::Network;

# Those whom the agent asks, while certificates are swapped.

use v5.36;

use IO::Socket::INET;
use Socket qw(SOL_SOCKET SO_LINGER);
use Time::HiRes ();

use Ecert::Life qw($site pki);
use Ecert::Responder;
use Ecert::Staples ();
use Ecert::Test;
use Ecert::Torture::Resolver;
use Ecert::Web;

# What comes instead of an OCSP response.
my %answer = (
    hang => sub ($c) { sleep 60 },
    reset => sub ($c) {
        setsockopt $c, SOL_SOCKET, SO_LINGER, pack 'll', 1, 0;
        close $c;
    },
    trickle => sub ($c) { for my $byte (split //, Ecert::Web::ok('x' x 2000)) {
        syswrite $c, $byte;
        sleep 1;
    } },
    headers => sub ($c) {
        syswrite $c, "HTTP/1.1 200 OK\r\n";
        1 while syswrite $c, 'X-More: ' . 'x' x 8000 . "\r\n";
    },
    endless => sub ($c) {
        syswrite $c, "HTTP/1.1 200 OK\r\n"
            . "Content-Type: application/ocsp-response\r\n\r\n";
        1 while syswrite $c, "\x30" x 65536;
    },
    'gzip-bomb' => sub ($c) {
        syswrite $c, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n"
            . "Content-Type: application/ocsp-response\r\n\r\n";
        open my $zeros, '-|', 'sh', '-c', 'head -c 300000000 /dev/zero | gzip'
            or return;
        while (read $zeros, my $bytes, 65536) {
            syswrite $c, $bytes or last;
        }
    },
    redirects => sub ($c) {
        syswrite $c, Ecert::Web::status(302, 'Location: /redirects');
    },
    empty => Ecert::Web::status(204),
    error => Ecert::Web::status(500),
    html => Ecert::Web::ok('<html>Please log in</html>', 'text/html'),
    garbage => Ecert::Web::ok(join('', map { chr int rand 256 } 1 .. 3000),
        'application/ocsp-response'),
    'try-later' => Ecert::Web::ok("\x30\x03\x0a\x01\x03",
        'application/ocsp-response'),
    unauthorized => Ecert::Web::ok("\x30\x03\x0a\x01\x06",
        'application/ocsp-response'),
);

return [
    { name => 'responders', ci => 1, run => sub ($t) { responders($t) },
        what => 'OCSP responders that refuse, hang, trickle, flood, lie' },
];

# A port whose queue is full: the kernel answers no SYN there.  Good as long as
# the sockets are kept.
sub unanswered {
    my $listens = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
        Listen => 1) or die "no port: $!";
    my @to = (PeerAddr => '127.0.0.1', PeerPort => $listens->sockport);
    my @queued = map { IO::Socket::INET->new(@to, Blocking => 0) } 1 .. 8;
    Time::HiRes::sleep(0.1);
    ok !IO::Socket::INET->new(@to, Timeout => 1), 'a port without an answer';
    return { sockets => [$listens, @queued],
        url => 'http://127.0.0.1:' . $listens->sockport . '/' };
}

# As the good responder answers.
sub passed_on ($responder, $body) {
    my $to = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
        PeerPort => $responder->{port}) or return Ecert::Web::status(503);
    syswrite $to, join "\r\n", 'POST / HTTP/1.0',
        'Content-Type: application/ocsp-request',
        'Content-Length: ' . length $body, '', $body;
    local $/;
    return scalar readline($to) // '';
}

# The responder is in order again: who asks it next has a staple.
sub in_order_again ($t, $responder, $good, $aia) {
    my $host = 'error.example.hk';
    my $leaf = $t->leaf($host, @$aia);
    $responder->knows($leaf)->start;
    in_place($good);
    $t->store->install($host, $leaf);
    $t->goes_live($leaf, 'a good answer: renewed', $host, 'recovered');
    my $wanted = Ecert::Staples::good($leaf);
    my $got = '';
    # The others may hold all errands up, for half a minute.
    my $took = took(sub {
        ($got = Ecert::Staples::staple($t->server, $host)) eq $wanted }, 40);
    ok defined $took, 'and stapled' or diag $got;
    $t->figure('stapled', $took);
}

sub in_place ($file) {
    open my $out, '>', $file or die "$file: $!";
    close $out;
}

sub responders ($t) {
    my $responder = Ecert::Responder->new(pki->sub);
    my $good = tmp() . "/$t->{name}-good";
    my $web = Ecert::Web->new(answer => sub ($method, $path, $body) {
        ($path, $body) = Ecert::Web::asked($method, $path, $body);
        return passed_on($responder, $body) if $path eq '/error' && -e $good;
        return $answer{ $path =~ s{^/}{}r } // Ecert::Web::status(404);
    });
    my $unanswered = unanswered();
    # Later than the agent waits with a new certificate.
    my $names = Ecert::Torture::Resolver->new('slow.example.hk' => 4)
        or $t->remark('without a slow name server');
    my %url = ((map { $_ => $web->url("/$_") } keys %answer),
        refused => 'http://127.0.0.1:1/', unknown => 'http://none.invalid/',
        unanswered => $unanswered->{url}, $names
            ? (slow => 'http://slow.example.hk:' . $web->port . '/slow') : ());
    my @kinds = sort keys %url;
    my %aia = map { $_ => [extensions => [Net::SSLeay::NID_info_access() =>
        "OCSP;URI:$url{$_}"]] } @kinds;

    my $store = $t->{store} = Ecert::Store->new
        ->add_issuers(pki->sub, pki->ev, pki->cross);
    $t->install("$_.example.hk", @{ $aia{$_} }) for @kinds;
    $t->begin(conf => { ecert_fetch => ['on', 'allow=127.0.0.0/8'] },
        wrap => [$names ? $names->wrap : ()],
        vhosts => [map { +{ names => ["$_.example.hk"], ecert => 'on' } }
            @kinds]);
    for my $round (1 .. $t->times(1, 5)) {
        my %new = map { $_ => $t->install("$_.example.hk", @{ $aia{$_} }) }
            @kinds;
        $t->renew("$round: a site that asks nobody");
        for my $kind (@kinds) {
            my $took = took(sub {
                $t->serves($new{$kind}, "$kind.example.hk") }, 20);
            ok defined $took, "$round: $kind: renewed all the same";
            $t->figure('held off', $took);
        }
    }
    my ($agent, $worker) = Ecert::Life::guard_and_worker($t->server);
    ok $agent && $worker, 'the agent is there';
    ok wait_for(sub { $web->requests('/slow') }), 'a name came late'
        if $names;
    in_order_again($t, $responder, $good,
        [issuer => pki->sub, @{ $aia{error} }]);
    # Errands are under way all the time.
    $t->end(descriptors => 0);
    $responder->stop;
    $web->stop;
}
