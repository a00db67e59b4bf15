#!/usr/bin/perl

# Validation files are answered whatever the site's own configuration does
# with the request.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Client;
use Ecert::DCV;
use Ecert::Server;
use Ecert::Store;
use Ecert::Test;

my $auth = "AuthType Basic\nAuthName x\nAuthUserFile /nonexistent\n"
    . 'Require valid-user';

# What it is called, what another file in the same folder gets (which shows
# that the configuration is hostile indeed), and the configuration itself.
my @hostile = (
    {
        name => 'redirect', other => 301,
        nginx => 'return 301 https://$host$request_uri;',
        apache => 'Redirect permanent / https://www.example.hk/',
    },
    {
        name => 'rewrite to https', other => 301,
        nginx => 'rewrite ^ https://$host$request_uri? permanent;',
        apache => "RewriteEngine on\n"
            . 'RewriteRule ^ https://%{HTTP_HOST}%{REQUEST_URI} [R=301,L]',
    },
    {
        name => 'front controller', other => 200,
        nginx => 'rewrite ^ /index.html last;',
        apache => "RewriteEngine on\nRewriteRule ^ /index.html [L]",
    },
    {
        name => 'fallback', other => 200,
        nginx => 'location / { try_files $uri /index.html; }',
        apache => 'FallbackResource /index.html',
    },
    {
        name => 'error page', other => 200,
        nginx => 'error_page 404 405 =200 /index.html;',
        htaccess => "RewriteEngine on\n"
            . 'RewriteRule !^index.html$ /index.html [L]',
    },
    {
        name => 'forbidden', other => 403,
        nginx => 'deny all;',
        apache => '<Location "/">' . "\nRequire all denied\n</Location>",
    },
    {
        name => 'forbidden by rewrite', other => 403,
        nginx => 'if ($request_method) { return 403; }',
        apache => "RewriteEngine on\nRewriteRule ^ - [F]",
    },
    {
        name => 'forbidden in a condition', other => 403,
        apache => '<If "true">' . "\nRequire all denied\n</If>",
    },
    {
        name => 'redirect in a condition', other => 302,
        apache => '<If "true">' . "\nRedirect / http://a.hk/\n</If>",
    },
    {
        name => 'no dot files', other => 403,
        nginx => 'location ~ /\. { deny all; }',
        apache => '<LocationMatch "/\.">' . "\nRequire all denied\n"
            . '</LocationMatch>',
    },
    {
        name => 'the folder is gone', other => 410,
        nginx => 'location ^~ /.well-known/ { return 410; }',
        apache => 'RedirectMatch 410 ^/\.well-known/',
    },
    {
        name => 'the folder is elsewhere', other => 404,
        nginx => 'location /.well-known/ { alias /nonexistent/; }',
        apache => 'Alias /.well-known/ /nonexistent/'
            . "\n<Directory /nonexistent>\nRequire all granted\n</Directory>",
    },
    {
        name => 'password', other => 401,
        nginx => 'auth_basic x; auth_basic_user_file /nonexistent;',
        apache => "<Location />\n$auth\n</Location>",
    },
    {
        name => 'authorisation elsewhere', other => 403,
        nginx => 'auth_request /auth; location = /auth { return 403; }',
        htaccess => 'Require all denied',
    },
    {
        name => 'methods', other => 403,
        nginx => 'location / { limit_except POST { deny all; } }',
        apache => "<Location />\n<LimitExcept POST>\nRequire all denied\n"
            . "</LimitExcept>\n</Location>",
    },
    {
        name => 'proxy', other => qr/50[23]/,
        nginx => 'location / { proxy_pass http://127.0.0.1:1; }',
        apache => 'ProxyPass / http://127.0.0.1:1/',
    },
    {
        name => 'proxy by rewrite', other => qr/50[23]/,
        nginx => 'location ~ . { proxy_pass http://127.0.0.1:1; }',
        apache => "RewriteEngine on\n"
            . 'RewriteRule ^ http://127.0.0.1:1%{REQUEST_URI} [P]',
    },
    {
        name => 'status handler', other => 200,
        nginx => 'location / { stub_status; }',
        apache => "<Location />\nSetHandler server-status\n</Location>",
    },
    {
        name => 'closed', other => 0,
        nginx => 'return 444;',
    },
    {
        name => 'requests are limited', other => 503,
        nginx => 'limit_req zone=slow; location / { return 503; }',
    },
    {
        name => 'compressed', other => 404,
        nginx => 'gzip on; gzip_min_length 1; gzip_types *; gunzip on;',
        apache => 'SetOutputFilter DEFLATE',
    },
    {
        name => 'words are replaced', other => 404,
        nginx => "sub_filter code word; sub_filter_types *;\n"
            . 'sub_filter_once off; charset koi8-r; override_charset on;',
        apache => "SetOutputFilter SUBSTITUTE\nSubstitute s/code/word/\n"
            . 'AddDefaultCharset koi8-r',
    },
    {
        name => 'visitors are numbered', other => 404,
        nginx => 'userid on;',
    },
    {
        name => 'something is added', other => 404,
        nginx => "add_after_body /index.html; addition_types *;\n"
            . 'ssi on; ssi_types *;',
    },
    {
        name => 'kept in caches', other => 404,
        nginx => 'expires 1d;',
        apache => "ExpiresActive on\nExpiresDefault \"access plus 1 day\"",
    },
);

for my $kind (servers()) {
    subtest $kind => sub {
        my @rows = grep { $_->{$kind} || $kind eq 'apache' && $_->{htaccess} }
            @hostile;
        my $server = server_for($kind, @rows);
        for my $i (0 .. $#rows) {
            subtest $rows[$i]{name} => sub { holds($server, $rows[$i], $i) };
        }
    };
}
done_testing;

# One server for all rows: two vhosts for each, plain and TLS.
sub server_for ($kind, @rows) {
    my $store = Ecert::Store->new;
    my @vhosts;
    for my $i (0 .. $#rows) {
        my %vhost = (names => [host($i)], $kind => $rows[$i]{$kind});
        $store->put_token(host($i), 'fileauth.txt', code($i));
        push @vhosts, { %vhost, listen => 'http' },
            { %vhost, listen => 'https', ecert => 'on' };
    }
    my $server = Ecert::Server->new($kind, store => $store,
        vhosts => \@vhosts, http => {
            nginx => 'limit_req_zone $host zone=slow:64k rate=1r/m;' });
    for my $i (grep { $rows[$_]{htaccess} } 0 .. $#rows) {
        $server->write("vhost$_/www/.htaccess", $rows[$i]{htaccess})
            for 2 * $i, 2 * $i + 1;
    }
    return $server->start;
}

sub host ($i) { return "h$i.example.hk" }
sub code ($i) { return "code-$i \xff\0\r\n<!--#echo var=\"x\"--> code" }

sub holds ($server, $row, $i) {
    my $path = "$prefix/fileauth.txt";
    my ($http, $https) = map { $server->port($_) } qw(http https);
    my %as = (host => host($i), headers => { 'accept-encoding' => 'gzip' });
    my %ask = (%as, path => $path);

    like request($http, %as, path => "$prefix/other.txt")->{status},
        qr/^$row->{other}$/, 'another file gets what the site says';
    answered(request($http, %ask), code($i), 'http') for 1, 2;
    answered(request($https, %ask, tls => 1), code($i), 'https');
    answered(h2_request($https, %ask), code($i), 'h2');

    my $head = request($http, %ask, method => 'HEAD');
    is "$head->{status} $head->{headers}{'content-length'} $head->{body}",
        '200 ' . length(code($i)) . ' ', 'HEAD';
    is request($http, %ask, method => 'POST')->{status}, 405, 'POST';
}
