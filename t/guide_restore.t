#!/usr/bin/perl

# Sections F and G: what was backed up on one machine is restored on another,
# with a store and a server of its own, and served there.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Command;
use Ecert::Guide;
use Ecert::Live;
use Ecert::PKI;
use Ecert::Portal;
use Ecert::Test;

my $site = 'www.example.hk';
my $served = '+installed +chain-complete +served';
my $pki = Ecert::PKI->new;
my $portal = Ecert::Portal->new(pki => $pki);
my ($password, $wrong) = map { password_file($_) } 'correct horse', 'donkey';

for my $kind (servers()) {
    subtest $kind => sub {
        my ($old, $new) = map {
            Ecert::Guide->new($kind, pki => $pki, portal => $portal,
                sites => { $site => [] })
        } 1 .. 2;
        $old->add_issuers;
        my $leaf = $old->walk(server_name => $site);
        subtest 'with the certificate' => sub { moves($old, $new, $leaf) };
        subtest 'the key alone' => sub { key_alone($old, $new, $leaf) };
        subtest 'an older one' => sub { older($old, $new, $leaf) };
        subtest 'not to be exported' => sub { no_export($old, $kind) };
    };
}
done_testing;

sub backup ($guide, $name, @options) {
    my $pfx = tmp() . '/' . $guide->server->kind . "-$name.pfx";
    $guide->does("backup $name", 'backup', $site, '-o', $pfx,
        '--password-file', $password, @options);
    return $pfx;
}

sub moves ($old, $new, $leaf) {
    my %pfx = map { $_ => backup($old, $_, '--profile', $_) }
        qw(modern windows);
    my @workers = sort $new->server->workers;

    $new->stands($site, ' => new', 'nothing is there yet');
    $new->refuses(qr/password: /, 'a wrong password', 'restore', $pfx{modern},
        '--password-file', $wrong);
    $new->stands($site, ' => new', 'nothing has changed');
    my $out = $new->does('restore', 'restore', $pfx{windows},
        '--password-file', $password);
    like $out, qr/^Restored as generation 1\./m, 'it becomes the first one';
    like $out, qr/^added to the pool: .*SSL CA 3 - 17/m, 'and the Sub CA comes';
    my @chain = ($leaf, $pki->sub, $pki->cross);
    becomes($new->server, $site, \@chain, 'served on the new machine');
    is_deeply [sort $new->server->workers], \@workers, 'by the same workers';
    $new->stands($site, "$served +certificate-backed-up ~renewal => renew-later",
        'status: served there');
    like $new->does('restore again', 'restore', $pfx{modern},
        '--password-file', $password), qr/there already, as generation 1/,
        'the other file holds the same';
    serves($old->server, $site, \@chain, 'the old machine serves it, too');
}

# A backup of a request that waited: its certificate comes here.
sub key_alone ($old, $new, $leaf) {
    $old->does('new', 'new', $site);
    my $pfx = backup($old, 'pending', '--pending');
    my $csr = $old->csr($site);
    my $second = signed($pki, $csr, names => [$site],
        not_after => time + 20 * 86400);
    my $file = $second->file(tmp() . '/second.pem');

    $new->refuses(qr/unknown-key: .*ecert restore FILE/,
        'its certificate before the key', 'install', $site, $file);
    like $new->does('restore', 'restore', $pfx, '--password-file', $password),
        qr/^A key without its certificate: it waits as a request/m,
        'it waits as a request';
    serves($new->server, $site, [$leaf, $pki->sub, $pki->cross],
        'what is served stays');
    $new->refuses(qr/: .*ecert\s+new/, 'csr: there is none', 'csr', $site,
        '--no-backup');
    $new->does('install', 'install', $file, '--wait');
    serves($new->server, $site, [$second, $pki->sub, $pki->cross],
        'its certificate is served');
}

# What comes back is served only if it lives longer.
sub older ($old, $new, $leaf) {
    my $third = $old->walk(server_name => $site);
    $old->does('restore of what was before', 'restore', tmp() . '/'
        . $old->server->kind . '-modern.pfx', '--password-file', $password);
    serves($old->server, $site, [$third, $pki->sub, $pki->cross],
        'what lives longer goes on being served');

    my $out = $new->does('restore', 'restore', backup($old, 'third'),
        '--password-file', $password);
    becomes($new->server, $site, [$third, $pki->sub, $pki->cross],
        'what lives longer is served on the new machine, too') or diag $out;
    my $log = ecert_json($new->store, 'log', $site)->{log};
    is_deeply [map { $_->{command} . ' ' . ($_->{generation} // '-') } @$log],
        ['restore 1', 'restore 1', 'restore -', 'install 2', 'restore 3'],
        'log: what came here';
}

# The unticked box of Windows.
sub no_export ($old, $kind) {
    my $new = Ecert::Guide->new($kind, pki => $pki, portal => $portal,
        sites => { $site => [] });
    my $pfx = backup($old, 'again');
    $new->does('restore --no-export', 'restore', $pfx, '--no-export',
        '--password-file', $password);
    $new->refuses(qr/not-exportable: /, 'backup', 'backup', $site, '-o',
        tmp() . "/$kind-none.pfx", '--password-file', $password);
    ok !-e tmp() . "/$kind-none.pfx", 'and no file is made';
    ok wait_for(sub { $new->progress($site)->{next}{step} eq 'renew-later' }),
        'status asks for no backup';
    $new->does('new', 'new', $site);
    like $new->csr($site, '--no-backup'), qr/REQUEST/,
        'a renewal with subject and names of the certificate';
}
