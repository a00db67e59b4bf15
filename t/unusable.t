#!/usr/bin/perl

# A certificate that is published, and that the workers' OpenSSL does not take
# into a connection: nobody says that it is served.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Client;
use Ecert::Live;
use Ecert::PKI;
use Ecert::Server;
use Ecert::Store;
use Ecert::Test;

faketime() or plan skip_all => 'needs the package libfaketime';
my $library = tmp() . '/unusable.so';
my ($built, $why) = run($ENV{CC} || 'cc', '-shared', '-fPIC', '-O1',
    '-D_GNU_SOURCE', '-o', $library, "$FindBin::Bin/lib/unusable.c");
plan skip_all => "no compiler: $why" if $built != 0;

my $site = 'www.example.hk';
my $pki = Ecert::PKI->new;
my $alert = qr/the handshake ends with the alert internal_error/;

for my $kind (servers()) {
    subtest $kind => sub { unusable($kind) };
}
done_testing;

sub ecert ($server, @words) {
    return run("$server->{build}/ecert", $words[0], '--store',
        $server->{store}->dir, @words[1 .. $#words]);
}

sub install ($server, $leaf) {
    my ($cert, $key) = map { tmp() . "/new.$_" } qw(pem key);
    $leaf->file($cert);
    $leaf->key_file($key);
    return ecert($server, 'install', '--wait', '--timeout', 2, $site, $cert,
        $key);
}

sub unusable ($kind) {
    my $fault = tmp() . "/$kind.fault";
    my $store = Ecert::Store->new->add_issuers($pki->sub, $pki->cross);
    my @leaves = map { $pki->leaf(names => [$site]) } 1 .. 2;
    local $ENV{ECERT_TEST_UNUSABLE} = $fault;
    local $ENV{ECERT_TEST_PRELOAD} = join ':', grep { defined }
        $ENV{ECERT_TEST_PRELOAD}, $library;
    $store->install($site, $leaves[0]);
    my $server = Ecert::Server->new($kind, store => $store, workers => 1,
        agent => command_at("FAKETIME='+0 x10'"),
        conf => { ecert_fetch => 'on' },
        vhosts => [{ names => [$site], ecert => 'on' }])->start;
    serves($server, $site, [$leaves[0], $pki->sub, $pki->cross],
        'the first is served');

    $leaves[1]->file($fault);
    my ($status, $text) = install($server, $leaves[1]);
    is $status, 1, 'install --wait fails';
    like $text, qr/not-served: .*: at 127\.0\.0\.1:\d+ $alert/,
        'with the alert';
    unlike $text, qr/^Served/m, 'and does not say that it is served';
    ($status, $text) = ecert($server, 'status', $site);
    is $status, 1, 'so does status';
    like $text, qr/^ +error +[12] cannot use it;/m, 'with the workers';
    like $text, qr/\[ \] served/, 'in the progress, too';
    my ($refusing) = grep { $_->{refuses} }
        @{ status_of($server, $site)->{workers} };
    is $refusing->{refuses}, status_of($server, $site)->{published},
        'JSON has the generation';
    is scalar(grep { /ca md too weak/ } complaints($server, $site)), $kind
        eq 'nginx' ? 1 : scalar(@{ status_of($server, $site)->{workers} }),
        'the log has it, once a worker';
    seen_by_itself($server, $site);
    ($status, $text) = ecert($server, 'verify', '--connect',
        '127.0.0.1:' . $server->port, $site);
    is $status, 1, 'ecert verify fails';
    like $text, $alert, 'with the alert';

    unlink $fault;
    becomes($server, $site, [$leaves[1], $pki->sub, $pki->cross],
        'it is served when it can be used');
    ok !grep({ $_->{serves} && $_->{refuses} }
        @{ status_of($server, $site)->{workers} }), 'and refused no more';
    ($status, $text) = install($server, $leaves[1]);
    is $status, 0, 'install --wait is content';
    like $text, qr/^Served by /m, 'and says so';
}

# Two looks of the agent that fail.
sub seen_by_itself ($server, $site) {
    my $at;
    ok wait_for(sub {
        ($at) = @{ status_of($server, $site)->{served}{addresses} };
        return $at->{state} eq 'differs';
    }, 15), 'the agent sees it by itself';
    like $at->{difference}, $alert, 'with the alert';
    told($server, $site, 'differs', '127.0.0.1:' . $server->port
        . ", asked for $site", 'the log has it');
}
