#!/usr/bin/perl

# The renewal by the same guide, while clients are at work: a new key, the old
# certificate to the last moment, and the way back and forward again.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Command;
use Ecert::Guide;
use Ecert::Live;
use Ecert::Load;
use Ecert::Test;

my $site = 'www.example.hk';

for my $kind (servers()) {
    subtest $kind => sub {
        my $guide = Ecert::Guide->new($kind, sites => { $site => [] });
        my $server = $guide->server;

        $guide->add_issuers;
        my $first = $guide->walk(server_name => $site);
        my @workers = sort $server->workers;
        my $load = Ecert::Load->new($server->port, name => $site,
            clients => { full => 1, resume => 1, keepalive => 1 });
        my $second = renew($guide, $first);
        there_and_back($guide, $first, $second);
        nobody_noticed($guide, $load->stop, $first, $second);
        is_deeply [sort $server->workers], \@workers, 'the same workers';
        who_did_what($guide, $first, $second);
    };
}
done_testing;

sub renew ($guide, $first) {
    my $portal = $guide->portal;
    my $old = '+installed +chain-complete +served -certificate-backed-up';
    my @chain = ($guide->pki->sub, $guide->pki->cross);
    my $used = $portal->apply(server_name => $site);
    my $pfx = tmp() . '/' . $guide->server->kind . '-renewal.pfx';

    $guide->store->age_token($site, 'fileauth.txt', 9);
    like $guide->does('new, with nothing but the name', 'new', $site),
        qr/^Made with the names and subject of before/m,
        'names and subject are those of before';
    $guide->stands($site, "$old +key-made -key-backed-up ~validation-file-up "
        . '-csr-submitted -certificate-received ~renewal => back-up-key',
        'status: both, the one in use and the one to come');
    $guide->refuses(qr/no-backup: /, 'csr without a backup of the new key',
        'csr', $site);
    $guide->does('backup --pending', 'backup', $site, '--pending', '-o', $pfx,
        '--password-file', password_file());
    my $csr = $guide->csr($site);
    like $csr, qr/^-----BEGIN/, 'the request is for the new key';
    serves($guide->server, $site, [$first, @chain], 'the old one is served');

    $guide->enter($used);
    like $guide->prove($site, 'utf-16'), qr/^replaced an older fileauth\.txt/m,
        'the validation file of the first order is replaced';
    my $second = $guide->submit($csr);
    serves($guide->server, $site, [$first, @chain],
        'also while the new one is issued and not installed');
    isnt $second->key_id, $first->key_id, 'the key is a new one';
    $guide->install($site, $second);
    $guide->stands($site, "$old ~renewal => back-up",
        'status: the renewal is done but for its backup');
    return $second;
}

sub there_and_back ($guide, $first, $second) {
    my @chain = ($guide->pki->sub, $guide->pki->cross);

    $guide->does('rollback', 'rollback', $site);
    becomes($guide->server, $site, [$first, @chain], 'the one before is served');
    $guide->refuses(qr/no-generation: .*before .*; there are: 1 \(current\), 2/,
        'a rollback beyond the first', 'rollback', $site);
    $guide->refuses(
        qr/no-generation: .*such generation \(7\); there are: 1 \(current\), 2$/,
        'to one that never was', 'rollback', $site, '7');
    $guide->does('rollback forward', 'rollback', $site, '2');
    becomes($guide->server, $site, [$second, @chain], 'the new one is served');
}

sub nobody_noticed ($guide, $report, @leaves) {
    is $report->{failed}, 0, 'no handshake and no request failed'
        or diag join "\n", @{ $report->{failures} };
    cmp_ok $report->{$_}, '>', 20, "$_: enough of them to say so"
        for qw(handshakes resumed requests);
    my %published = map {
        join(',', map { $_->fingerprint } $_, $guide->pki->sub,
            $guide->pki->cross) => 1
    } @leaves;
    is_deeply [sort keys %{ $report->{certificates} }],
        [sort keys %published], 'both were seen, each with its chain';
}

sub who_did_what ($guide, $first, $second) {
    my $log = Ecert::Command::ecert_json($guide->store, 'log', $site)->{log};
    my @put = map { "$_->{command} $_->{generation} "
        . uc substr $_->{certificate_sha256}, 0, 16 }
        grep { $_->{generation} } @$log;
    my ($one, $two) = map { substr $_->fingerprint, 0, 16 } $first, $second;

    is_deeply \@put, ["install 1 $one", "install 2 $two", "rollback 1 $one",
        "rollback 2 $two"], 'log: which certificate came and went';
    my %keys = map { $_->{key_sha256} => 1 }
        grep { $_->{command} eq 'new' } @$log;
    is scalar keys %keys, 2, 'and two keys were made';
    is_deeply [map { uc $_->{key_sha256} }
        grep { $_->{command} eq 'install' } @$log],
        [map { $_->key_id } $first, $second], 'those of the certificates';
    like +($guide->ecert('log', $site))[1],
        qr/^\S+Z  \S+ .*rollback\s+generation 1, certificate $one/mi,
        'also for people';
}
