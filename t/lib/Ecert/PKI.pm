package Ecert::PKI;

# A public key infrastructure of the shape of Hongkong Post's, made in memory:
#
#   root ----------> sub, sub_old (one name, one key) ----> leaf
#    ^   `---------> ev, ev_old   (one name, one key) ----> leaf
#   cross (root's name and key, signed by cross_root)
#
# sub and ev have the extended key usage serverAuth, the old ones have not.

use v5.36;

use File::Path ();
use Net::SSLeay;

use Ecert::Cert;
use Ecert::Test ();

my $day = 86400;

my @post = ([C => 'HK'], [ST => 'Hong Kong'], [L => 'Hong Kong'],
    [O => 'Hongkong Post']);

# RSA keys are slow to make, so they are kept and handed out in turn.
my %drawn;

sub new ($class) {
    my $pki = bless { day => time - time % $day }, $class;

    $pki->{root} = $pki->_ca(cn => 'Hongkong Post Root CA 3',
        from => -3000, to => 6000, pathlen => undef);
    $pki->{cross_root} = $pki->_ca(from => -6000, to => 900, pathlen => undef,
        subject => [[OU => 'GlobalSign Root CA - R3'], [O => 'GlobalSign'],
            [CN => 'GlobalSign']]);
    $pki->{cross} = $pki->cross;

    for my $kind (['sub', 'SSL'], ['ev', 'EV SSL']) {
        my ($name, $word) = @$kind;
        my %common = (cn => "Hongkong Post e-Cert $word CA 3 - 17",
            issuer => $pki->{root}, key => $pki->key, to => 2000, pathlen => 0);
        $pki->{"${name}_old"} = $pki->_ca(%common, from => -2900);
        $pki->{$name} = $pki->_ca(%common, from => -100,
            eku => 'serverAuth,clientAuth');
    }
    $pki->{client_ca} = $pki->_ca(cn => 'Ecert Test Client CA',
        from => -10, to => 1000);
    return $pki;
}

# The certificates of the drawing above, and a CA for clients.
for my $name (qw(root cross_root sub sub_old ev ev_old client_ca)) {
    no strict 'refs';
    *$name = sub ($pki) { return $pki->{$name} };
}

# The cross-certificate; with not_before or not_after (Unix time) another one.
sub cross ($pki, %o) {
    return $pki->{cross} if $pki->{cross} && !%o;
    return $pki->issue(
        subject => $pki->{root}{subject_list},
        key => $pki->{root}->key,
        issuer => $pki->{cross_root},
        not_before => $pki->{day} - 1400 * $day,
        not_after => $pki->{day} + 850 * $day,
        ca => 1, %o);
}

# A server's certificate.  names => [...]; key => 'P-256', 'P-384', 'RSA-2048'
# or a key of another certificate; issuer; not_before, not_after (Unix time).
sub leaf ($pki, %o) {
    my $names = delete $o{names} // ['www.example.hk'];
    return $pki->issue(
        subject => [@post, [CN => $names->[0]]],
        issuer => $pki->{sub},
        not_before => time - 3600,
        not_after => $pki->{day} + 190 * $day,
        eku => 'serverAuth',
        san => join(',', map { "DNS:$_" } @$names),
        %o);
}

# A client's certificate, of client_ca.
sub client ($pki, $name = 'Chan Tai Man') {
    return $pki->issue(subject => [[CN => $name]], eku => 'clientAuth',
        issuer => $pki->{client_ca}, not_before => time - 3600,
        not_after => $pki->{day} + 30 * $day);
}

sub self_signed ($pki, %o) {
    return $pki->leaf(issuer => undef, %o);
}

# A root of the name given that has nothing to do with the others.
sub stranger ($pki, $cn = 'Stranger Root') {
    return $pki->_ca(cn => $cn, from => -10, to => 1000, pathlen => undef);
}

sub _ca ($pki, %o) {
    my ($from, $to, $cn) = delete @o{qw(from to cn)};
    return $pki->issue(
        subject => [@post, [CN => $cn // '']],
        not_before => $pki->{day} + $from * $day,
        not_after => $pki->{day} + $to * $day,
        ca => 1, %o);
}

# Signs anything.  subject => [[C => 'HK'], ...], issuer => certificate (none:
# self-signed), key, not_before, not_after, ca, pathlen, eku, san, digest,
# serial (hex), extensions => [NID => value, ...]; version => 1: without any.
sub issue ($pki, %o) {
    my $key = $pki->key($o{key} // 'P-256');
    my $x = Net::SSLeay::X509_new();

    Net::SSLeay::X509_set_version($x, ($o{version} // 3) - 1);
    Net::SSLeay::P_ASN1_INTEGER_set_hex(
        Net::SSLeay::X509_get_serialNumber($x), $o{serial} // _serial());
    Net::SSLeay::ASN1_TIME_set(Net::SSLeay::X509_get_notBefore($x),
        $o{not_before});
    Net::SSLeay::ASN1_TIME_set(Net::SSLeay::X509_get_notAfter($x),
        $o{not_after});
    Net::SSLeay::X509_set_pubkey($x, $key);
    _name(Net::SSLeay::X509_get_subject_name($x), $o{subject});

    my $issuer = $o{issuer} ? $o{issuer}->x509 : $x;
    Net::SSLeay::X509_set_issuer_name($x,
        Net::SSLeay::X509_get_subject_name($issuer));
    ($o{version} // 3) == 1
        or Net::SSLeay::P_X509_add_extensions($x, $issuer, _extensions(%o))
        or die 'extensions: ' . _reason();

    my $signer = $o{issuer} ? $o{issuer}->key : $key;
    Net::SSLeay::X509_sign($x, $signer,
        Net::SSLeay::EVP_get_digestbyname($o{digest} // 'sha256'))
        or die 'sign: ' . _reason();
    return Ecert::Cert->new($x, $key, subject_list => $o{subject},
        issuer => $o{issuer});
}

sub _name ($name, $subject) {
    for my $rdn (@$subject) {
        my ($type, $value) = @$rdn;
        utf8::encode($value) if utf8::is_utf8($value);
        Net::SSLeay::X509_NAME_add_entry_by_txt($name, $type,
            0x1000, $value) or die "$type: " . _reason(); # MBSTRING_UTF8
    }
}

sub _extensions (%o) {
    my $basic = $o{ca} ? 'critical,CA:TRUE' : 'critical,CA:FALSE';
    my $usage = $o{ca} ? 'keyCertSign,cRLSign' : 'digitalSignature';

    $basic .= ",pathlen:$o{pathlen}" if $o{ca} && defined $o{pathlen};
    my @list = (
        Net::SSLeay::NID_basic_constraints() => $basic,
        Net::SSLeay::NID_key_usage() => "critical,$usage",
        Net::SSLeay::NID_subject_key_identifier() => 'hash',
    );
    push @list, Net::SSLeay::NID_authority_key_identifier() => 'keyid'
        if $o{issuer};
    push @list, Net::SSLeay::NID_ext_key_usage() => $o{eku} if $o{eku};
    push @list, Net::SSLeay::NID_subject_alt_name() => $o{san} if $o{san};
    return (@list, @{ $o{extensions} // [] });
}

# 63 bits, never 0, as CAs do it.
sub _serial {
    return sprintf '%02x' . '%02x' x 7, 1 + int rand 126,
        map { int rand 256 } 1 .. 7;
}

# A key by kind, or the one handed in.  EC keys are always new ones.
sub key ($pki, $kind = 'P-256') {
    return $kind if $kind =~ /^\d+$/;
    if (my ($bits) = $kind =~ /^P-(256|384)$/) {
        my $ec = Net::SSLeay::EC_KEY_generate_key(
            $bits == 256 ? 'prime256v1' : 'secp384r1');
        my $key = Net::SSLeay::EVP_PKEY_new();
        Net::SSLeay::EVP_PKEY_assign_EC_KEY($key, $ec);
        return $key;
    }
    my $pem = Ecert::Test::slurp(_kept_key($kind, $drawn{$kind}++));
    my $bio = Net::SSLeay::BIO_new(Net::SSLeay::BIO_s_mem());
    Net::SSLeay::BIO_write($bio, $pem);
    my $key = Net::SSLeay::PEM_read_bio_PrivateKey($bio)
        or die "$kind: " . _reason();
    Net::SSLeay::BIO_free($bio);
    return $key;
}

# The file of the nth key of a kind (RSA-n, P-521, Ed25519), made if need be.
sub _kept_key ($kind, $n) {
    my $dir = -w Ecert::Test::build_dir() // ''
        ? Ecert::Test::build_dir() . '/test-keys' : Ecert::Test::tmp() . '/keys';
    my $file = "$dir/$kind-$n.pem";
    return $file if -s $file;

    File::Path::make_path($dir, { mode => 0700 });
    my @kind = $kind =~ /^RSA-(\d+)$/
        ? ('RSA', '-pkeyopt', "rsa_keygen_bits:$1")
        : $kind =~ /^P-/ ? ('EC', '-pkeyopt', "ec_paramgen_curve:$kind")
        : ($kind);
    my ($status, $out) = Ecert::Test::run('openssl', 'genpkey', '-algorithm',
        @kind, '-out', "$file.$$");
    $status == 0 or die "openssl genpkey $kind: $out";
    rename "$file.$$", $file or die "$file: $!";
    return $file;
}

sub _reason {
    return Net::SSLeay::ERR_error_string(Net::SSLeay::ERR_get_error());
}

1;
