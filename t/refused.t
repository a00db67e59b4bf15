#!/usr/bin/perl

# Bad changes: what was served stays, one line of the error log says which
# site, which file, why and what to do, status shows it; the repair goes live
# without a reload.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use POSIX ();

use Ecert::Live;
use Ecert::PKI;
use Ecert::Server;
use Ecert::Store;
use Ecert::Test;

my $day = 86400;
my $pki = Ecert::PKI->new;
my $sub = $pki->sub;

# Name, reason word, which of the two files the message names, what happens:
# a function of site, or the bytes of that file, or a certificate (which
# comes with its key).
my @rows = (
    ['torn', 'truncated', 'cert', sub ($s) { substr leaf($s)->pem, 0, 500 }],
    ['torn-key', 'truncated', 'key',
        sub ($s) { substr $s->{leaf}->key_pem, 0, 100 }],
    ['no-end', 'truncated', 'cert',
        sub ($s) { leaf($s)->pem =~ s/-+END.*\n//r }],
    ['damaged', 'truncated', 'cert',
        sub ($s) { leaf($s)->pem =~ s/^(.{200})..../$1!!!!/sr }],
    ['wrong-key', 'key-mismatch', 'cert', sub ($s) { leaf($s)->pem }],
    ['empty', 'empty', 'cert', sub ($s) { '' }],
    ['empty-key', 'empty', 'key', sub ($s) { '' }],
    ['html', 'format', 'cert', sub ($s) {
        '<!DOCTYPE html><html><body>Please log in</body></html>' }],
    ['binary', 'format', 'cert', sub ($s) { "\0\1\2\3" x 100 }],
    ['key-as-certificate', 'format', 'cert',
        sub ($s) { $s->{leaf}->key_pem }],
    ['certificate-as-key', 'no-key', 'key', sub ($s) { $s->{leaf}->pem }],
    ['encrypted', 'encrypted-key', 'key', \&encrypted],
    ['other-names', 'names', 'cert', sub ($s) {
        $pki->leaf(names => ['other.example.hk']) }],
    ['expired', 'expired', 'cert', sub ($s) {
        leaf($s, not_before => time - 9 * $day, not_after => time - $day) }],
    ['not-yet', 'not-yet-valid', 'cert', sub ($s) {
        leaf($s, not_before => time + $day) }],
    ['ca', 'purpose', 'cert', sub ($s) { $sub }],
    ['client', 'purpose', 'cert', sub ($s) { leaf($s, eku => 'clientAuth') }],
    ['p-521', 'key-type', 'key', sub ($s) { leaf($s, key => 'P-521') }],
    ['ed25519', 'key-type', 'key', sub ($s) { leaf($s, key => 'Ed25519') }],
    ['rsa-1024', 'key-type', 'key', sub ($s) { leaf($s, key => 'RSA-1024') }],
    ['sha-1', 'signature', 'cert', sub ($s) { leaf($s, digest => 'sha1') }],
    ['large', 'too-large', 'cert', sub ($s) { leaf($s)->pem x 2000 }],
    ['many', 'too-many', 'cert', sub ($s) {
        $s->{leaf}->pem . join '', map { leaf($s)->pem } 1 .. 20 }],
    ['fifo', 'not-a-file', 'cert', sub ($s) {
        unlink $s->{cert};
        POSIX::mkfifo($s->{cert}, 0644) or die "mkfifo: $!";
        return undef }],
    ['folder', 'not-a-file', 'cert', sub ($s) {
        unlink $s->{cert};
        mkdir $s->{cert};
        return undef }],
    ['missing', 'missing', 'cert', sub ($s) {
        unlink $s->{cert};
        return undef }],
    ['missing-key', 'no-key', 'key', sub ($s) {
        unlink $s->{key};
        return undef }],
    ['loop', 'system', 'cert', sub ($s) {
        unlink $s->{cert};
        symlink $s->{cert}, $s->{cert};
        return undef }],
    ['open-folder', 'unsafe-path', 'cert', sub ($s) {
        chmod 0777, $s->{dir};
        return leaf($s)->pem }],
    ['open-file', 'unsafe-path', 'key', sub ($s) {
        chmod 0666, $s->{key};
        return undef }],
);
# Needs an agent that may not read all.
my @unprivileged = (
    ['not-readable', 'unreadable', 'key', sub ($s) {
        chmod 0, $s->{key};
        return undef }],
    ['not-searchable', 'unreadable', 'cert', sub ($s) {
        chmod 0, $s->{dir};
        return undef }],
);

for my $kind (servers()) {
    subtest $kind => sub { table($kind, undef, @rows) };
    subtest "$kind, unprivileged" => sub {
        table($kind, $> == 0 ? 'www-data' : undef, @unprivileged);
    };
}
done_testing;

sub encrypted ($s) {
    my ($status, $out) = run('openssl', 'pkey', '-in', $s->{key}, '-aes128',
        '-passout', 'pass:secret');
    $status == 0 or die "openssl pkey: $out";
    return $out;
}

sub leaf ($s, %o) { return $pki->leaf(names => [$s->{host}], %o) }

# All rows at once, each a vhost with its own files.
sub table ($kind, $user, @table) {
    my $dir = tmp() . "/$kind-" . ($user // 'root');
    my $store = Ecert::Store->new(owner => $user);
    mkdir $dir;
    $store->add_issuers($sub, $pki->cross);
    my @sites = map { site($store, "$dir/$_->[0]", @$_) } @table;
    my $server = Ecert::Server->new($kind, store => $store, user => $user,
        vhosts => [map { $_->{vhost} } @sites])->start;
    my @workers = $server->workers;

    served_all($server, 'at start', @sites);
    break($store, $_) for @sites;
    told($server, $_->{host}, $_->{reason}, $_->{ $_->{names} }, $_->{host})
        for @sites;
    served_all($server, 'what was served stays', @sites);
    shown($server, $_) for @sites;

    $server->mark;
    for my $s (@sites) {
        repair($store, $s);
        becomes($server, $s->{host}, [$s->{leaf}, $sub, $pki->cross],
            "$s->{host}: repaired");
    }
    for my $s (@sites) {
        is_deeply [complaints($server, $s->{host})], [],
            "$s->{host}: no more complaints";
        is status_of($server, $s->{host})->{error}, undef, 'status: no error';
    }
    is_deeply [sort $server->workers], [sort @workers], 'the same workers';
}

sub site ($store, $dir, $name, $reason, $names, $break) {
    my $s = { host => "$name.example.hk", reason => $reason, dir => $dir,
        names => $names, break => $break,
        cert => "$dir/cert.pem", key => "$dir/key.pem" };
    $store->_mkdir($dir);
    repair($store, $s);
    $s->{vhost} = { names => [$s->{host}], directives => {
        ecert_certificate => $s->{cert}, ecert_certificate_key => $s->{key} } };
    return $s;
}

# A new leaf, whatever stands in the way.
sub repair ($store, $s) {
    $s->{leaf} = leaf($s);
    chmod 0755, $s->{dir};
    rmdir $s->{cert};
    $store->put($s->{cert}, $s->{leaf}->pem);
    $store->put($s->{key}, $s->{leaf}->key_pem);
}

sub break ($store, $s) {
    my $bad = $s->{break}->($s) // return;
    if (ref $bad) {
        $store->put($s->{key}, $bad->key_pem);
        $store->put($s->{cert}, $bad->pem);
    } else {
        $store->put($s->{ $s->{names} }, $bad);
    }
}

sub served_all ($server, $what, @sites) {
    serves($server, $_->{host}, [$_->{leaf}, $sub, $pki->cross],
        "$_->{host}: $what") for @sites;
}

# The one line in the log, and what status makes of it.
sub shown ($server, $s) {
    my @told = complaints($server, $s->{host});
    my $error = status_of($server, $s->{host})->{error} // {};
    is scalar @told, 1, "$s->{host}: told once" or diag join "\n", @told;
    is $error->{reason}, $s->{reason}, 'status: the reason';
    is $error->{file}, $s->{ $s->{names} }, 'the file';
    ok length $error->{remedy}, 'and what to do';
}
