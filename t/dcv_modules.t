#!/usr/bin/perl

# Validation files beside modules that refuse, delay or take over requests: the
# servers' own, those of Debian as far as they are there (auto/setup modules;
# ECERT_TEST_MODULES: another root folder to look for them in), and one that is
# made here.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;

use Ecert::Client;
use Ecert::DCV;
use Ecert::PKI;
use Ecert::Server;
use Ecert::Store;
use Ecert::Test;

my $host = 'www.example.hk';
my $path = "$prefix/fileauth.txt";
my $code = "4f1e0b-code\n";
my $store = Ecert::Store->new;
$store->put_token($host, 'fileauth.txt', $code);

# What is loaded for it, what the virtual host says, and what all else gets.
my $root = $ENV{ECERT_TEST_MODULES} // '';
my @apache = (
    { name => 'mod_security, phase 1', load => ['unique_id', 'security2'],
        other => 403, http => security(1) },
    { name => 'mod_security, phase 2', load => ['unique_id', 'security2'],
        other => 403, http => security(2) },
    { name => 'mod_qos', load => ['qos'], other => 403,
        vhost => "<Location />\nQS_DenyPath +a deny \"^.*\$\"\n</Location>" },
    { name => 'mod_evasive', load => ['evasive20'], other => 403,
        http => "DOSPageCount 1\nDOSPageInterval 9\nDOSSiteCount 1\n"
            . 'DOSSiteInterval 9' },
    { name => 'mod_authnz_external', load => ['authnz_external'],
        other => 401, vhost => "DefineExternalAuth x pipe /bin/false\n"
            . "<Location />\nAuthType Basic\nAuthName x\n"
            . "AuthBasicProvider external\nAuthExternal x\n"
            . "Require valid-user\n</Location>" },
    { name => 'maintenance', load => [], other => 503,
        vhost => "RewriteEngine on\nRewriteRule ^ - [R=503,L]" },
    { name => 'forbidden', load => [], other => 403,
        vhost => "<Location />\nRequire all denied\n</Location>" },
);
my @nginx = (
    { name => 'closed', load => [], other => 0, vhost => 'return 444;' },
    { name => 'limit_req', load => [], other => 503,
        http => 'limit_req_zone $host zone=r:64k rate=1r/m;',
        vhost => 'limit_req zone=r;' },
    { name => 'auth_request', load => [], other => 403,
        vhost => 'auth_request /deny; location = /deny { return 403; }' },
    { name => 'njs', load => ['ngx_http_js'], other => 403,
        http => 'js_path ' . tmp() . '; js_import m.js;',
        vhost => 'location / { js_content m.deny; }' },
    { name => 'headers more', load => ['ngx_http_headers_more_filter'],
        other => 404, http => 'more_set_headers "Set-Cookie: a=b" '
            . '"Content-Type: text/html" "Location: /";' },
    map({ { name => "lua, $_->[0]", load => ['ndk_http', 'ngx_http_lua'],
        other => $_->[1], http => lua_path(), vhost => $_->[2] } }
        ['access', 403, 'access_by_lua_block { ngx.exit(403) }'],
        ['rewrite', 403, 'rewrite_by_lua_block { ngx.exit(403) }'],
        ['server rewrite', 403, 'server_rewrite_by_lua_block {'
            . ' ngx.exit(403) }'],
        ['content', 403, 'location / { content_by_lua_block {'
            . ' ngx.exit(403) } }'],
        ['filters', 404, 'header_filter_by_lua_block {'
            . ' ngx.header["Set-Cookie"] = "a=b" }'
            . ' body_filter_by_lua_block { ngx.arg[1] = "no" }']),
);
my %rows = (apache => \@apache, nginx => \@nginx);

write_files();
for my $kind (servers()) {
    subtest "$kind, $_->{name}" => sub { beside($kind, $_) }
        for @{ $rows{$kind} };
    subtest "$kind, a client's certificate" => sub { client($kind) };
}
subtest 'nginx, limit_conn' => \&limit_conn
    if grep { $_ eq 'nginx' } servers();
subtest 'apache, refused as soon as it is read' => \&early
    if grep { $_ eq 'apache' } servers();
done_testing;

sub security ($phase) {
    return "SecRuleEngine On\nSecDataDir " . tmp() . "\nSecTmpDir " . tmp()
        . "\nSecRule REQUEST_METHOD \"\@rx .\" "
        . "\"id:1,phase:$phase,deny,status:403\"";
}

sub lua_path () {
    return "lua_package_path '$root/usr/share/lua/5.1/?.lua;;';";
}

sub write_files () {
    open my $out, '>', tmp() . '/m.js' or die "m.js: $!";
    print $out "function deny(r) { r.return(403); }\nexport default { deny };\n";
    close $out;
}

# The directives that load these modules; undef when one is not there.
sub load ($kind, @names) {
    my @lines;
    for my $name (@names) {
        my $file = $kind eq 'nginx'
            ? "/usr/lib/nginx/modules/${name}_module.so"
            : "/usr/lib/apache2/modules/mod_$name.so";
        my ($path) = grep { -e } "$root$file", $file;
        return undef if !$path;
        push @lines, $kind eq 'nginx' ? "load_module $path;"
            : "LoadModule ${name}_module $path";
    }
    return join "\n", @lines;
}

sub beside ($kind, $row) {
    my $load = load($kind, @{ $row->{load} });
    plan skip_all => "@{ $row->{load} }: not installed" if !defined $load;
    local $ENV{LD_LIBRARY_PATH} = "$root/usr/lib/x86_64-linux-gnu:"
        . "$root/lib/x86_64-linux-gnu" if $root;
    my %vhost = (names => [$host], listen => 'http',
        $kind => $row->{vhost} // '');
    my $server = Ecert::Server->new($kind, store => $store,
        main => { $kind => $load }, http => { $kind => $row->{http} // '' },
        vhosts => [\%vhost]);
    plan skip_all => "does not start: $server->{said}" if !$server->try_start;
    my $http = $server->port('http');

    my $other;
    $other = get($http, $host, "$prefix/none.txt") for 1 .. 3;
    is $other->{status}, $row->{other}, 'what all else gets';
    answered(get($http, $host, $path), $code, 'the file is answered')
        for 1 .. 3;
    $server->stop;
}

# http answers it; https does where the handshake needs no certificate.
sub client ($kind) {
    my $ca = Ecert::PKI->new->root;
    my $file = $ca->file(tmp() . '/client-ca.pem');
    my %place = (names => [$host], ecert => 'on');
    my $server = Ecert::Server->new($kind, store => $store, vhosts => [
        { names => [$host], listen => 'http' },
        { %place, client_ca => $ca, listen => 'https' },
        { %place, listen => 'https-2', apache =>
            "SSLCACertificateFile $file\nSSLProtocol TLSv1.2\n"
            . "<Location />\nSSLVerifyClient require\n</Location>",
            nginx => "ssl_client_certificate $file; ssl_verify_client optional;"
                . ' if ($ssl_client_verify != SUCCESS) { return 403; }' },
    ])->start;
    my %port = map { $_ => $server->port($_) } qw(http https https-2);

    answered(get($port{http}, $host, $path), $code, 'http');
    isnt get($port{https}, $host, $path, tls => 1)->{status}, 200,
        'https: the handshake demands a certificate first';
    isnt get($port{'https-2'}, $host, '/', tls => 1)->{status}, 200,
        'https: demanded after the handshake';
    answered(get($port{'https-2'}, $host, $path, tls => 1), $code,
        'but not for a validation file');
}

sub limit_conn () {
    my $server = Ecert::Server->new('nginx', store => $store, http => { nginx =>
        'limit_conn_zone $host zone=c:64k;' }, vhosts => [{ names => [$host],
            listen => 'http', nginx => 'limit_conn c 1; '
                . 'location = /index.html { limit_rate 1; }' }])
        ->start;
    my $http = $server->port('http');
    my $slow = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
        PeerPort => $http) or die "connect: $!";
    print $slow "GET /index.html HTTP/1.1\r\nHost: $host\r\n\r\n";
    ok wait_for(sub { get($http, $host, '/none')->{status} == 503 }),
        'there is one connection already';
    answered(get($http, $host, $path), $code, 'the file is answered');
    close $slow;
}

sub early () {
    my $module = tmp() . '/mod_early.so';
    my ($status, $out) = run('sh', '-c', 'cc -shared -fPIC -o "$1" '
        . '-I$(apxs2 -q INCLUDEDIR) $(apr-1-config --includes --cppflags) '
        . '"$2"', 'sh', $module,
        Ecert::Test::repository() . '/t/lib/mod_early.c');
    $status == 0 or die "cc: $out";
    my $server = Ecert::Server->new('apache', store => $store,
        main => { apache => "LoadModule early_module $module" },
        vhosts => [
            { names => [$host], listen => 'http' },
            { names => [$host], listen => 'https', ecert => 'on' },
        ])->start;
    my ($http, $https) = map { $server->port($_) } qw(http https);

    for my $ask (['http', sub { get($http, $host, $_[0]) }],
        ['https', sub { get($https, $host, $_[0], tls => 1) }],
        ['h2', sub { h2_request($https, host => $host, path => $_[0]) }])
    {
        my ($how, $get) = @$ask;
        is $get->('/')->{status}, 403, "$how: all else is refused";
        is $get->("$prefix/none.txt")->{status}, 403,
            "$how: a file that the store does not have, too";
        answered($get->($path), $code, "$how: but not the validation file");
    }
    my $close = get($http, $host, $path);
    is $close->{headers}{connection}, 'close', 'the answer says that it ends';
    is request($http, host => $host, path => $path, method => 'POST')
        ->{status}, 405, 'POST';
    like slurp($server->dir . '/access.log'), qr{"GET \Q$path\E HTTP/1.1" 200},
        'the access log has it';
    is scalar(grep { /:(?:error|crit|alert|emerg)\]/ } split /\n/, $server->log), 0,
        'no error is told';
}
