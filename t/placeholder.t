#!/usr/bin/perl

# A certificate outside the store whose files come later, key first: the
# server starts, answers with a placeholder, and goes live without a reload.
# Nothing of the key shows up in what people can read.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Client;
use Ecert::Live;
use Ecert::PKI;
use Ecert::Server;
use Ecert::Store;
use Ecert::Test;

my $site = 'www.example.hk';
my $pki = Ecert::PKI->new;
my $leaf = $pki->leaf(names => [$site], key => 'RSA-2048');
my $other = $pki->leaf(names => [$site], key => 'RSA-2048');

for my $kind (servers()) {
    subtest "$kind, folder there" => sub { files_come_later($kind, 1) };
    subtest "$kind, folder not there" => sub { files_come_later($kind, 0) };
}
done_testing;

sub files_come_later ($kind, $folder) {
    my $store = Ecert::Store->new->add_issuers($pki->sub, $pki->cross);
    my $above = tmp() . "/$kind-files$folder";
    my $dir = "$above/tls";
    mkdir $_ for $above, $folder ? $dir : ();
    my ($certificate, $key) = ("$dir/fullchain.pem", "$dir/key.pem");
    my $server = Ecert::Server->new($kind, store => $store, vhosts => [{
        names => [$site], directives => { ecert_certificate => $certificate,
            ecert_certificate_key => $key } }])->start;
    my @workers = $server->workers;

    placeholder($server, 'at start');
    told($server, $site, 'missing', $certificate, 'the log names the file');
    mkdir $dir;
    $store->put($key, $leaf->key_pem);
    placeholder($server, 'with the key alone');
    wrong_pair_first($server, $store, $certificate) if $folder;

    $store->put($certificate, $leaf->pem);
    becomes($server, $site, [$leaf, $pki->sub, $pki->cross], 'live');
    my $status = status_of($server, $site);
    is $status->{error}, undef, 'status: no error';
    is $status->{source}, $certificate, 'status: where it comes from';
    is_deeply [sort $server->workers], [sort @workers], 'the same workers';
    nothing_leaks($server, $status);
}

sub wrong_pair_first ($server, $store, $certificate) {
    $store->put($certificate, $other->pem);
    told($server, $site, 'key-mismatch', $certificate,
        'the certificate of another key');
    placeholder($server, 'with a pair that does not fit');
    is status_of($server, $site)->{error}{reason}, 'key-mismatch',
        'status: the reason';
}

sub placeholder ($server, $when) {
    my $answer = handshake($server->port, name => $site);
    is $answer->{body}, "$site\n", "answers $when" or diag $answer->{error};
    ok $answer->{certs}[0] && $answer->{certs}[0]->is_self_signed,
        'with a placeholder';
}

# Lines of the keys as they stand in their files, and what is inside.
sub nothing_leaks ($server, $status) {
    my @secrets = map { grep { length > 30 && !/^-/ } split /\n/, $_ }
        $leaf->key_pem, $leaf->key_pem('traditional'), $other->key_pem;
    my %shown = ('the error log' => $server->log(0),
        status => $status->{text}, 'what the server printed' =>
            $server->{said} // '');

    is status_of($server, $site)->{state}, 'valid', 'status can be read';
    for my $where (sort keys %shown) {
        is_deeply [grep { index($shown{$where}, $_) >= 0 } @secrets,
            'BEGIN', hex_of($leaf)], [],
            "nothing of the keys in $where";
    }
}

# A part of the first prime, as a dump would show it.
sub hex_of ($cert) {
    my ($status, $out) = run('openssl', 'pkey', '-noout', '-text', '-in',
        $cert->key_file(tmp() . '/shown.key'));
    my ($prime) = $out =~ /prime1:\n((?:\s+[0-9a-f:]+\n)+)/;
    my $hex = substr +($prime =~ tr/0-9a-f//cdr), 2, 16;
    return ($hex, uc $hex);
}
