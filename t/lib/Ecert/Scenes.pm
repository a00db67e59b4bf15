package Ecert::Scenes;

# Commands that change a store, each with a store that was prepared for it.
# A scene runs in a folder of its own, which is copied for each try:
#
#   store/  the store    out/  where backups go    in/  files that are handed
#
#   my $scene = Ecert::Scenes->make('install, renewal');
#   $scene->{make}->($dir);                  # the template
#   my @command = $scene->command($dir);     # in a copy of it
#
# again: so many requests may come from a second run; once: a second run finds
# nothing to do (missing); swaps: what is served and site.json change together;
# bare: there is no store yet; network: it downloads, and only who asks for such
# scenes gets them.

use v5.36;

use File::Path ();
use JSON::PP ();

use Ecert::Command;
use Ecert::PKI;
use Ecert::Store;
use Ecert::Test;
use Ecert::Web;

my $site = 'www.example.hk';
my @new = ('new', $site, '--key', 'ec:P-256');
my @password = ('--password-file', 'in/password');

my ($pki, $far);

# Name, template, command, and what the command may do again and again.
my @scenes = (
    ['new, first', sub ($s) { },
        [@new, '--name', 'example.hk', '--org', 'Example Limited'],
        again => 1, bare => 1],
    ['new, renewal', sub ($s) { installed($s) }, [@new], again => 1],
    ['csr', sub ($s) { installed($s); $s->(@new) },
        ['csr', $site, '--no-backup']],
    ['install, first', sub ($s) { asked($s, 'issued') },
        ['install', $site, 'in/issued.pem'], swaps => 1],
    ['install, renewal', sub ($s) {
        installed($s);
        asked($s, 'issued', 'shop.example.hk');
    }, ['install', $site, 'in/issued.pem'], swaps => 1],
    ['install, PFX', sub ($s) { installed($s); pfx($s, 'example.hk') },
        ['install', $site, 'in/other.pfx', @password], swaps => 1],
    ['backup, pending', sub ($s) { installed($s); $s->(@new) },
        ['backup', $site, '--pending', '-o', 'out/key.pfx', @password]],
    ['backup', sub ($s) { installed($s) },
        ['backup', $site, '-o', 'out/all.pfx', @password]],
    ['restore', sub ($s) { installed($s); pfx($s, 'shop.example.hk') },
        ['restore', 'in/other.pfx', '--name', $site, @password], swaps => 1],
    ['restore, key', sub ($s) { installed($s); pfx($s) },
        ['restore', 'in/key.pfx', '--name', $site, @password]],
    ['rollback', sub ($s) {
        installed($s);
        asked($s, 'issued', 'shop.example.hk');
        $s->('install', $site, 'in/issued.pem');
    }, ['rollback', $site, 1], swaps => 1],
    ['dcv add', sub ($s) { installed($s); $s->(@new) },
        ['dcv', 'add', $site, 'in/fileauth.txt']],
    ['dcv remove', sub ($s) {
        installed($s);
        $s->(@new);
        $s->('dcv', 'add', $site, 'in/fileauth.txt');
    }, ['dcv', 'remove', $site, 'fileauth.txt'], once => 1],
    ['issuers add', sub ($s) { installed($s) },
        ['issuers', 'add', 'in/ev.pem']],
    ['issuers remove', sub ($s) {
        installed($s);
        $s->('issuers', 'add', 'in/ev.pem');
    }, ['issuers', 'remove', sub { substr $pki->ev->fingerprint, 0, 16 }],
        once => 1],
    ['issuers update', sub ($s) { catalogue($s) },
        ['issuers', 'update', '--allow', '127.0.0.1', '--catalogue',
            'in/catalogue.json'], network => 1],
);

sub names ($class, %o) {
    return map { $_->[0] } grep { my ($name, $make, $command, %is) = @$_;
        !$is{network} || $o{network} } @scenes;
}

# The words of the commands that they run.
sub commands ($class) {
    return map { join ' ', grep { /^[a-z]+$/ } $_->[2]->@[0, 1] } @scenes;
}

sub site { return $site }

sub make ($class, $name) {
    my ($found) = grep { $_->[0] eq $name } @scenes;
    my ($title, $prepare, $command, %o) = @$found;
    $pki //= Ecert::PKI->new;
    return bless { name => $title, prepare => $prepare, command => $command,
        again => 0, %o }, $class;
}

# Its folder as it is before the command.
sub prepare ($scene, $dir) {
    File::Path::make_path("$dir/out", "$dir/in");
    put("$dir/in/password", "correct horse\n");
    chmod 0600, "$dir/in/password" or die "$dir/in/password: $!";
    put("$dir/in/fileauth.txt", "0123456789abcdef\n");
    put("$dir/in/ev.pem", $pki->ev->pem, $pki->cross->pem);
    if (!$scene->{bare}) {
        Ecert::Store->new(dir => "$dir/store")
            ->add_issuers($pki->root, $pki->sub);
    }
    $scene->{prepare}->(sub (@args) {
        return $dir if !@args;
        my ($status, $out) = run($scene->arguments($dir, @args));
        $status == 0 or die "@args: $out";
        return $out;
    });
    return $dir;
}

# What to run in this copy of its folder.
sub command ($scene, $dir) {
    return $scene->arguments($dir,
        map { ref ? $_->() : $_ } @{ $scene->{command} });
}

sub arguments ($scene, $dir, @args) {
    return (build_dir() . '/ecert',
        map({ m{^(?:in|out)/} ? "$dir/$_" : $_ } @args),
        '--store', "$dir/store");
}

sub put ($file, @bytes) {
    open my $out, '>:raw', $file or die "$file: $!";
    print $out @bytes;
    close $out or die "$file: $!";
    return $file;
}

# A request that waits, and in/NAME.pem for it.
sub asked ($s, $name, @more) {
    my @names = ($site, @more ? @more : 'example.hk');
    $s->(@new, map { ('--name', $_) } @names[1 .. $#names]);
    my $leaf = signed($pki, csr_of($s->() . '/store', $site, '--no-backup'),
        names => \@names, not_after => time + 86400 * ($name eq 'first'
            ? 40 : 190));
    put($s->() . "/in/$name.pem", $leaf->pem);
}

# A site with a certificate: generation 1.
sub installed ($s) {
    asked($s, 'first');
    $s->('install', $site, 'in/first.pem');
}

# in/catalogue.json with a Sub CA that is still to be downloaded.
sub catalogue ($s) {
    my $ev = $pki->ev;
    state $web = Ecert::Web->new(
        answer => sub (@) { return Ecert::Web::ok($ev->pem) });
    put($s->() . '/in/catalogue.json', JSON::PP::encode_json({
        schema => 'ecert-ca', version => 1, updated => '2026-01-01',
        name => 'Test', entries => [{ id => 'sub-ev', role => 'sub',
            name => $ev->cn, sha256 => $ev->fingerprint,
            status => 'current', url => $web->url('/ev') }] }));
}

# in/other.pfx with a certificate that lives longer, in/key.pfx with a key.
sub pfx ($s, @more) {
    my $dir = $s->() . '/in';
    my $leaf = $pki->leaf(names => [$site, @more], key => 'P-384',
        not_after => time + 86400 * 195);
    $leaf->file("$dir/leaf.pem");
    $leaf->key_file("$dir/leaf.key");
    put("$dir/more.pem", $pki->sub->pem, $pki->root->pem);
    for (['other.pfx', '-in', "$dir/leaf.pem", '-certfile', "$dir/more.pem"],
        ['key.pfx', '-nocerts']) {
        my ($file, @what) = @$_;
        my ($status, $out) = run('openssl', 'pkcs12', '-export', '-inkey',
            "$dir/leaf.key", @what, '-out', "$dir/$file", '-name', $site,
            '-passout', "file:$dir/password");
        $status == 0 or die "openssl pkcs12: $out";
    }
    unlink "$dir/leaf.key";
}

1;
