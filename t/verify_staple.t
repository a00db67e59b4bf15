#!/usr/bin/perl

# ecert verify: what a staple says that is not good.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::PKI;
use Ecert::Responder;
use Ecert::Server;
use Ecert::Store;
use Ecert::Test;

my $site = 'www.example.hk';
my $pki = Ecert::PKI->new;
my ($root, $sub) = ($pki->root, $pki->sub);
my $leaf = $pki->leaf(names => [$site]);
my $store = Ecert::Store->new->add_issuers($sub, $root);
$store->install($site, $leaf);
$sub->file(tmp() . '/sub.pem');
$leaf->file(tmp() . '/leaf.pem');
my $key = $leaf->key_file(tmp() . '/leaf.key');
my $client = $root->file(tmp() . '/root.pem');

my $good = answer(sub ($responder) { $responder->knows($leaf) });
my $revoked = answer(sub ($responder) {
    $responder->knows($leaf, 'keyCompromise') });
my $unknown = answer(sub { });

is verified($good, 'good'), 0, 'good';
is verified($revoked, 'revoked', qr/says that the certificate is revoked/), 1,
    'revoked';
is verified($unknown, 'unknown',
    qr/says that the CA does not know the certificate/), 1, 'unknown';
done_testing;

# The file of an answer of a responder that was prepared so.
sub answer ($prepare) {
    my $responder = Ecert::Responder->new($sub);
    my $dir = $responder->{dir};
    $prepare->($responder);
    $responder->list;
    my ($status, $out) = run('openssl', 'ocsp', '-no_nonce', '-issuer',
        tmp() . '/sub.pem', '-cert', tmp() . '/leaf.pem', '-reqout', "$dir/req");
    $status == 0 or die "openssl ocsp: $out";
    ($status, $out) = run('openssl', 'ocsp', '-index', "$dir/index.txt",
        '-rsigner', "$dir/ca.pem", '-rkey', "$dir/ca.key", '-CA', "$dir/ca.pem",
        '-ndays', 7, '-reqin', "$dir/req", '-respout', "$dir/answer");
    $status == 0 && -s "$dir/answer" or die "openssl ocsp: $out";
    return "$dir/answer";
}

# The exit code for a server that staples this.
sub verified ($staple, $what, $words = qr/^good /m) {
    my $port = Ecert::Server::_free_port();
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        open STDIN, '<', '/dev/null';
        open STDOUT, '>', tmp() . '/s_server';
        open STDERR, '>&', \*STDOUT;
        exec 'openssl', 's_server', '-accept', "127.0.0.1:$port", '-cert',
            tmp() . '/leaf.pem', '-key', $key, '-cert_chain',
            tmp() . '/sub.pem', '-status_file', $staple, '-quiet';
        die "openssl: $!";
    }
    my ($status, $out);
    wait_for(sub {
        ($status, $out) = run(Ecert::Test::build_dir() . '/ecert', 'verify',
            '--store', $store->dir, '--client', $client, '--connect',
            "127.0.0.1:$port", $site);
        return $out !~ /refused/i;
    });
    kill 'KILL', $pid;
    waitpid $pid, 0;
    like $out =~ s/\s+/ /gr, $words, "$what: in words";
    unlike $out, qr/revoked/, "$what: and no more" if $what ne 'revoked';
    return $status;
}
