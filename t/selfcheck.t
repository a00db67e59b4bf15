#!/usr/bin/perl

# The agent's own look at what its server sends: after each swap, at every
# address, and a difference that stands for more than a minute is told.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Client;
use Ecert::Live;
use Ecert::PKI;
use Ecert::Responder;
use Ecert::Server;
use Ecert::Store;
use Ecert::Test;

faketime() or plan skip_all => 'needs the package libfaketime';

# The agent's minute, in seconds of ours; the kernel's deadlines stay.
my $speed = 10;
my $patience = 60;
my $pki = Ecert::PKI->new;
my ($sub, $cross) = ($pki->sub, $pki->cross);
my @good = ('good.example.hk', '*.wild.example.hk', 'asks.example.hk');
my $taken = 'taken.example.hk';
my $proxied = 'proxied.example.hk';
my $other = $pki->leaf(names => [$taken]);
my $responder = Ecert::Responder->new($sub);

for my $kind (servers()) {
    subtest $kind => sub { looked_at($kind) };
    subtest "$kind, all addresses" => sub { everywhere($kind) };
    subtest "$kind, ecert_fetch off" => sub { off($kind) };
}
done_testing;

# The agent with a faster clock.
sub agent {
    state $file = command_at("FAKETIME='+0 x$speed'");
    return $file;
}

# Each asking is a process: not a hundred times a second.
sub seen ($server, $site) {
    select undef, undef, undef, 0.2;
    return status_of($server, $site)->{served} // {};
}

# Waits until it is in this state, at every address where it is the good one;
# returns the addresses.
sub is_seen ($server, $site, $state, $what) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $last;
    wait_for(sub {
        $last = seen($server, $site);
        return ($last->{state} // '') eq $state && ($state ne 'as-published'
            || !grep { $_->{state} ne $state } @{ $last->{addresses} });
    }, $patience);
    is $last->{state}, $state, $what or diag explain $last;
    return @{ $last->{addresses} // [] };
}

sub vhosts ($server, @more) {
    return [
        @more,
        { names => [$good[0], 'www.good.example.hk'], ecert => $good[0],
            listen => ['https', 'https-second'] },
        { names => $server eq 'nginx' ? [$good[1]] : [], ecert => $good[1],
            apache => "ServerAlias $good[1]" },
        { names => [$good[2]], ecert => $good[2], listen => 'https-asks',
            client_ca => $pki->root, nginx => 'ssl_protocols TLSv1.2;',
            apache => 'SSLProtocol -all +TLSv1.2' },
        { names => [$taken], ecert => $taken },
        { names => [$proxied], ecert => $proxied,
            $server eq 'nginx' ? () : (listen => 'https-proxied'),
            apache => 'RemoteIPProxyProtocol On', nginx => 'listen 127.0.0.1:'
                . Ecert::Server::_free_port() . ' ssl proxy_protocol;' },
    ];
}

sub looked_at ($kind) {
    my $store = Ecert::Store->new->add_issuers($sub, $cross);
    my %leaf = map { $_ => $pki->leaf(names =>
        [$_ eq $good[0] ? ($_, 'www.good.example.hk') : $_],
        extensions => $_ eq $good[0] ? $responder->aia : []) }
        @good, $taken, $proxied;
    $responder->stop;
    $responder->knows($leaf{$good[0]})->start;
    $store->install($_, $leaf{$_}) for keys %leaf;
    # The stock one of the same name comes first: the server takes that.
    my $server = Ecert::Server->new($kind, store => $store, agent => agent(),
        conf => { ecert_fetch => ['on', 'allow=127.0.0.0/8'] },
        vhosts => vhosts($kind, { names => [$taken], cert => $other }))->start;

    for my $site (@good) {
        my @all = is_seen($server, $site, 'as-published', "$site: as published");
        is_deeply [map { $_->{sha256} } @all],
            [($leaf{$site}->fingerprint) x ($site eq $good[0] ? 2 : 1)],
            'at each address, the leaf';
        is $all[0]{elements}, 3, 'with its chain';
        like $all[0]{compared}, qr/^20\d\d-\d\d-\d\dT/, 'and when';
    }
    is_deeply [sort map { $_->{address} } @{ seen($server, $good[0])
            ->{addresses} }], [sort map { '127.0.0.1:' . $server->port($_) }
        qw(https https-second)], 'both addresses';
    is seen($server, $good[1])->{addresses}[0]{name},
        'ecert-probe.wild.example.hk', 'a wildcard is asked for one of its names';
    proxied($server);

    my $new = $pki->leaf(names => [$good[1]]);
    $store->install($good[1], $new);
    ok wait_for(sub {
        my ($at) = @{ seen($server, $good[1])->{addresses} };
        return $at->{state} eq 'as-published'
            && $at->{sha256} eq $new->fingerprint;
    }, $patience), 'after a swap: the new one';
    differs($server, $leaf{$taken});
    is_deeply [map { complaints($server, $_) } @good], [],
        'nothing is said of the others';
    unlike slurp("$server->{dir}/access.log") // '', qr/./,
        'the access log has nothing of it';

    my ($status, $text) = install($server, $taken);
    is $status, 1, 'install --wait is not content with another certificate';
    like $text, qr/not-served: .*127\.0\.0\.1:\d+ another certificate is sent/,
        'and names the address';

    $server->write_config(vhosts => vhosts($kind));
    $server->reload;
    is_seen($server, $taken, 'as-published', 'mended and reloaded: as published');
    # The response is in the store by now, and in hand before the look.
    my ($at) = is_seen($server, $good[0], 'as-published', 'as is the first');
    ok $at->{stapled}, 'which is stapled';
    ($at) = is_seen($server, $good[1], 'as-published', 'and the wildcard');
    ok !$at->{stapled}, 'which names no responder';
    stopped($server, $store);
}

sub proxied ($server) {
    my @all = @{ seen($server, $proxied)->{addresses} };
    my ($one) = grep { $_->{state} eq 'not-compared' } @all;
    like $one->{reason}, qr/PROXY protocol/, 'PROXY protocol: said, not tried';
    is scalar(@all), $server->kind eq 'nginx' ? 2 : 1,
        'and the other address is looked at';
    my ($status, $text) = install($server, $proxied);
    is $status, 0, 'install --wait does not try it either' or diag $text;
    unlike slurp($server->error_log),
        qr/broken header|remoteip:error/, 'the log is clean';
}

# The certificate of a name anew.
sub install ($server, $name) {
    my ($cert, $key) = map { tmp() . "/new.$_" } qw(pem key);
    my $leaf = $pki->leaf(names => [$name]);
    $leaf->file($cert);
    $leaf->key_file($key);
    return run("$server->{build}/ecert", 'install', '--store',
        $server->{store}->dir, '--wait', '--timeout', 1, $name, $cert, $key);
}

sub differs ($server, $leaf) {
    my ($at) = is_seen($server, $taken, 'differs', 'another virtual host');
    is $at->{sha256}, $other->fingerprint, 'status says what is sent';
    my $what = qr/another certificate is sent, SHA-256 \Q@{[
        substr $other->fingerprint, 0, 16]}\E, and \Q@{[
        substr $leaf->fingerprint, 0, 16]}\E is published/;
    like $at->{difference}, $what, 'in words';
    my $where = '127.0.0.1:' . $server->port;
    my $line = told($server, $taken, 'differs',
        "$where, asked for $taken", 'the log has it');
    my @lines = grep { /: differs: / } complaints($server, $taken);
    is @lines, 1, 'once';
    like $lines[0], qr/ecert verify --connect \Q$where $taken\E/,
        'and what to do';
    my ($status, $out) = run("$server->{build}/ecert", 'status', '--store',
        $server->{store}->dir, $taken);
    is $status, 1, 'the exit code tells';
    like $out, qr/served +differs at \Q$where for $taken\E since 20\S+: $what/,
        'in the text';
    like $out =~ s/\s+/ /gr, qr/next: At \Q$where\E something else is sent/,
        'the next step';
    ($status, $out) = run("$server->{build}/ecert", 'verify', '--store',
        $server->{store}->dir, '--connect', $where, $taken);
    is $status, 1, 'ecert verify sees it, too';
}

# Nobody answers: no difference, and no word in the log.
sub stopped ($server, $store) {
    my @workers = $server->workers;
    $server->mark;
    kill 'STOP', @workers;
    $store->install($good[0], $pki->leaf(names => [$good[0],
        'www.good.example.hk']));
    my @all = is_seen($server, $good[0], 'not-compared', 'nobody answers');
    kill 'CONT', @workers;
    ok !grep({ !$_->{reason} } @all), 'with the reason';
    is_deeply [complaints($server, $good[0])], [], 'not an error';
}

# What listens at all addresses is looked at through the loopback ones, unless
# another virtual host stands there.
sub everywhere ($kind) {
    my $store = Ecert::Store->new->add_issuers($sub, $cross);
    my %name = map { $_ => "$_.example.hk" } qw(four six hidden front
        away);
    $store->install($_, $pki->leaf(names => [$_])) for values %name;
    my ($six, $hidden) = map { Ecert::Server::_free_port() } 1 .. 2;
    my @raw = (["[::]:$six", $name{six}], ["127.0.0.1:$hidden", $name{front}]);
    # Apache starts with an address that the machine does not have.
    push @raw, ["192.0.2.1:$hidden", $name{away}] if $kind eq 'apache';
    my $server = Ecert::Server->new($kind, store => $store, agent => agent(),
        conf => { ecert_fetch => 'on' }, address => '0.0.0.0',
        ports => { 'https-hidden' => $hidden }, http => {
            nginx => join('', map { "server { listen $_->[0] ssl; server_name "
                . "$_->[1]; ecert $_->[1]; }\n" } @raw),
            apache => join('', "Listen [::]:$six\n", map {
                "<VirtualHost $_->[0]>\nServerName $_->[1]\nSSLEngine on\n"
                . "ECert $_->[1]\n</VirtualHost>\n" } @raw) },
        vhosts => [{ names => [$name{four}], ecert => 'on' },
            { names => [$name{hidden}], ecert => 'on',
                listen => 'https-hidden' }])->start;
    my ($at) = is_seen($server, $name{four}, 'as-published', '0.0.0.0');
    is $at->{address}, '127.0.0.1:' . $server->port, 'at 127.0.0.1';
    ($at) = is_seen($server, $name{six}, 'as-published', '[::]');
    is $at->{address}, "[::1]:$six", 'at [::1]';
    is_seen($server, $name{front}, 'as-published', 'the loopback address itself');
    ($at) = is_seen($server, $name{hidden}, 'not-compared', 'all, and hidden');
    like $at->{reason}, qr/another virtual host listens/, 'with the reason';
    return if $kind ne 'apache';
    ($at) = is_seen($server, $name{away}, 'not-compared', 'not an address here');
    like $at->{reason}, qr/no address of this machine/, 'no other is asked';
}

sub off ($kind) {
    my $store = Ecert::Store->new->add_issuers($sub, $cross);
    $store->install($good[0], $pki->leaf(names => [$good[0]]));
    my $server = Ecert::Server->new($kind, store => $store,
        vhosts => [{ names => [$good[0]], ecert => 'on' }])->start;
    my ($at) = is_seen($server, $good[0], 'not-compared', 'not compared');
    like $at->{reason}, qr/ecert_fetch is off/, 'with the reason';
    my ($status) = run("$server->{build}/ecert", 'status', '--store',
        $store->dir, $good[0]);
    is $status, 0, 'which is no error';
}
