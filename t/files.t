#!/usr/bin/perl

# Certificates outside the store: every form in which a CA or a tool leaves
# its files.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Live;
use Ecert::PKI;
use Ecert::Server;
use Ecert::Store;
use Ecert::Test;

my $pki = Ecert::PKI->new;
my ($sub, $cross, $root) = ($pki->sub, $pki->cross, $pki->root);
my $old = $pki->sub_old;

# What it is called, and from the leaf the bytes of its file; alone: without
# the folder of CA certificates beside it; one_file: the key is in it, too.
my @forms = (
    ['the leaf alone', sub ($leaf) { $leaf->pem }],
    ['DER', sub ($leaf) { $leaf->der }],
    ['PKCS#7, PEM', sub ($leaf) { pkcs7('PEM', $leaf) }],
    ['PKCS#7, DER', sub ($leaf) { pkcs7('DER', $leaf) }],
    ['PKCS#7 with all, PEM', sub ($leaf) {
        pkcs7('PEM', $root, $cross, $leaf, $sub) }, alone => 1],
    ['PKCS#7 with all, DER', sub ($leaf) {
        pkcs7('DER', $root, $cross, $leaf, $sub) }, alone => 1],
    ['full chain', sub ($leaf) { pem($leaf, $sub, $cross) }, alone => 1],
    ['full chain, backwards', sub ($leaf) { pem($cross, $sub, $leaf) },
        alone => 1],
    ['the leaf in between', sub ($leaf) { pem($sub, $leaf, $cross) },
        alone => 1],
    ['root included', sub ($leaf) { pem($leaf, $sub, $cross, $root) },
        alone => 1],
    ['all of it twice', sub ($leaf) {
        pem(($leaf, $sub, $cross) x 2, $root, $leaf) }, alone => 1],
    ['doubles of the folder beside', sub ($leaf) {
        pem($leaf, $cross, $cross, $sub) }],
    ['the old Sub CA in it', sub ($leaf) { pem($leaf, $old) }],
    ['CRLF', sub ($leaf) { pem($leaf, $sub) =~ s/\n/\r\n/gr }],
    ['CR CR LF', sub ($leaf) { pem($leaf, $sub) =~ s/\n/\r\r\n/gr }],
    ['an empty line after each', sub ($leaf) {
        pem($leaf, $sub) =~ s/\n/\n\n/gr }],
    ['CR, then LF', sub ($leaf) {
        ($leaf->pem =~ s/\n/\r/gr) . $sub->pem }],
    ['Base64 alone', sub ($leaf) { $leaf->pem =~ s/^-.*\n//gmr }],
    ['byte order mark', sub ($leaf) { "\xef\xbb\xbf" . $leaf->pem }],
    ['words before, between and behind', sub ($leaf) {
        "Subject: www\n\n" . $leaf->pem . "\nissuer:\n" . $sub->pem . 'end' }],
    ['no newline in the end', sub ($leaf) { $leaf->pem =~ s/\n\z//r }],
    ['key and chain in one file', sub ($leaf) {
        $leaf->key_pem . pem($leaf, $sub, $cross) }, alone => 1, one_file => 1],
);

for my $kind (servers()) {
    subtest "$kind, forms" => sub { forms($kind) };
    subtest "$kind, issuers" => sub { issuers($kind) };
    subtest "$kind, site.json" => sub { site_json($kind) };
}
done_testing;

sub pem (@certs) { return join '', map { $_->pem } @certs }

sub pkcs7 ($form, @certs) {
    state $n = 0;
    my $in = tmp() . '/in' . $n++;
    my ($first, @more) = @certs;
    $first->file($in, @more);
    my ($status, $out) = run('openssl', 'crl2pkcs7', '-nocrl', '-certfile',
        $in, '-outform', $form, '-out', "$in.p7");
    $status == 0 or die "openssl crl2pkcs7: $out";
    return slurp("$in.p7");
}

# One vhost for each form; then all change at once, in the same form.
sub forms ($kind) {
    my $store = Ecert::Store->new;
    my $beside = tmp() . "/$kind-issuers";
    mkdir $beside;
    $store->put("$beside/sub.crt", $sub->der, 0644);
    $store->put("$beside/cross.pem", $cross->pem, 0644);
    my @vhosts = map { vhost($kind, $store, $_, $beside) } 0 .. $#forms;
    my $server = Ecert::Server->new($kind, store => $store,
        vhosts => \@vhosts)->start;

    for my $i (0 .. $#forms) {
        serves($server, "f$i.example.hk", [$vhosts[$i]{leaf}, $sub, $cross],
            $forms[$i][0]);
    }
    my @renewed = map { install($kind, $store, $_) } 0 .. $#forms;
    for my $i (0 .. $#forms) {
        becomes($server, "f$i.example.hk", [$renewed[$i], $sub, $cross],
            "$forms[$i][0]: renewed");
        is_deeply [complaints($server, "f$i.example.hk")], [],
            'nothing to complain about';
    }
}

sub vhost ($kind, $store, $i, $beside) {
    my (undef, undef, %o) = @{ $forms[$i] };
    my $dir = tmp() . "/$kind-f$i";
    mkdir $dir;
    return { names => ["f$i.example.hk"], leaf => install($kind, $store, $i),
        directives => {
            ecert_certificate => "$dir/certificate",
            ecert_certificate_key =>
                $o{one_file} ? "$dir/certificate" : "$dir/key",
            $o{alone} ? () : (ecert_issuers => $beside),
        } };
}

sub install ($kind, $store, $i) {
    my (undef, $make, %o) = @{ $forms[$i] };
    my $leaf = $pki->leaf(names => ["f$i.example.hk"]);
    my $dir = tmp() . "/$kind-f$i";
    $store->put("$dir/key", $leaf->key_pem) if !$o{one_file};
    $store->put("$dir/certificate", $make->($leaf));
    return $leaf;
}

# ecert_issuers as files and as a folder, and changes in it.
sub issuers ($kind) {
    my $dir = tmp() . "/$kind-named";
    my $store = Ecert::Store->new;
    my $leaf = $pki->leaf;
    mkdir $_ for $dir, "$dir/folder";
    my $server = Ecert::Server->new($kind, store => $store, vhosts => [{
        names => ['www.example.hk'], directives => {
            ecert_certificate => $leaf->file("$dir/cert.pem"),
            ecert_certificate_key => $leaf->key_file("$dir/key.pem"),
            ecert_issuers => [$sub->file("$dir/sub.pem"), "$dir/folder"],
        } }])->start;

    serves($server, 'www.example.hk', [$leaf, $sub], 'a file');
    $store->put("$dir/folder/cross.cer", $cross->der);
    becomes($server, 'www.example.hk', [$leaf, $sub, $cross],
        'and what is put into a folder');
    $server->mark;
    $store->put("$dir/folder/README", "These are for ecert.\n");
    told($server, 'www.example.hk', 'format', "$dir/folder/README",
        'what is no certificate is told');
    serves($server, 'www.example.hk', [$leaf, $sub, $cross], 'no harm done');
    unlink "$dir/folder/cross.cer";
    becomes($server, 'www.example.hk', [$leaf, $sub], 'removed');
    $store->add_issuers($cross);
    becomes($server, 'www.example.hk', [$leaf, $sub, $cross],
        "the store's issuers count, too");
}

# The description of a store's site changes what is accepted and served.
sub site_json ($kind) {
    my $site = 'www.example.hk';
    my $store = Ecert::Store->new->add_issuers($sub, $cross, $root);
    my ($leaf, $new) = map { $pki->leaf(names => [$site, $_]) }
        'a.example.hk', 'b.example.hk';
    $store->install($site, $leaf);
    my $json = $store->describe($site, '{"names": ["www.example.hk",'
        . ' "A.example.hk"], "policy": {"cross_certificate": "off"}}');
    my $server = Ecert::Server->new($kind, store => $store,
        vhosts => [{ names => [$site], ecert => 'on' }])->start;

    serves($server, $site, [$leaf, $sub], 'cross_certificate off');
    $store->describe($site, '{"names": ["a.example.hk"]}');
    becomes($server, $site, [$leaf, $sub, $cross], 'not said: auto');
    $server->mark;
    $store->install($site, $new);
    told($server, $site, 'names', $store->site_dir($site)
        . '/current/certificate.pem', 'a certificate without a.example.hk');
    serves($server, $site, [$leaf, $sub, $cross], 'is not served');
    $store->describe($site, '{"names": ["b.example.hk"');
    told($server, $site, 'site-json', $json, 'a torn description');
    serves($server, $site, [$leaf, $sub, $cross], 'changes nothing');
    $store->describe($site, '{"names": ["b.example.hk"]}');
    becomes($server, $site, [$new, $sub, $cross], 'names of the new one');
}
