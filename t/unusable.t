#!/usr/bin/perl

# A certificate that is published, and that the workers' OpenSSL does not take
# into a connection: the one before goes on, and nobody says that it is served.

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
my $other = qr/another certificate is sent/;

for my $kind (servers()) {
    subtest $kind => sub { unusable($kind) };
    subtest "$kind, nobody asks" => sub { unasked($kind) };
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

sub fault ($kind) { return tmp() . "/$kind.fault" }

sub begin_fault ($kind, $leaf) { $leaf->file(fault($kind)) }

sub chain ($leaf) { return [$leaf, $pki->sub, $pki->cross] }

sub server ($kind, $leaf, $speed, $fetch) {
    my $store = Ecert::Store->new->add_issuers($pki->sub, $pki->cross);
    local $ENV{ECERT_TEST_UNUSABLE} = fault($kind);
    local $ENV{ECERT_TEST_PRELOAD} = join ':', grep { defined }
        $ENV{ECERT_TEST_PRELOAD}, $library;
    $store->install($site, $leaf);
    my $server = Ecert::Server->new($kind, store => $store, workers => 1,
        agent => command_at("FAKETIME='+0 x$speed'"),
        conf => { ecert_fetch => $fetch },
        vhosts => [{ names => [$site], ecert => 'on' }])->start;
    serves($server, $site, chain($leaf), 'the first is served');
    return $server;
}

sub unusable ($kind) {
    my @leaves = map { $pki->leaf(names => [$site]) } 1 .. 2;
    my $server = server($kind, $leaves[0], 10, 'on');

    begin_fault($kind, $leaves[1]);
    my ($status, $text) = install($server, $leaves[1]);
    is $status, 1, 'install --wait fails';
    like $text, qr/not-served: .*: at 127\.0\.0\.1:\d+ $other/,
        'with what is sent';
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
    is scalar(grep { $_->{serves} && $_->{serves} == $refusing->{refuses} }
        @{ status_of($server, $site)->{workers} }), 0, 'and nobody serves it';
    serves($server, $site, chain($leaves[0]), 'the first is served still');
    seen_by_itself($server, $site);
    ($status, $text) = ecert($server, 'verify', '--connect',
        '127.0.0.1:' . $server->port, $site);
    is $status, 1, 'ecert verify fails';
    unlink fault($kind);
    becomes($server, $site, chain($leaves[1]),
        'it is served when it can be used');
    ok !grep({ $_->{serves} && $_->{refuses} }
        @{ status_of($server, $site)->{workers} }), 'and refused no more';
    ($status, $text) = install($server, $leaves[1]);
    is $status, 0, 'install --wait is content';
    like $text, qr/^Served by /m, 'and says so';
}

# The fault ends, and no handshake tells the worker.
sub unasked ($kind) {
    my @leaves = map { $pki->leaf(names => [$site]) } 1 .. 2;
    my $server = server($kind, $leaves[0], 100, 'off');
    my $ends = sub { (ecert($server, 'status', $site))[0] };

    begin_fault($kind, $leaves[1]);
    $server->{store}->install($site, $leaves[1]);
    ok wait_for(sub {
        Ecert::Client::handshake($server->port, name => $site);
        return $ends->() == 1;
    }), 'a worker refuses it';
    unlink fault($kind);
    ok wait_for(sub { $ends->() == 0 }, 30),
        'ten minutes later that is forgotten';
}

# What stands for a minute of the agent's.
sub seen_by_itself ($server, $site) {
    my $at;
    ok wait_for(sub {
        ($at) = @{ status_of($server, $site)->{served}{addresses} };
        return $at->{state} eq 'differs';
    }, 15), 'the agent sees it by itself';
    like $at->{difference}, $other, 'with what is sent';
    told($server, $site, 'differs', '127.0.0.1:' . $server->port
        . ", asked for $site", 'the log has it');
}
