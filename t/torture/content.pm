package Ecert::Torture::Content;

# What may stand in the files.

use v5.36;

use Encode ();
use Math::BigInt;
use POSIX ();

use Ecert::Live ();
use Ecert::Life qw(pki);
use Ecert::Test;

my $day = 86400;

# Name, reason word, the file that it names, what becomes of the site's files:
# from a new leaf the bytes of that file, another certificate, or undef where
# all is done.  refused.t has more of them; these are here under load.
my @refused = (
    ['truncated', 'truncated', 'cert',
        sub ($leaf, $s) { substr $leaf->pem, 0, 400 }],
    ['key-mismatch', 'key-mismatch', 'cert', sub ($leaf, $s) { $leaf->pem }],
    ['other-site', 'names', 'cert', sub ($leaf, $s) {
        pki->leaf(names => ['other.example.hk']) }],
    ['expired', 'expired', 'cert', sub ($leaf, $s) {
        leaf_of($s, not_before => time - 9 * $day,
            not_after => time - $day) }],
    ['not-yet-valid', 'not-yet-valid', 'cert', sub ($leaf, $s) {
        leaf_of($s, not_before => time + $day) }],
    ['encrypted-key', 'encrypted-key', 'key', \&encrypted],
    ['sparse-2-gb', 'too-large', 'cert', sub ($leaf, $s) {
        truncate $s->{cert}, 2 << 30 or die "truncate: $!";
        return undef }],
    ['dev-zero', 'not-a-file', 'cert', sub ($leaf, $s) {
        unlink $s->{cert};
        symlink '/dev/zero', $s->{cert};
        return undef }],
    ['fifo', 'not-a-file', 'key', sub ($leaf, $s) {
        unlink $s->{key};
        POSIX::mkfifo($s->{key}, 0600);
        return undef }],
    ['10000-names', 'too-large', undef, sub ($leaf, $s) {
        pki->leaf(names => [$s->{host},
            map { "n$_.example.hk" } 1 .. 9999]) }],
    ['rsa-over-8192', 'key-type', 'key', sub ($leaf, $s) {
        signed_with($s, large_rsa($s)) }],
    ['explicit-ec', 'key-type', 'key', sub ($leaf, $s) {
        signed_with($s, genkey($s, 'EC', 'ec_paramgen_curve:P-256',
            'ec_param_enc:explicit')) }],
    ['p-521', 'key-type', 'key', sub ($leaf, $s) {
        leaf_of($s, key => 'P-521') }],
    ['ed25519', 'key-type', 'key', sub ($leaf, $s) {
        leaf_of($s, key => 'Ed25519') }],
    ['dsa', 'key-type', 'key', sub ($leaf, $s) { dsa($s) }],
    ['sha-1', 'signature', 'cert', sub ($leaf, $s) {
        leaf_of($s, digest => 'sha1') }],
    ['utf-16', 'format', 'cert', sub ($leaf, $s) {
        Encode::encode('UTF-16', $leaf->pem) }],
);

# Odd, but in order: these go live.
my @taken = (
    ['bom', sub ($leaf) { "\xef\xbb\xbf" . $leaf->pem }],
    ['crlf', sub ($leaf) { $leaf->pem =~ s/\n/\r\n/gr }],
    ['der', sub ($leaf) { $leaf->der }],
    ['pkcs7', \&pkcs7],
    ['chain-shuffled', sub ($leaf) { join '', map { $_->pem }
        pki->root, pki->cross, $leaf, $leaf->issued_by, $leaf,
        $leaf->issued_by }],
    ['old-sub-ca', sub ($leaf) { $leaf->pem . pki->sub_old->pem
        . pki->ev_old->pem }],
);

return [
    { name => 'content', what => 'content that is refused, and repaired',
        ci => 1, run => sub ($t) { refused($t) } },
    { name => 'forms', what => 'odd forms of files that are taken',
        run => sub ($t) { taken($t) } },
    { name => 'cut', what => 'certificate and key cut off at every byte',
        ci => 1, run => sub ($t) { cut($t) } },
    { name => 'arrival', what => 'the parts of files in random order',
        ci => 1, run => sub ($t) { arrival($t) } },
    { name => 'only-expired', what => 'nothing but an expired certificate',
        ci => 1, run => sub ($t) { only_expired($t) } },
];

# --- sites whose files lie outside of the store

sub sites ($t, @names) {
    my @sites = map {
        my $dir = tmp() . "/$t->{name}-$t->{case}{name}-$_";
        mkdir $dir or die "$dir: $!";
        my $s = { name => $_, host => "$_.example.hk", dir => $dir,
            cert => "$dir/cert.pem", key => "$dir/key.pem" };
        $s->{vhost} = { names => [$s->{host}], directives => {
            ecert_certificate => $s->{cert},
            ecert_certificate_key => $s->{key} } };
        good($t, $s);
        $s;
    } @names;
    return @sites;
}

# A new leaf in order, whatever stands in the way.
sub good ($t, $s) {
    rmdir $s->{cert};
    my $leaf = $t->leaf($s->{host});
    put($s->{key}, $leaf->key_pem);
    put($s->{cert}, $leaf->pem);
    $t->{good}{ $s->{host} } = $leaf;
    return $leaf;
}

sub put ($file, $bytes) {
    open my $out, '>:raw', "$file.new" or die "$file.new: $!";
    print $out $bytes;
    close $out or die "$file.new: $!";
    rename "$file.new", $file or die "$file: $!";
}

sub in_place ($file, $bytes) {
    open my $out, '>:raw', $file or die "$file: $!";
    print $out $bytes;
    close $out or die "$file: $!";
}

sub leaf_of ($s, %o) { return pki->leaf(names => [$s->{host}], %o) }

# --- keys that are not accepted

sub encrypted ($leaf, $s) {
    my ($status, $out) = run('openssl', 'pkey', '-in', $s->{key}, '-aes128',
        '-passout', 'pass:secret');
    $status == 0 or die "openssl pkey: $out";
    return $out;
}

sub genkey ($s, $kind, @options) {
    my $file = "$s->{dir}/new.key";
    my ($status, $out) = run('openssl', 'genpkey', '-algorithm', $kind,
        map({ ('-pkeyopt', $_) } @options), '-out', $file);
    $status == 0 or die "openssl genpkey: $out";
    return $file;
}

# A certificate for the key in this file, and the file in its place.
sub signed_with ($s, $file) {
    my $bio = Net::SSLeay::BIO_new_file($file, 'r');
    my $key = Net::SSLeay::PEM_read_bio_PrivateKey($bio) or die $file;
    Net::SSLeay::BIO_free($bio);
    put($s->{cert}, leaf_of($s, key => $key)->pem);
    put($s->{key}, slurp($file));
    return undef;
}

# Nobody has to wait for such a key: its primes are known (Mersenne's).
sub large_rsa ($s) {
    my ($p, $q) = map { Math::BigInt->bone->blsft($_)->bdec } 11213, 4423;
    my $e = Math::BigInt->new(65537);
    my $phi = $p->copy->bdec->bmul($q->copy->bdec);
    my $d = $e->copy->bmodinv($phi);
    my @numbers = (Math::BigInt->bzero, $p->copy->bmul($q), $e, $d, $p, $q,
        $d->copy->bmod($p->copy->bdec), $d->copy->bmod($q->copy->bdec),
        $q->copy->bmodinv($p));
    in_place("$s->{dir}/rsa.cnf", join '', "asn1 = SEQUENCE:key\n[key]\n",
        map { "n$_ = INTEGER:" . $numbers[$_]->as_hex . "\n" } 0 .. $#numbers);
    for (['asn1parse', '-genconf', "$s->{dir}/rsa.cnf", '-noout', '-out',
        "$s->{dir}/rsa.der"], ['rsa', '-inform', 'DER', '-in',
        "$s->{dir}/rsa.der", '-out', "$s->{dir}/rsa.pem"]) {
        my ($status, $out) = run('openssl', @$_);
        $status == 0 or die "openssl @$_: $out";
    }
    return "$s->{dir}/rsa.pem";
}

sub dsa ($s) {
    my $parameters = "$s->{dir}/dsa.par";
    my ($status, $out) = run('openssl', 'genpkey', '-genparam', '-algorithm',
        'DSA', '-pkeyopt', 'dsa_paramgen_bits:1024', '-out', $parameters);
    $status == 0 or die "openssl genpkey: $out";
    ($status, $out) = run('openssl', 'genpkey', '-paramfile', $parameters,
        '-out', "$s->{dir}/dsa.pem");
    $status == 0 or die "openssl genpkey: $out";
    return signed_with($s, "$s->{dir}/dsa.pem");
}

sub pkcs7 ($leaf) {
    my $in = $leaf->file(tmp() . "/pkcs7.$$", $leaf->issued_by);
    my ($status, $out) = run('openssl', 'crl2pkcs7', '-nocrl', '-certfile',
        $in);
    $status == 0 or die "openssl crl2pkcs7: $out";
    return $out;
}

# --- the cases

sub refused ($t) {
    my %row = map { $_->[0] => $_ } @refused;
    my @sites = sites($t, map { $_->[0] } @refused);
    $t->begin(vhosts => [map { $_->{vhost} } @sites]);

    for my $s (@sites) {
        my $leaf = leaf_of($s);
        my $bad = $row{ $s->{name} }[3]->($leaf, $s) // next;
        if (ref $bad) {
            put($s->{key}, $bad->key_pem);
            put($s->{cert}, $bad->pem);
        } else {
            put($s->{ $row{ $s->{name} }[2] }, $bad);
        }
    }
    $t->renew('meanwhile another site is renewed');
    for my $s (@sites) {
        my (undef, $reason, $file) = @{ $row{ $s->{name} } };
        $file ? $t->told($reason, $s->{$file}, $s->{name}, $s->{host})
            : ok $t->server->wait_log(qr/site \Q$s->{host}\E: $reason: .*; ./),
                "$s->{name}: told";
        $t->stays($s->{name}, $s->{host});
    }
    $t->server->mark;
    repaired($t, $_) for @sites;
    $t->end;
}

sub repaired ($t, $s) {
    my $leaf = good($t, $s);
    $t->goes_live($leaf, "$s->{name}: repaired", $s->{host}, 'recovered');
    $t->not_told($s->{name}, $s->{host});
}

sub taken ($t) {
    my %row = map { $_->[0] => $_ } @taken;
    my @sites = sites($t, map { $_->[0] } @taken);
    $t->begin(vhosts => [map { $_->{vhost} } @sites]);
    for (1 .. $t->times(2, 20)) {
        for my $s (@sites) {
            my $leaf = $t->leaf($s->{host});
            put($s->{key}, $leaf->key_pem);
            put($s->{cert}, $row{ $s->{name} }[1]->($leaf));
            $t->goes_live($leaf, "$s->{name}: live", $s->{host});
        }
    }
    $t->not_told($_->{name}, $_->{host}) for @sites;
    $t->end;
}

# Many sites at a time, each with another cut.
sub cut ($t) {
    my $at_once = $t->times(24, 60);
    my @sites = sites($t, map { "cut$_" } 1 .. $at_once);
    $t->begin(vhosts => [map { $_->{vhost} } @sites]);
    my $sample = leaf_of($sites[0]);
    my @cuts = map { my $file = $_; map { [$file, $_] }
        positions($file eq 'cert' ? $sample->pem : $sample->key_pem)
    } qw(cert key);

    while (my @now = splice @cuts, 0, $at_once) {
        my @pairs = map { [$sites[$_], @{ $now[$_] }] } 0 .. $#now;
        $t->server->mark;
        cut_one($t, @$_) for @pairs;
        for (@pairs) {
            my ($s, $file, $at) = @$_;
            $t->told($at ? 'truncated' : 'empty', $s->{$file},
                "$file cut at $at", $s->{host});
            $t->stays("$file cut at $at", $s->{host});
        }
        $t->server->mark;
        repaired($t, $_->[0]) for @pairs;
    }
    $t->end;
}

# The end of the last line is no loss.
sub positions ($bytes) {
    my $last = length($bytes) - 2;
    return 0 .. $last if $ENV{ECERT_TORTURE_ALL};
    return (0, 1, 10, 27, $last, $last - 18, map { int rand $last } 1 .. 6);
}

sub cut_one ($t, $s, $file, $at) {
    my $leaf = leaf_of($s);
    my %bytes = (cert => $leaf->pem, key => $leaf->key_pem);
    # Signatures are not all of one length.
    my $most = length($bytes{$file}) - 2;
    $bytes{$file} = substr $bytes{$file}, 0, $at < $most ? $at : $most;
    in_place($s->{$_}, $bytes{$_}) for qw(key cert);
}

# Pieces of the new files, those of several sites in one random order.
sub arrival ($t) {
    my @sites = sites($t, map { "arrival$_" } 1 .. 8);
    $t->begin(vhosts => [map { $_->{vhost} } @sites]);
    for my $round (1 .. $t->times(1, 5)) {
        my (@pieces, %leaf);
        for my $s (@sites) {
            my $leaf = $leaf{ $s->{host} } = $t->leaf($s->{host});
            push @pieces, pieces($s->{cert}, $leaf->pem),
                pieces($s->{key}, $leaf->key_pem);
        }
        scattered($t->times(4, 10), @pieces);
        $t->goes_live($leaf{ $_->{host} }, "$round: $_->{name}: whole, live",
            $_->{host}) for @sites;
    }
    # A gap of more than two seconds may be told, once a change.
    for my $s (@sites) {
        my @told = Ecert::Live::complaints($t->server, $s->{host});
        is_deeply [grep { !/truncated|key-mismatch|empty/ } @told], [],
            "$s->{name}: nothing but what is torn was told";
    }
    $t->end;
}

sub pieces ($file, $bytes) {
    my @cut = sort { $a <=> $b } map { int rand length $bytes } 1 .. 4;
    return [$file, map { substr $bytes, 0, $_ } @cut, length $bytes];
}

sub scattered ($seconds, @files) {
    my $steps = 5 * @files;
    while (my @left = grep { @$_ > 1 } @files) {
        my $file = $left[rand @left];
        my $next = splice @$file, 1, 1;
        in_place($file->[0], $next);
        Time::HiRes::sleep($seconds / $steps);
    }
}

# It is served, loudly, until there is a better one.
sub only_expired ($t) {
    my ($s) = sites($t, 'old');
    my $old = $t->leaf($s->{host}, not_before => time - 9 * $day,
        not_after => time - $day);
    put($s->{key}, $old->key_pem);
    put($s->{cert}, $old->pem);
    $t->begin(vhosts => [$s->{vhost}]);
    $t->goes_live($old, 'an expired one is served', $s->{host});
    $t->told('expired', $s->{cert}, 'expired', $s->{host});
    $t->server->mark;
    repaired($t, $s);
    $t->end;
}
