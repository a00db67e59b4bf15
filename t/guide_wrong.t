#!/usr/bin/perl

# Section E with a wrong file: each is refused in words that help, the request
# goes on waiting, and what is served stays.  And two requests that wait.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Command;
use Ecert::Guide;
use Ecert::Live;
use Ecert::PKI;
use Ecert::Test;

my $day = 86400;
my $site = 'www.example.hk';
my @names = ($site, 'example.hk');
my $other = 'shop.example.hk';
my $wide = 'many.example.hk';
my $left_out = qr/^Not asked for .* have them:\n  (?:host\d\.\Q$wide\E ?){3}
  (?:host\d\.\Q$wide\E ?){2}$/m;
my $pki = Ecert::PKI->new;

for my $kind (servers()) {
    subtest $kind => sub {
        my $guide = Ecert::Guide->new($kind, pki => $pki,
            sites => { $site => ['example.hk'], $other => [],
                $wide => [map { "host$_.$wide" } 1 .. 5] });
        $guide->add_issuers;
        my $old = $guide->walk(server_name => $site, kind => 'multi-domain',
            more => ['example.hk']);
        my $now = $guide->walk(server_name => $site, kind => 'multi-domain',
            more => ['example.hk']);
        my $others = $guide->request($other);
        like $guide->does('new', 'new', $site, '--name', $site),
            qr/^The present .*^Not asked for .*: example\.hk$/ms,
            'new tells which names of the virtual hosts are left out';
        my $csr = $guide->request($site, '--name', 'example.hk');
        wrong($guide, $now, $_) for rows($guide, $old, $csr, $others);
        subtest 'two that wait' => sub { two_that_wait($guide, $others) };
        subtest 'a site that no server has' => sub { unconfigured($guide) };
        subtest 'the right one after all' => sub {
            my $leaf = signed($pki, $csr, names => \@names);
            $guide->does('install', 'install', $site,
                $leaf->file(tmp() . '/right.pem'), '--wait');
            serves($guide->server, $site, [$leaf, $pki->sub, $pki->cross],
                'is served');
        };
        like $guide->does('new of a third', 'new', $wide), $left_out,
            'many names that are left out stand in lines that fit';
    };
}
done_testing;

# What, its words, and the file.
sub rows ($guide, $old, $csr, $others) {
    my %good = (names => \@names);
    my $file = sub ($cert, @more) {
        state $n = 0;
        return $cert->file(tmp() . '/wrong' . $n++ . '.crt', @more);
    };
    my $mine = sub (%o) { $file->(signed($pki, $csr, %good, %o)) };
    my $save = sub ($name, $bytes) { $guide->save("$name.crt", $bytes) };

    return (
        ['a key that is nowhere', qr/unknown-key: .*where its request was made/,
            $file->($pki->leaf(%good))],
        ['of an older request', qr/older-request: .*generation 1\b.*submit the/,
            $file->($pki->leaf(%good, key => $old->key))],
        ['the certificate of before',
            qr/older-request: .*ecert rollback \Q$site\E 1;/, $file->($old)],
        ['of another site', qr/unknown-key: .*ecert install \Q$other\E FILE/,
            $file->(signed($pki, $others, names => [$other]))],
        ['for other names', qr/names: .*www\.example\.hk, example\.hk are not/,
            $mine->(names => ['www.other.hk'])],
        ['for one name only', qr/names: .*\(example\.hk is not in the cert/,
            $mine->(names => [$site])],
        ['expired', qr/expired: .*request and install a new/,
            $mine->(not_before => time - 9 * $day, not_after => time - $day)],
        ['of a Sub CA', qr/purpose: .*ecert issuers add FILE/,
            $file->($pki->sub)],
        ['for clients', qr/purpose: .*the certificate is not one for a TLS/,
            $mine->(eku => 'clientAuth')],
        ['signed with SHA-1', qr/signature: .*SHA-256 or better/,
            $mine->(digest => 'sha1')],
        ['two of servers', qr/too-many: .*more than one server's certificate/,
            $file->($pki->leaf, signed($pki, $csr, %good))],
        ['the request itself', qr/: .*certificate request/, $save->(csr => $csr)],
        ['a web page', qr/format: .*save the file again/,
            $save->(page => "<!DOCTYPE html>\n<html>Sign in</html>\n")],
        ['an empty file', qr/empty: /, $save->(empty => '')],
        ['half a file', qr/truncated: .*save the whole file/,
            $save->(half => substr $pki->leaf(%good)->pem, 0, 600)],
        ['no file', qr/missing: /, tmp() . '/none.crt'],
    );
}

sub wrong ($guide, $now, $row) {
    my ($what, $words, $file) = @$row;
    subtest $what => sub {
        my $before = $guide->progress($site);
        my @tree = tree($guide);
        $guide->refuses($words, 'install', 'install', $site, $file, '--wait');
        serves($guide->server, $site, [$now, $pki->sub, $pki->cross],
            'what is served stays');
        is_deeply $guide->progress($site), $before,
            'the request waits as before';
        is_deeply [tree($guide)], \@tree, 'nothing was left behind';
    };
}

sub tree ($guide) {
    return sort split /\n/, (run('find', $guide->store->site_dir($site)))[1];
}

sub two_that_wait ($guide, $first_csr) {
    my $second_csr = $guide->request($other);
    my ($first, $second) = map { signed($pki, $_, names => [$other]) }
        $first_csr, $second_csr;
    my $waiting = sub {
        return join ' ', map { $_->{request} }
            @{ $guide->progress($other)->{requests} };
    };

    is $waiting->(), '1 2', 'two requests wait';
    is $guide->csr($other, '--request', 1), $first_csr,
        'the first one can be printed still';
    $guide->does('the second, by its key alone', 'install',
        $second->file(tmp() . '/second.pem'), '--wait');
    becomes($guide->server, $other, [$second, $pki->sub, $pki->cross],
        'it is served');
    is $waiting->(), '1', 'the first goes on waiting';
    $guide->does('the first, by its key alone', 'install',
        $first->file(tmp() . '/first.pem'), '--wait');
    becomes($guide->server, $other, [$first, $pki->sub, $pki->cross],
        'what was installed last is served');
    is $waiting->(), '', 'none waits';
    $guide->refuses(qr/unknown-key: /, 'a stranger, by its key alone',
        'install', $pki->leaf->file(tmp() . '/stranger.pem'));
}

# It is among the names of another site's virtual host, no more.
sub unconfigured ($guide) {
    my $name = 'example.hk';
    my $leaf = signed($pki, $guide->request($name), names => [$name]);
    my $out = $guide->does('install --wait', 'install', $name,
        $leaf->file(tmp() . '/unconfigured.pem'), '--timeout', 20);
    like $out, qr/^No running server has this site/m,
        'comes back at once, and says so';
}
