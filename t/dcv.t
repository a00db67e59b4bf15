#!/usr/bin/perl

# Validation files: which requests are answered, and how; which are left to
# the site.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Client;
use Ecert::Connection;
use Ecert::DCV;
use Ecert::Server;
use Ecert::Store;
use Ecert::Test;

my $host = 'www.example.hk';
my $unicode = "www.\x{6211}\x{7684}\x{670d}\x{52a1}\x{5668}.com";
my $idn = 'www.xn--zfru1g2vn33etpw.com';
utf8::encode($unicode);
my $path = "$prefix/fileauth.txt";
my $code = "4f1e0b-code\r\nsecond line\n";

my $store = Ecert::Store->new;
$store->put_token($host, 'fileauth.txt', $code);
$store->put_token($idn, 'fileauth.txt', 'idn');
$store->put_token($unicode, 'digicert.txt', 'put as Unicode');
$store->put_token('nowhere.example.hk', 'fileauth.txt', 'nowhere');
$store->put_token('off.example.hk', 'fileauth.txt', 'off');

for my $kind (servers()) {
    subtest $kind => sub {
        my $server = Ecert::Server->new($kind, store => $store, vhosts => [
            { names => [], listen => 'http' },
            { names => [$host], listen => 'http' },
            { names => ['off.example.hk'], listen => 'http',
                directives => { ecert_dcv => 'off' } },
            { names => [$host], listen => 'https', ecert => 'on' },
        ]);
        $server->write("vhost$_/www$prefix/own.txt", 'own') for 0, 1;
        $server->start;

        protocols($server);
        methods($server);
        hosts($server);
        paths($server);
        the_sites_own($server);
    };
}
done_testing;

sub protocols ($server) {
    my ($http, $https) = map { $server->port($_) } qw(http https);

    answered(get($http, $host, $path), $code, 'http/1.1, no directive there');
    answered(get($http, $host, $path, version => '1.0'), $code, 'http/1.0');
    answered(get($https, $host, $path, tls => 1), $code,
        'https with a placeholder');
    answered(h2_request($https, host => $host, path => $path), $code, 'h2');
    answered(get($http, $host, $path, headers => {
        'accept-encoding' => 'gzip', range => 'bytes=2-3',
        'if-modified-since' => 'Fri, 01 Jan 2038 00:00:00 GMT',
        'if-none-match' => '*', accept => 'text/html',
    }), $code, 'no range, no encoding, no 304');
}

sub methods ($server) {
    my ($http, $https) = map { $server->port($_) } qw(http https);
    my %get = (host => $host, path => $path);

    my $head = request($http, %get, method => 'HEAD');
    $head->{body} = $code if $head->{body} eq '';
    answered($head, $code, 'HEAD: no body, but its length');
    $head = h2_request($https, %get, method => 'HEAD');
    $head->{body} = $code if $head->{body} eq '';
    answered($head, $code, 'HEAD with h2');

    for my $method (qw(POST PUT DELETE PATCH OPTIONS)) {
        my $no = request($http, %get, method => $method);
        is $no->{status}, 405, $method;
        is $no->{headers}{allow}, 'GET, HEAD', "$method: Allow";
    }
    is h2_request($https, %get, method => 'POST')->{status}, 405, 'POST, h2';

    my $c = Ecert::Connection->new($http);
    is $c->exchange('POST', "POST $path HTTP/1.1\r\nHost: $host\r\n"
        . "Content-Length: 19\r\n\r\nGET /x HTTP/1.1\r\n\r\n")->{status}, 405,
        'POST with a body';
    answered($c->exchange('GET', "GET $path HTTP/1.1\r\nHost: $host\r\n\r\n"),
        $code, 'the next request on the same connection');
}

sub hosts ($server) {
    my $http = $server->port('http');

    for my $same ('WWW.Example.HK', "$host.", "$host:8080", "WWW.EXAMPLE.hk.:1")
    {
        answered(get($http, $same, $path), $code, "Host: $same");
    }
    answered(get($http, $idn, $path), 'idn', 'an A-label');
    answered(get($http, uc $idn, $path), 'idn', 'in capitals');
    answered(get($http, $idn, "$prefix/digicert.txt"), 'put as Unicode',
        'put under the Unicode name');
    my $bytes = get($http, $unicode, $path);
    # httpd lets no Host in UTF-8 in, nor does nginx from 1.27 or so on
    $bytes->{status} == 400
        ? pass('the server refuses a Host in UTF-8')
        : answered($bytes, 'idn', 'a Host in UTF-8');
    answered(get($http, 'nowhere.example.hk', $path), 'nowhere',
        'a host that no vhost names');
    answered(raw_request($http, "GET http://$host$path HTTP/1.1\r\n"
        . "Host: other.hk\r\nConnection: close\r\n\r\n"), $code,
        'a URI with a host counts more than Host');

    for my $other ('example.hk', "a.$host", 'wwwxexample.hk', '127.0.0.1',
        'localhost', "$host.evil.hk", $host =~ s/hk/h/r)
    {
        is get($http, $other, $path)->{status}, 404, "Host: $other";
    }
    is request($http, host => undef, path => $path, version => '1.0')
        ->{status}, 404, 'no Host';
    is raw_request($http, "GET http://other.hk$path HTTP/1.1\r\n"
        . "Host: $host\r\nConnection: close\r\n\r\n")->{status}, 404,
        'a URI with another host';
    isnt raw_request($http, "GET $path HTTP/1.1\r\nHost: other.hk\r\n"
        . "Host: $host\r\nConnection: close\r\n\r\n")->{status}, 200,
        'two Hosts';
    is get($http, 'off.example.hk', $path)->{status}, 404, 'ecert_dcv off';
}

sub paths ($server) {
    my $http = $server->port('http');

    answered(get($http, $host, "$path?x=1"), $code, 'with a query');
    # Only the plain spelling counts; validators send no other one.
    for my $other ($path =~ s/fi/%66i/r, $path =~ s/well/wel%6c/r,
        $path =~ s{/file}{//file}r, $path =~ s{/file}{/./file}r,
        "$path/", "$path%00", "$path;x", "$path.bak", "$path%20",
        uc $path, "$prefix/", $prefix, "$prefix/.fileauth.txt",
        "$prefix/a/../../fileauth.txt", '/fileauth.txt',
        "$path/../fileauth.txt",
        "$prefix/..%2ffileauth.txt", "$prefix/%2e%2e/fileauth.txt")
    {
        my $no = get($http, $host, $other);
        unlike $no->{body}, qr/\Q$code/, $other;
        isnt $no->{status}, 200, "$other: refused or not found";
    }
}

sub the_sites_own ($server) {
    my ($http, $https) = map { $server->port($_) } qw(http https);

    for my $any ($host, 'elsewhere.hk') {
        my $own = get($http, $any, "$prefix/own.txt");
        is "$own->{status} $own->{body}", '200 own',
            "the site's own file goes on being served: $any";
    }
    is get($http, $host, "$prefix/none.txt")->{status}, 404, 'a missing one';
    is h2_request($https, host => $host, path => "$prefix/none.txt")->{status},
        404, 'a missing one, h2';
}
