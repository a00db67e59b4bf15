#!/usr/bin/perl

# Renewals as other tools and people do them: certbot's links, Kubernetes'
# folders, rename, rewriting in place, cp, the key seconds before its
# certificate.  What is torn for a moment is never served, nor complained
# about.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use File::Path ();

use Ecert::Live;
use Ecert::PKI;
use Ecert::Server;
use Ecert::Store;
use Ecert::Test;

my $pki = Ecert::PKI->new;
my @chain = ($pki->sub, $pki->cross);
my $site = 'www.example.hk';

# Name, the two files below the folder, how the nth leaf gets there.  step is
# called between any two operations.
my @layouts = (
    ['certbot', 'live/s/fullchain.pem', 'live/s/privkey.pem', \&certbot],
    ['Kubernetes', 'tls.crt', 'tls.key', \&kubernetes],
    ['rename', 'cert.pem', 'key.pem', \&by_rename],
    ['in place', 'cert.pem', 'key.pem', \&in_place],
    ['cp', 'cert.pem', 'key.pem', \&by_cp],
);
my $rounds = 3;

for my $kind (servers()) {
    subtest "$kind, $_->[0]" => sub { layout($kind, @$_) } for @layouts;
    subtest "$kind, key first" => sub { key_first($kind) };
}
done_testing;

sub server ($kind, $certificate, $key) {
    my $store = Ecert::Store->new->add_issuers(@chain);
    return Ecert::Server->new($kind, store => $store, vhosts => [{
        names => [$site], directives => { ecert_certificate => $certificate,
            ecert_certificate_key => $key } }])->start;
}

sub layout ($kind, $name, $certificate, $key, $put) {
    my $dir = tmp() . "/$kind-$name";
    my @leaves = map { $pki->leaf(names => [$site]) } 0 .. $rounds;
    File::Path::make_path($dir);
    $put->($dir, 0, $leaves[0], sub { });
    my $server = server($kind, "$dir/$certificate", "$dir/$key");
    my @workers = $server->workers;

    serves($server, $site, [$leaves[0], @chain], 'at start');
    for my $n (1 .. $rounds) {
        $put->($dir, $n, $leaves[$n], sub ($what) {
            serves($server, $site, [$leaves[$n - 1], @chain],
                "$n: the one before is served after $what");
        });
        becomes($server, $site, [$leaves[$n], @chain], "$n: live");
    }
    is_deeply [complaints($server, $site)], [], 'nothing to complain about';
    is_deeply [sort $server->workers], [sort @workers], 'the same workers';
}

sub put ($file, $mode, @bytes) {
    my $after = @bytes > 1 ? pop @bytes : sub { };
    open my $out, $mode, $file or die "$file: $!";
    $out->autoflush;
    for my $i (0 .. $#bytes) {
        print $out $bytes[$i];
        $after->('a part of ' . $file =~ s{.*/}{}r) if $i < $#bytes;
    }
    close $out or die "$file: $!";
    return $file;
}

sub relink ($to, $link) {
    unlink $link;
    symlink $to, $link or die "$link: $!";
}

# One link after the other, each gone for a moment.
sub certbot ($dir, $n, $leaf, $step) {
    my $archive = "$dir/archive/s";
    my %content = (cert => $leaf->pem, chain => $pki->sub->pem,
        fullchain => $leaf->pem . $pki->sub->pem, privkey => $leaf->key_pem);
    File::Path::make_path($archive, "$dir/live/s");
    put("$archive/$_$n.pem", '>', $content{$_}) for sort keys %content;

    for my $file (qw(cert privkey chain fullchain)) {
        relink("../../archive/s/$file$n.pem", "$dir/live/s/$file.pem");
        $step->("the link $file.pem") if $file ne 'fullchain';
    }
}

sub kubernetes ($dir, $n, $leaf, $step) {
    my $new = "..2026_11_23.$n";
    mkdir "$dir/$new";
    put("$dir/$new/tls.crt", '>', $leaf->pem);
    put("$dir/$new/tls.key", '>', $leaf->key_pem);
    $step->('the new folder');
    symlink $new, "$dir/..data_tmp";
    rename "$dir/..data_tmp", "$dir/..data" or die "..data: $!";
    if ($n == 0) {
        relink("..data/$_", "$dir/$_") for qw(tls.crt tls.key);
    } else {
        File::Path::remove_tree("$dir/..2026_11_23." . ($n - 1));
    }
}

sub by_rename ($dir, $n, $leaf, $step) {
    put("$dir/new.key", '>', $leaf->key_pem);
    put("$dir/new.cert", '>', $leaf->pem);
    rename "$dir/new.key", "$dir/key.pem";
    $step->('the new key');
    rename "$dir/new.cert", "$dir/cert.pem";
}

sub in_place ($dir, $n, $leaf, $step) {
    my ($half, $rest) = unpack 'a400 a*', $leaf->pem;
    my ($key, $end) = unpack 'a90 a*', $leaf->key_pem;
    put("$dir/cert.pem", '>', '', $half, $rest, $step);
    $step->('the new certificate');
    put("$dir/key.pem", '>', '', $key, $end, $step);
}

sub by_cp ($dir, $n, $leaf, $step) {
    for my $file ('key.pem', 'cert.pem') {
        my $from = put("$dir.$file", '>',
            $file eq 'key.pem' ? $leaf->key_pem : $leaf->pem);
        my ($status, $out) = run('cp', $from, "$dir/$file");
        $status == 0 or die "cp: $out";
        $step->('the new key') if $file eq 'key.pem';
    }
}

# The certificate comes so late that the pair was told to be wrong.
sub key_first ($kind) {
    my $dir = tmp() . "/$kind-key-first";
    my ($old, $new) = map { $pki->leaf(names => [$site]) } 1, 2;
    mkdir $dir;
    by_rename($dir, 0, $old, sub { });
    my $server = server($kind, "$dir/cert.pem", "$dir/key.pem");

    $new->key_file("$dir/key.pem");
    told($server, $site, 'key-mismatch', "$dir/cert.pem", 'told');
    serves($server, $site, [$old, @chain], 'the old pair is served');
    is status_of($server, $site)->{error}{reason}, 'key-mismatch', 'status';
    $new->file("$dir/cert.pem");
    becomes($server, $site, [$new, @chain], 'then the certificate');
    is scalar complaints($server, $site), 1, 'complained about only once';
    is status_of($server, $site)->{error}, undef, 'status: no error';
}
