#!/usr/bin/perl

# Kinds of keys, from RSA to EC and back, seen by clients that can take only
# one of them; and the forms in which a key may stand in its file.

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
my $root = $pki->root->file(tmp() . '/root.pem');

my %ciphers = (
    RSA => 'ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384',
    EC => 'ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384',
);
my @kinds = qw(RSA-2048 P-256 RSA-3072 P-384 RSA-4096 P-256 RSA-2048 P-384);
my %key = map { $_ => $pki->key($_) } @kinds;
my @leaves = map { [$_, $pki->leaf(names => [$site], key => $key{$_})] }
    @kinds;

# Certificate's kind, form, how the key is made from PKCS#8; what its label is
# to say instead.
my @forms = (
    ['P-256', 'PKCS#8, PEM', []],
    ['P-256', 'SEC1, PEM', ['-traditional']],
    ['P-384', 'SEC1, DER', [qw(-traditional -outform DER)]],
    ['P-384', 'PKCS#8, DER', [qw(-outform DER)]],
    ['RSA-2048', 'PKCS#8, PEM', []],
    ['RSA-2048', 'PKCS#1, PEM', ['-traditional']],
    ['RSA-3072', 'PKCS#1, DER', [qw(-traditional -outform DER)]],
    ['RSA-4096', 'PKCS#8, DER', [qw(-outform DER)]],
    ['RSA-2048', 'PKCS#1, PEM, labelled as PKCS#8', ['-traditional'], ''],
    ['RSA-2048', 'PKCS#8, PEM, labelled as PKCS#1', [], 'RSA '],
    ['P-256', 'SEC1, PEM, labelled as PKCS#8', ['-traditional'], ''],
    ['P-256', 'PKCS#8, PEM, labelled as SEC1', [], 'EC '],
);

for my $kind (servers()) {
    subtest "$kind, one after the other" => sub { kinds($kind) };
    subtest "$kind, forms" => sub { forms($kind) };
}
done_testing;

sub kinds ($kind) {
    my $store = Ecert::Store->new->add_issuers($pki->sub, $pki->cross);
    my $server = Ecert::Server->new($kind, store => $store,
        vhosts => [{ names => [$site], ecert => 'on' }])->start;

    for (@leaves) {
        my ($name, $leaf) = @$_;
        $store->install($site, $leaf);
        becomes($server, $site, [$leaf, $pki->sub, $pki->cross], $name);
        clients($server, $name, $leaf);
    }
    # That it was not there first, or while its folder was being filled.
    is_deeply [grep { !/: no-(?:site|certificate): / }
        complaints($server, $site)], [], 'nothing else was complained about';
}

sub clients ($server, $name, $leaf) {
    my ($mine, $other) = $name =~ /RSA/ ? qw(RSA EC) : qw(EC RSA);
    my %ask = (name => $site, roots => $root);

    for ([version => '1.2', ciphers => $ciphers{$mine}],
        [version => '1.2'], [version => '1.3'])
    {
        my $answer = handshake($server->port, %ask, @$_);
        ok $answer->{ok} && $answer->{verified}
            && $answer->{fingerprint} eq $leaf->fingerprint,
            "$name: a client with @$_"
            or diag $answer->{error} || $answer->{verify_error};
    }
    my $none = handshake($server->port, %ask, version => '1.2',
        ciphers => $ciphers{$other});
    like $none->{error}, qr/handshake failure/,
        "$name: nothing for a client that takes only $other";
}

sub forms ($kind) {
    my @vhosts;
    for my $i (0 .. $#forms) {
        my ($type, undef, $how, $label) = @{ $forms[$i] };
        my $name = "f$i.example.hk";
        my $leaf = $pki->leaf(names => [$name], key => $key{$type});
        push @vhosts, { names => [$name], leaf => $leaf, directives => {
            ecert_certificate => $leaf->file(tmp() . "/$name.pem"),
            ecert_certificate_key =>
                labelled($label, key_file($leaf, $name, @$how)),
        } };
    }
    my $store = Ecert::Store->new->add_issuers($pki->sub, $pki->cross);
    my $server = Ecert::Server->new($kind, store => $store,
        vhosts => \@vhosts)->start;

    for my $i (0 .. $#forms) {
        serves($server, $vhosts[$i]{names}[0],
            [$vhosts[$i]{leaf}, $pki->sub, $pki->cross],
            "$forms[$i][0], $forms[$i][1]");
    }
}

sub labelled ($label, $file) {
    return $file if !defined $label;
    my $text = slurp($file) =~ s/(BEGIN|END) .*?PRIVATE/$1 ${label}PRIVATE/gr;
    open my $out, '>', $file or die "$file: $!";
    print {$out} $text;
    close $out or die "$file: $!";
    return $file;
}

sub key_file ($leaf, $name, @how) {
    my $plain = $leaf->key_file(tmp() . "/$name.pkcs8");
    my $file = tmp() . "/$name.key";
    my ($status, $out) = run('openssl', 'pkey', '-in', $plain, '-out', $file,
        @how);
    $status == 0 or die "openssl pkey: $out";
    chmod 0600, $file;
    return $file;
}
