#!/usr/bin/perl

# Who fetched a validation file: what `ecert dcv list` and `ecert status` say
# of it, over every protocol, of hostile clients, while the agent is stopped,
# and over its death and a reload.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;

use Ecert::Client;
use Ecert::Command;
use Ecert::DCV;
use Ecert::Life;
use Ecert::Server;
use Ecert::Store;
use Ecert::Test;

my $host = 'www.example.hk';
my $other = 'other.example.hk';
my $path = "$prefix/fileauth.txt";
my $code = 'the code';
my $modules = $ENV{ECERT_APACHE_MODULES} || '/usr/lib/apache2/modules';

for my $kind (servers()) {
    subtest $kind => sub {
        my $store = Ecert::Store->new;
        $store->put_token($_, 'fileauth.txt', $code) for $host, $other;
        my $server = Ecert::Server->new($kind, store => $store, vhosts => [
            { names => [$host], listen => 'http' },
            { names => [$host], listen => 'https', ecert => 'on' },
        ]);
        my $v6 = '[::1]:' . $server->port('http');
        $server->{vhosts}[0]{nginx} = "listen $v6; "
            . 'set_real_ip_from 127.0.0.1; real_ip_header X-Test;';
        $server->{http} = { apache => "Listen $v6\n"
            . "LoadModule remoteip_module $modules/mod_remoteip.so\n"
            . 'RemoteIPHeader X-Test' };
        $server->write_config;
        $server->start;

        not_yet($store);
        protocols($store, $server);
        networks($store, $server);
        behind_a_proxy($kind, $store, $server);
        hostile_agents($store, $server);
        flooded($store, $server);
        stopped($store, $server);
        goes_on($store, $server);
        another_code($store, $server);
        broken($store, $server);
        switched_off($store, $server);
    };
}
done_testing;

# What the server says of a file.
sub fetched ($store, $of = $host) {
    my $list = ecert_json($store, 'dcv', 'list');
    my ($file) = grep { $_->{host} eq $of } @{ $list->{validation_files} };
    return { %{ $file->{fetched}[0] }, lost => $list->{fetches_lost} };
}

# Its last fetch, in one line.
sub last_fetch ($store) {
    my $last = fetched($store)->{last}[0];
    return join ' ', map { $last->{$_} // '-' }
        qw(address scheme method status bytes agent);
}

# curl, from this address: its exit status.
sub curl ($from, $port, @more) {
    my $url = $from =~ /:/ ? "http://[::1]:$port" : "http://127.0.0.1:$port";
    my ($status, $out) = run('curl', '-sS', '-g', '--interface', $from,
        '-o', '/dev/null', '-H', "Host: $host", '-A', 'test', @more,
        "$url$path");
    diag $out if $status;
    return $status;
}

# Times are in seconds: of two fetches by two workers in the same one, either
# may be the last.
sub next_second () {
    my $now = time;
    wait_for(sub { time > $now });
}

sub not_yet ($store) {
    my $now = fetched($store);
    is_deeply [@$now{qw(times https refused networks last lost)}],
        [0, 0, 0, 0, [], 0], 'not fetched yet';
    ok $now->{since} && !$now->{first}, 'but it is known since when';
    my ($status, $out) = ecert($store, 'dcv', 'list', $host);
    like $out, qr/^    not fetched yet; fetches are seen since \d{4}-\d\d-\d\d /m,
        'in words';
    like $out, qr/^    try it .*: ecert dcv check \Q$host\E$/m, 'what to do';
}

sub protocols ($store, $server) {
    my ($http, $https) = map { $server->port($_) } qw(http https);
    my %agent = (headers => { 'user-agent' => 'DCV/1.0 (+test)' });
    my @ask = (host => $host, path => $path);

    request($http, @ask, %agent);
    is last_fetch($store), '127.0.0.1 http GET 200 8 DCV/1.0 (+test)', 'http';
    request($https, @ask, tls => 1);
    is last_fetch($store), '127.0.0.1 https GET 200 8 -', 'https, no agent';
    h2_request($https, @ask, %agent);
    is last_fetch($store), '127.0.0.1 https GET 200 8 DCV/1.0 (+test)', 'h2';
    request($http, @ask, method => 'HEAD');
    is last_fetch($store), '127.0.0.1 http HEAD 200 0 -', 'HEAD';
    request($http, @ask, method => 'POST');
    is last_fetch($store), '127.0.0.1 http other 405 0 -', 'POST';
    is curl('::1', $http), 0, 'IPv6 works here';
    is last_fetch($store), '::1 http GET 200 8 test', 'IPv6';
    get($http, $host, "$prefix/none.txt");
    get($http, $host, $path =~ s/fi/%66i/r);
    is last_fetch($store), '::1 http GET 200 8 test',
        'what is not answered leaves no trace';

    my $now = fetched($store);
    is_deeply [@$now{qw(times https refused networks lost)}], [5, 2, 1, 2, 0],
        'counted';
    ok $now->{first} && $now->{first} ge $now->{since}, 'with the first time';
    is fetched($store, $other)->{times}, 0, 'of another host: nothing';
}

sub networks ($store, $server) {
    my $http = $server->port('http');
    curl("127.0.$_.7", $http) for 1 .. 3;
    next_second();
    curl('127.0.3.8', $http);
    is fetched($store)->{networks}, 5, 'two addresses of one network count once';
    for my $command (['dcv', 'list'], ['status']) {
        my ($status, $out) = ecert($store, @$command);
        like $out, qr/^\ {4}fetched\ 9\ times\ from\ 5\ networks,\ 1\ refused\ for
            \ its\ method,\ last\ [-\d]{10}\ \d\d:\d\d\ UTC\ from\ 127\.0\.3\.[78]
            \ \(http,\ 200,\ 8\ bytes,\ agent\ "test"\)$/mx, "@$command";
    }
    my ($status, $out) = ecert($store, 'dcv', 'list', $host);
    is scalar(() = $out =~ /^      before  /mg), 7, 'each of the last eight';
    like $out, qr/from ::1 \(http, 200/, 'also by IPv6';
    ($status, $out) = ecert($store, 'status', '--explain', $host);
    is scalar(() = $out =~ /^      before  /mg), 7, 'status --explain, too';
    unlike $out, qr/$other/, 'with NAME, of this site alone';
    my $named = ecert_json($store, 'status', $host)->{servers}[0];
    is_deeply [map { $_->{host} } @{ $named->{validation_files} }], [$host],
        'the same as JSON';
}

# As documented: what the proxy says counts in Apache alone.
sub behind_a_proxy ($kind, $store, $server) {
    request($server->port('http'), host => $host, path => $path,
        headers => { 'x-test' => '192.0.2.77' });
    is last_fetch($store), ($kind eq 'nginx' ? '127.0.0.1' : '192.0.2.77')
        . ' http GET 200 8 -', 'the address of a client behind a proxy';
}

# A server may refuse the request; what it answers must be shown safely.
sub hostile_agents ($store, $server) {
    my $http = $server->port('http');
    my $answered = 0;
    my $networks = fetched($store)->{networks};
    for my $agent ("\e]0;x\a\e[2J", 'x", 200, 8 bytes) from 1.2.3.4', "a\xff\xfe",
        "\xc2\x9b31m", "\xe2\x80\xae back", '\\x41 \\', 'x' x 3000, "\t",
        "%s%n\x7f", "caf\xc3\xa9")
    {
        next_second() if $agent =~ /^caf/;
        my $answer = raw_request($http, "GET $path HTTP/1.1\r\nHost: $host\r\n"
            . "User-Agent: $agent\r\nConnection: close\r\n\r\n");
        $answered++ if $answer->{status} == 200;
    }
    cmp_ok $answered, '>=', 6, 'most of them are answered';
    my ($status, $json) = ecert($store, 'dcv', 'list', '--json');
    my ($bad, $text) = ecert($store, 'dcv', 'list', $host);
    unlike $_, qr/[^\n\x20-\x7e\xc3\xa9]/, 'nothing but text' for $json, $text;
    like $text, qr/agent "caf\xc3\xa9"/, 'UTF-8 stays';
    my @all = map { $_->{agent} // '' } @{ fetched($store)->{last} };
    ok !(grep { length > 4 * 79 } @all), 'cut';
    for my $one (map { raw_of($http, $_) } 'a" (b', "\\\e") {
        ($status, $text) = ecert($store, 'dcv', 'list', $host);
        like $text, qr/last .*agent "(?:[^"\\]|\\x[0-9a-f]{2})*"\)$/m,
            'one pair of quotes, and no loose backslash';
    }
    is fetched($store)->{networks}, $networks, 'still the same networks';
}

sub raw_of ($http, $agent) {
    return raw_request($http, "GET $path HTTP/1.1\r\nHost: $host\r\n"
        . "User-Agent: $agent\r\nConnection: close\r\n\r\n");
}

# Whoever asks for the file again and again does not make others forgotten.
sub flooded ($store, $server) {
    my $http = $server->port('http');
    is curl('127.0.77.7', $http, '-A', 'CA-validator/1.0'), 0, 'the CA\'s';
    my $n = 5000;
    is pipelined($http, $n, 2), $n, "$n requests by somebody else";
    my $now = fetched($store);
    ok scalar(grep { ($_->{agent} // '') eq 'CA-validator/1.0' }
        @{ $now->{last} }, @{ $now->{earlier} }), 'it is still known';
    my ($status, $out) = ecert($store, 'dcv', 'list', $host);
    like $out, qr/^ {6}earlier .* from 127\.0\.77\.7 .*"CA-validator/m,
        'in words';
}

# Nobody waits for the agent: what it cannot take is counted.
sub stopped ($store, $server) {
    my $before = fetched($store);
    my @agents = $server->agents;
    my $n = 10_000;

    kill 'STOP', @agents;
    is pipelined($server->port('http'), $n, 4), $n,
        "$n requests are answered while the agent is stopped";
    kill 'CONT', @agents;
    my $after;
    ok wait_for(sub {
        $after = fetched($store);
        $after->{times} + $after->{lost}
            == $before->{times} + $before->{lost} + $n;
    }), 'each is counted, or known to be lost'
        or diag "$after->{times} $after->{lost}, before $before->{times}";
    cmp_ok $after->{lost}, '>', $before->{lost}, 'some are lost';
    cmp_ok $after->{times} - $before->{times}, '>=', 500, 'many are not';
    my ($status, $out) = ecert($store, 'dcv', 'list');
    like $out, qr/^  $after->{lost} fetches more came faster /m, 'in words';
}

# As many requests over a few connections: the number of good answers.
sub pipelined ($port, $n, $connections) {
    my $good = 0;
    my $request = "GET $path HTTP/1.1\r\nHost: $host\r\n\r\n";
    for (1 .. $connections) {
        my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
            PeerPort => $port, Timeout => 10) or return "no connection: $@";
        for (1 .. $n / $connections / 50) {
            print $socket $request x 50;
            my ($text, $seen) = ('', 0);
            while ($seen < 50 && sysread $socket, $text, 65536, length $text) {
                $seen = () = $text =~ /\Q$code\E/g;
            }
            $good += () = $text =~ m{HTTP/1\.1 200 }g;
        }
    }
    return $good;
}

# Nothing is lost with the agent's death, nor with a reload.
sub goes_on ($store, $server) {
    my $http = $server->port('http');
    my $before = fetched($store);
    my $times = $before->{times};

    get($http, $host, $path) for 1 .. 3; # which this agent will not see
    my ($guard, $worker) = guard_and_worker($server);
    kill 'KILL', $worker;
    one_pair($server, 'the agent comes back', $worker);
    ok wait_for(sub { (quietly(sub { fetched($store)->{times} }) // 0)
        == $times + 3 }), 'and knows of all fetches';

    get($http, $host, $path) for 1 .. 4;
    ok $server->reload, 'reload';
    get($http, $host, $path) for 1 .. 5;
    my $after;
    ok wait_for(sub {
        $after = quietly(sub { fetched($store) }) // {};
        ($after->{times} // 0) == $times + 12;
    }), 'and so does the next one' or diag $after->{times} // 'nothing';
    is_deeply [@$after{qw(lost first since networks)}],
        [@$before{qw(lost first since networks)}], 'all of it';
}

# A new code begins at nothing; one that is removed is forgotten.
sub another_code ($store, $server) {
    my $http = $server->port('http');
    $store->put_token($host, 'fileauth.txt', 'another code');
    ok wait_for(sub { get($http, $host, $path)->{body} eq 'another code' }),
        'another code';
    my $now = fetched($store);
    ok $now->{times} >= 1 && $now->{times} < 200, 'begins at nothing'
        or diag $now->{times};
    is $now->{last}[0]{bytes}, 12, 'its own bytes';
    $store->remove_token($host, 'fileauth.txt');
    ok wait_for(sub { get($http, $host, $path)->{status} == 404 }), 'removed';
    my ($status, $out) = ecert($store, 'status', '--json');
    unlike $out, qr/127\.0\.0\.1/, 'and no address is kept';
}

# What the server itself refuses is no fetch, although the file is ours.
sub broken ($store, $server) {
    my $http = $server->port('http');
    my $head = "POST $path HTTP/1.1\r\nHost: $host\r\nConnection: close\r\n"
        . "Transfer-Encoding: chunked\r\n\r\n";
    $store->put_token($host, 'fileauth.txt', $code);
    ok wait_for(sub { get($http, $host, $path)->{body} eq $code }), 'a file';
    my $before = fetched($store)->{refused};
    is raw_request($http, $head . "no number\r\n")->{status}, 400,
        'POST with a body that cannot be read';
    is fetched($store)->{refused}, $before, 'is not shown';
    is raw_request($http, $head . "1\r\nx\r\n0\r\n\r\n")->{status}, 405,
        'with one that can';
    is fetched($store)->{refused}, $before + 1, 'it is';
}

# Nobody's address survives a configuration that answers for nothing.
sub switched_off ($store, $server) {
    my $http = $server->port('http');
    cmp_ok fetched($store)->{times}, '>', 0, 'a file that was fetched';
    for my $value (qw(off on)) {
        $server->write_config(conf => { ecert_dcv => $value });
        ok $server->reload, "ecert_dcv $value";
    }
    my $now;
    ok wait_for(sub { $now = quietly(sub { fetched($store) }) }), 'told again';
    is $now->{times}, 0, 'nothing is left of it';
    is get($http, $host, $path)->{body}, $code, 'it is answered as before';
}
