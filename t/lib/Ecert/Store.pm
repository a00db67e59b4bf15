package Ecert::Store;

# A store (docs/design.md, "Store"), changed in the way in which a careful
# administrator or a tool does it: temporary file, then rename.

use v5.36;

use File::Path ();

use Ecert::Test ();

# owner: the user's name, when the servers do not run as root.
sub new ($class, %o) {
    state $n = 0;
    my $store = bless { dir => $o{dir} // Ecert::Test::tmp() . '/store' . $n++,
        owner => $o{owner} }, $class;
    $store->_mkdir($store->{dir}, map { "$store->{dir}/$_" }
        qw(issuers sites dcv));
    return $store;
}

sub dir ($store) { return $store->{dir} }

# What agents have in it: sockets, and hidden files that belong to them.
sub in_run ($store) {
    my @found = glob "$store->{dir}/run/{*,.[!.]*}";
    return @found;
}

# The folder of a site, by name in A-label form.
sub site_dir ($store, $site) {
    return "$store->{dir}/sites/" . $site =~ s/^\*\./_./r;
}

# Puts a certificate with its key as the next generation (or as number
# generation) and makes it the current one.  chain: [certificates] for
# chain.pem; key: another certificate whose key is put; form: of the key.
# current => 0: leaves the link as it is.
sub install ($store, $site, $cert, %o) {
    my $dir = $store->site_dir($site);
    my $n = $o{generation} // $store->next_generation($site);
    my $new = "$dir/generations/.$n.$$";

    $store->_mkdir($dir, "$dir/generations", $new);
    $store->write("$new/certificate.pem", $o{pem} // $cert->pem, 0644);
    $store->write("$new/key.pem",
        ($o{key} // $cert)->key_pem($o{form} // 'pkcs8'));
    $store->write("$new/chain.pem", join '', map { $_->pem } @{ $o{chain} })
        if $o{chain};
    rename $new, "$dir/generations/$n" or die "$dir/generations/$n: $!";
    $store->current($site, $n) if $o{current} // 1;
    return $n;
}

sub next_generation ($store, $site) {
    my ($last) = sort { $b <=> $a } grep { /^\d+$/ }
        map { s{.*/}{}r } glob $store->site_dir($site) . '/generations/*';
    return ($last // 0) + 1;
}

# Swaps the link to generation n; also the way back to an older one.
sub current ($store, $site, $n) {
    my $link = $store->site_dir($site) . '/current';
    unlink "$link.$$";
    symlink "generations/$n", "$link.$$" or die "$link: $!";
    $store->_own("$link.$$");
    rename "$link.$$", $link or die "$link: $!";
}

sub remove_site ($store, $site) {
    File::Path::remove_tree($store->site_dir($site));
}

# site.json, as text.
sub describe ($store, $site, $json) {
    my $dir = $store->site_dir($site);
    $store->_mkdir($dir);
    return $store->put("$dir/site.json", $json, 0644);
}

# Adds certificates to issuers/ under a name of their fingerprint.
sub add_issuers ($store, @certs) {
    for my $cert (@certs) {
        $store->put('issuers/' . lc(substr $cert->fingerprint, 0, 16) . '.pem',
            $cert->pem, 0644);
    }
    return $store;
}

sub remove_issuer ($store, $cert) {
    unlink "$store->{dir}/issuers/"
        . lc(substr $cert->fingerprint, 0, 16) . '.pem';
}

# A validation file; days: how long ago it was put.
sub put_token ($store, $host, $file, $body, %o) {
    my $dir = "$store->{dir}/dcv/$host";
    $store->_mkdir($dir);
    return $store->put("$dir/$file", $body, 0644, $o{days});
}

sub age_token ($store, $host, $file, $days) {
    _age("$store->{dir}/dcv/$host/$file", $days);
}

sub remove_token ($store, $host, $file) {
    unlink "$store->{dir}/dcv/$host/$file" or die "$host/$file: $!";
}

sub _age ($path, $days) {
    my $then = time - int($days * 86400);
    utime $then, $then, $path or die "$path: $!";
}

# Writes any file, by temporary file and rename.  A relative name is one
# in the store.
sub put ($store, $path, $bytes, $mode = 0600, $days = undef) {
    $path = "$store->{dir}/$path" if $path !~ m{^/};
    my $new = $path =~ s{([^/]+)$}{.$1.$$}r;
    $store->write($new, $bytes, $mode);
    _age($new, $days) if defined $days;
    rename $new, $path or die "$path: $!";
    return $path;
}

# Writes in place: open, write, close; a reader may see half of it.
sub write ($store, $path, $bytes, $mode = 0600) {
    $path = "$store->{dir}/$path" if $path !~ m{^/};
    open my $out, '>:raw', $path or die "$path: $!";
    chmod $mode, $path;
    $store->_own($path);
    print $out $bytes;
    close $out or die "$path: $!";
    return $path;
}

sub _mkdir ($store, @dirs) {
    for my $dir (grep { !-d } @dirs) {
        File::Path::make_path($dir, { mode => 0700 });
        $store->_own($dir);
    }
}

sub _own ($store, $path) {
    return if !$store->{owner} || $> != 0;
    my ($uid, $gid) = (getpwnam $store->{owner})[2, 3];
    # chown follows a symbolic link; the link's own owner does not matter.
    chown $uid, $gid, $path if !-l $path;
}

1;
