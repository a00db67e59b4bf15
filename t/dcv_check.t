#!/usr/bin/perl

# ecert dcv check, by file: what both servers answer is good, and each mistake
# that people make is called by its name.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Socket ();

use Ecert::Command;
use Ecert::DCV;
use Ecert::PKI;
use Ecert::Plain;
use Ecert::Server;
use Ecert::Store;
use Ecert::Terminal;
use Ecert::Test;

my $host = 'www.example.hk';
my $other = 'example.hk';
my $path = "$prefix/fileauth.txt";
my $code = '20261125-7c1f6b0e5d2a4938b1c6';
my $right = Ecert::Plain::response('200 OK', "$code\n");
my $closed = closed();

my $store = Ecert::Store->new;
$store->describe($host, "{\"names\": [\"$host\"]}");
$store->put_token($host, 'fileauth.txt', "$code\n");

subtest $_ => \&of_server, $_ for servers();
subtest 'mistakes' => \&mistakes;
subtest 'redirects' => \&redirects;
subtest 'too slow' => \&too_slow;
subtest 'several addresses' => \&addresses;
subtest 'many at once' => \&together;
subtest 'nothing put here' => \&not_known;
subtest 'names' => \&names;
subtest 'what is written' => \&written;
subtest 'at a terminal' => \&terminal;
subtest 'usage' => \&usage;
done_testing;

# A port where nobody listens.
sub closed {
    my $socket = IO::Socket::IP->new(LocalHost => '127.0.0.1', Listen => 1)
        or die "no port: $!";
    return '127.0.0.1:' . $socket->sockport;
}

# --resolve for one host: its places over http and https.
sub places ($http, $https = $closed, $name = $host) {
    return map { ('--resolve', $_) } "$name:80:$http", "$name:443:$https";
}

# The report of the first name, and the exit code.
sub check ($places, @args) {
    my $json = ecert_json($store, 'dcv', 'check', $host, @$places, @args);
    my $one = $json->{validation}[0] // {};
    return ($one, $json);
}

sub plain ($answer, %o) {
    my $sub = ref $answer ? $answer : sub { $answer };
    return Ecert::Plain->new(answer => $sub, %o);
}

# One answer over http alone: the state and the words of its probe.
sub says ($answer, $what, $hint, $name) {
    my $server = plain($answer);
    my ($one) = check([places($server->place)]);
    my $probe = $one->{probes}[0] // {};
    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is $one->{verdict}, 'bad', "$name: bad";
    like $probe->{what} // '', $what, 'what is wrong';
    like $probe->{hint} // '', $hint, 'what to do';
    $server->stop;
    return $probe;
}

sub of_server ($kind) {
    my $pki = Ecert::PKI->new;
    my $server = Ecert::Server->new($kind, store => $store, vhosts => [
        { names => [$host], listen => 'http' },
        { names => [$host], listen => 'https', ecert => 'on' },
        { names => [$other], listen => 'https_other',
            cert => $pki->leaf(names => [$other]),
            directives => { ecert_dcv => 'off' } },
    ]);
    $server->start;
    my ($http, $https, $wrong) = map { '127.0.0.1:' . $server->port($_) }
        qw(http https https_other);

    my ($one, $all) = check([places($http, $https)]);
    is $one->{verdict}, 'good', 'the name is good';
    ok $all->{good}, 'so all are';
    is_deeply [map { "$_->{scheme} $_->{state}" } @{ $one->{probes} }],
        ['http good', 'https good'], 'http, and https with a placeholder';
    is +(ecert($store, 'dcv', 'check', $host, places($http, $https)))[0], 0,
        'exit code 0';

    ($one) = check([places($http, $wrong)]);
    is $one->{verdict}, 'good', 'https wrong: http will do';
    like $one->{what}, qr/https gives something else/, 'with a warning';
    is $one->{probes}[1]{status}, 404, 'another virtual host';
    like $one->{probes}[1]{hint},
        qr/another virtual host .*certificate is for \Q$other\E/,
        'by its certificate';
    ($one) = check([places($closed, $wrong)]);
    is $one->{verdict}, 'bad', 'https wrong alone';
    ($one) = check([places($http, $http)]);
    like $one->{probes}[1]{what}, qr/no TLS connection/, 'http at port 443';

    $store->age_token($host, 'fileauth.txt', 31);
    ok wait_for(sub {
        ($one) = check([places($http, $https)]);
        $one->{verdict} eq 'bad';
    }), 'its 30 days are over';
    like $one->{what}, qr/the file here is not answered: its 30 days were over/,
        'which is the reason';
    $store->age_token($host, 'fileauth.txt', 0);
}

sub mistakes {
    my $html = "<!DOCTYPE html><html><body>Welcome</body></html>\n";
    my $ok = sub ($body, @headers) {
        Ecert::Plain::response('200 OK', $body, @headers);
    };

    says(Ecert::Plain::response('404 Not Found', 'no'),
        qr/status 404 \(not found\)/, qr/server with ecert/, 'not found');
    says(Ecert::Plain::response('403 Forbidden'), qr/status 403/, qr/./, '403');
    says(Ecert::Plain::response('401 Unauthorized'), qr/password is wanted/,
        qr/./, '401');
    says(Ecert::Plain::response('206 Partial Content', $code),
        qr/status 206 .*only 200/, qr/./, 'a part');
    says(Ecert::Plain::response('503 Unavailable', '', 'CF-Ray: 1-HKG'),
        qr/status 503/, qr/CDN answers \(Cloudflare\)/, 'a CDN');
    says($ok->($html), qr/status 200, but this is a web page/, qr/./,
        'a page with 200');
    says($ok->("\xef\xbb\xbf$code"), qr/byte order mark/, qr/dcv add/, 'BOM');
    says($ok->("\r\n$code"), qr/blank line/, qr/very start/, 'a line before');
    says($ok->("code: $code"), qr/6 bytes stand before/, qr/nothing else/,
        'not at the start');
    says($ok->(('x' x 150) . $code), qr/behind the first 100 bytes/, qr/./,
        'far behind');
    says($ok->("$code and more"), qr/stands behind the code/, qr/./, 'more');
    says($ok->('an-older-code'), qr/another answer.*"an-older-code"/, qr/./,
        'an older file');
    says($ok->("\e]0;x\a\xe2\x80\xaebad"), qr/"\\x1b\]0;x\\x07/, qr/./,
        'what would disturb a terminal');
    says($ok->(''), qr/answer is empty/, qr/dcv add/, 'empty');
    says($ok->("\x1f\x8b\x08xx", 'Content-Encoding: gzip'),
        qr/compressed \(gzip\)/, qr/./, 'compressed');
    says($ok->('a' x 200_000), qr/another answer/, qr/./, 'a long answer');
    says("SSH-2.0-OpenSSH_9\r\n", qr/no HTTP/, qr/what listens/, 'not HTTP');
    says('', qr/closed without an answer/, qr/./, 'closed at once');
    says("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n$code", qr/no HTTP/,
        qr/./, 'cut off');
    says(sub ($asked, @) {
        $asked eq $path ? Ecert::Plain::response('404 Not Found') : $right;
    }, qr/the path without the dot/, qr/\.well-known, with a dot/, 'no dot');
}

sub to ($where, $status = '302 Found') {
    return Ecert::Plain::response($status, '', "Location: $where");
}

sub redirects {
    my $login = "http://$host/login?next=x";
    my $probe = says(sub ($asked, @) {
        $asked eq $path ? to('/login?next=x')
            : Ecert::Plain::response('200 OK', '<html>Log in</html>');
    }, qr/a web page/, qr/redirected to a login page/, 'a login');
    is_deeply [map { "$_->{status} $_->{url}" } @{ $probe->{hops} }],
        ["302 http://$host$path", "200 $login"], 'each hop is there';

    says(sub ($asked, @) { to($asked) }, qr/round in a circle/, qr/./, 'loop');
    says(sub ($asked, @) { to("$asked+") }, qr/more than 10/, qr/./, 'endless');
    says(to("http://$host:8080/"), qr/another port/, qr/./, 'another port');
    says(to('ftp://x.hk/'), qr/neither http nor https/, qr/./, 'ftp');
    says(to('file:///etc/passwd'), qr/do not follow/, qr/./, 'a file');
    says(to('/x', '303 See Other'), qr/status 303/, qr/./, '303');
    says(Ecert::Plain::response('302 Found'), qr/no place to go/, qr/./,
        'to nowhere');
    says(to("http://127.0.0.1/"), qr/no public address/, qr/./,
        'into this machine: nobody is asked there');
    says(to("http://169.254.169.254/latest/"), qr/no public address/, qr/./,
        'to metadata of a cloud');

    for my $status (301, 302, 307, 308) {
        my $good = plain(sub ($asked, @) {
            $asked eq $path ? to('/other', "$status Moved") : $right;
        });
        my ($one) = check([places($good->place)]);
        is $one->{verdict}, 'good', "$status is followed";
        $good->stop;
    }
    elsewhere();
}

sub elsewhere {
    my $there = plain($right);
    my $page = plain(Ecert::Plain::response('200 OK', '<html>'));
    my $here = plain(to("https://$other/x"));
    my $hop = plain(to("http://$other/x"));

    my ($one) = check([places($hop->place),
        places($there->place, $closed, $other)]);
    is $one->{verdict}, 'good', 'to another host that has it';
    ($one) = check([places($hop->place), places($page->place, $closed, $other)]);
    like $one->{probes}[0]{hint}, qr/another host answers, \Q$other\E/,
        'to one that has not';
    ($one) = check([places($here->place), places($there->place, $closed,
        $other)]);
    like $one->{probes}[0]{what}, qr/nobody answers/,
        'to https, where nobody is';
    is $one->{verdict}, 'bad', 'that is bad';
    $_->stop for $there, $page, $here, $hop;
}

sub too_slow {
    my $slow = plain(sub ($asked, $host, $client) {
        for (split //, $right) {
            syswrite $client, $_ or last;
            select undef, undef, undef, 0.5;
        }
        return undef;
    });
    my $begin = time;
    my ($one) = check([places($slow->place)]);
    like $one->{probes}[0]{what}, qr/no whole answer within 5 seconds/,
        'an answer by drops';
    ok time - $begin < 12, 'it does not wait for ever';
    $slow->stop;

    # The queue of this one is full: the kernel answers no SYN any more.
    my $full = IO::Socket::IP->new(LocalHost => '127.0.0.1', Listen => 1)
        or die "no port: $!";
    my @queue = map { IO::Socket::IP->new(PeerHost => '127.0.0.1',
        PeerPort => $full->sockport, Blocking => 0) } 1 .. 4;
    select undef, undef, undef, 0.2;
    ($one) = check([places('127.0.0.1:' . $full->sockport)]);
    like $one->{probes}[0]{what}, qr/no connection within 2 seconds/,
        'no connection';
    is $one->{probes}[0]{state}, 'silent', 'that is silence';
}

sub addresses {
    my $one = plain($right);
    my $two = plain($right, address => '127.0.0.2');
    my $odd = plain(Ecert::Plain::response('200 OK', 'another'),
        address => '127.0.0.2');
    my $six = plain($right, address => '::1');

    my ($said) = check([places($one->place . ',' . $two->place)]);
    is $said->{verdict}, 'good', 'the same at both';
    is_deeply [map { $_->{address} } @{ $said->{probes} }],
        ['127.0.0.1', '127.0.0.2', '127.0.0.1'], 'each was asked';
    ($said) = check([places($one->place . ',' . $odd->place)]);
    is $said->{verdict}, 'bad', 'other bytes at one of two';
    like $said->{what}, qr/at some addresses only/, 'and so it is said';
    ($said) = check([places($one->place . ",$closed", $closed)]);
    is $said->{verdict}, 'good', 'one of two does not answer';
    SKIP: {
        skip 'there is no IPv6 here', 3 if !$six;
        ($said) = check([places($one->place . ',' . $six->place)]);
        is $said->{verdict}, 'good', 'IPv6, too';
        is $said->{probes}[1]{address}, '::1', 'its address';
        $six->stop;
        my $wrong = plain(Ecert::Plain::response('404 Not Found'),
            address => '::1');
        ($said) = check([places($one->place . ',' . $wrong->place)]);
        is $said->{verdict}, 'bad', 'IPv6 wrong';
        $wrong->stop;
    }
    ($said) = check([places($closed)]);
    is $said->{verdict}, 'bad', 'nobody at all';
    like $said->{what}, qr/nobody answers at any/, 'and so it is said';
    $_->stop for $one, $two, $odd;
}

# Slow ones do not add up, and the order is that of the names.
sub together {
    my $many = Ecert::Store->new;
    my @names = map { "s$_.$other" } 1 .. 4;
    my $log = tmp() . '/together';
    my $slow = plain(sub ($asked, $host, $client) {
        open my $out, '>>', $log or die "$log: $!";
        say $out time;
        close $out;
        sleep 30;
        return undef;
    });
    my $quick = plain($right);
    my @places = map { places($slow->place, $closed, $_) } @names[0, 1];
    push @places, map { places($quick->place, $closed, $_) } @names[2, 3];
    $many->describe($names[0], '{"names": ['
        . join(', ', map { "\"$_\"" } @names) . ']}');
    $many->put_token($_, 'fileauth.txt', $code) for @names;
    my $json = ecert_json($many, 'dcv', 'check', $names[0], @places);
    is_deeply [map { "$_->{name} $_->{verdict}" } @{ $json->{validation} }],
        ["$names[0] bad", "$names[1] bad", "$names[2] good", "$names[3] good"],
        'the order is that of the names';
    like $_->{what}, qr/no whole answer within 5 seconds/, 'slow'
        for map { $_->{probes}[0] } @{ $json->{validation} }[0, 1];
    # one after the other the second begins when the first is given up
    my @begun = sort { $a <=> $b } split /\n/, slurp($log);
    is scalar @begun, 2, 'both are asked';
    cmp_ok $begun[1] - $begun[0], '<', 5, 'they wait together';
    $_->stop for $slow, $quick;
}

sub not_known {
    my $server = plain($right);
    my $html = plain(Ecert::Plain::response('200 OK', '<html>'));
    my @file = ('--file', 'other.txt');

    my ($one) = check([places($server->place)], @file);
    is $one->{verdict}, 'unsure', 'no file here: unsure';
    like $one->{what}, qr/nothing was put here/, 'why';
    like $one->{hint}, qr/^ecert dcv add \Q$host\E FILE$/m, 'what to do';
    like $one->{probes}[0]{what}, qr/it answers "\Q$code\E"/, 'it is shown';
    is +(ecert($store, 'dcv', 'check', $host, places($server->place), @file))[0],
        1, 'that is no success';
    ($one) = check([places($html->place)], @file);
    is $one->{verdict}, 'bad', 'a page is wrong whatever the code is';
    like $one->{hint}, qr/^ecert dcv add \Q$host\E FILE$/m,
        'but here is where to begin';
    my $odd = plain(Ecert::Plain::response('200 OK', 'b'),
        address => '127.0.0.2');
    ($one) = check([places($server->place . ',' . $odd->place)], @file);
    like $one->{what}, qr/answers differ/, 'two answers cannot both be right';
    $_->stop for $server, $html, $odd;
}

sub names {
    my $two = Ecert::Store->new;
    my $server = plain($right);
    my $wrong = plain(Ecert::Plain::response('404 Not Found'));
    my @places = (places($server->place), places($wrong->place, $closed,
        $other));
    $two->describe($host,
        "{\"names\": [\"$host\", \"$other\", \"*.$host\"]}");
    $two->put_token($_, 'fileauth.txt', $code) for $host, $other;

    my $json = ecert_json($two, 'dcv', 'check', $host, @places);
    my %of = map { $_->{name} => $_ } @{ $json->{validation} };
    is_deeply { map { $_ => $of{$_}{verdict} } keys %of },
        { $host => 'good', $other => 'bad', "*.$host" => 'bad' },
        'each name has its verdict';
    ok !$json->{good}, 'one is not enough';
    like $of{"*.$host"}{what}, qr/proves nothing/, 'a wildcard';
    my ($status, $out) = ecert($two, 'dcv', 'check', $host, @places);
    is $status, 1, 'exit code 1';
    $_->stop for $server, $wrong;

    my $long = '*.' . join '.', ('department') x 4, 'example.hk';
    my $wild = Ecert::Store->new;
    $wild->describe($long, '{}');
    ($status, $out) = ecert($wild, 'dcv', 'check', $long);
    is $status, 1, 'a wildcard by file';
    like $out, qr/, then:\n +ecert dcv dns '\Q$long\E' CODE\n/,
        'begins with the record, in a line that can be copied';
    like $out, qr/^ +ecert dcv check '\Q$long\E' --dns CODE$/m, 'then asks';
}

# How many have answered, while the last one is waited for.
sub terminal {
    my $server = plain(sub (@) { select undef, undef, undef, 1; $right });
    my $terminal = Ecert::Terminal->new([build_dir() . '/ecert', 'dcv',
        'check', $host, '--store', $store->dir, places($server->place)],
        TERM => 'vt100', NO_COLOR => '1');
    is $terminal->ends, 0, 'at a terminal';
    like $terminal->shown, qr/\r?  \[#+-+\] 1 of 2 addresses asked\r +\r/,
        'a bar, which goes away';
    unlike $terminal->shown, qr/\e/, 'no escape sequence';
    my ($status, $out) = ecert($store, 'dcv', 'check', $host,
        places($server->place));
    unlike $out, qr/addresses asked|\r/, 'elsewhere: nothing of it';
    $server->stop;
}

sub written {
    my $server = plain(sub ($asked, @) { $asked eq $path ? to('/x') : $right });
    my ($status, $out) = ecert($store, 'dcv', 'check', $host,
        places($server->place));

    is $status, 0, 'good';
    like $out, qr/^\Q$host\E\n  http  127\.0\.0\.1 +good +exactly the code\n/m,
        'a line for each address';
    like $out, qr{^    302 http://\Q$host$path\E -> /x\n}m, 'hops';
    like $out, qr/^  => good .*press Confirm in the portal\.$/ms, 'a verdict';
    like $out, qr/^  next: /m, 'the next step';
    ok !(grep { length > 79 && !m{://} } split /\n/, $out), 'lines that fit';
    $server->stop;
}

sub usage {
    for (
        [qr/one NAME is wanted/], [qr/one NAME is wanted/, 'a.hk', 'b.hk'],
        [qr/HOST:PORT:ADDRESS/, $host, '--resolve', 'x'],
        [qr/HOST:PORT:ADDRESS/, $host, '--resolve', "$host:8080:127.0.0.1"],
        [qr/HOST:PORT:ADDRESS/, $host, '--resolve', "$host:80:example.hk"],
        [qr/HOST:PORT:ADDRESS/, $host, '--resolve', "$host:80:127.0.0.1,"],
        [qr/HOST:PORT:ADDRESS/, $host, '--resolve', "$host:80:127.0.0.1:0"],
        [qr/ADDRESS\[:PORT\]/, $host, '--dns-server', 'ns.example.hk'],
        [qr/name of a validation file/, $host, '--file', '../x'],
        [qr/name of a validation file/, $host, '--file', '.x'],
        [qr/choose one/, $host, '--file', 'a.txt', '--dns', 'x'],
    ) {
        my ($says, @args) = @$_;
        my ($status, $out) = ecert($store, 'dcv', 'check', @args);
        is $status, 2, "@args";
        like $out, $says, 'and why';
    }
    is +(ecert($store, 'dcv', 'check', 'none.example.hk'))[0], 1, 'no such site';
}
