#!/usr/bin/perl

# Validation files beside modules that refuse, delay or take over requests:
# those of Debian, as far as they are there, and one that is made here.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Client;
use Ecert::DCV;
use Ecert::Server;
use Ecert::Store;
use Ecert::Test;

my $host = 'www.example.hk';
my $path = "$prefix/fileauth.txt";
my $code = "4f1e0b-code\n";
my $store = Ecert::Store->new;
$store->put_token($host, 'fileauth.txt', $code);

subtest 'apache, refused as soon as it is read' => \&early
    if grep { $_ eq 'apache' } servers();
done_testing;

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
