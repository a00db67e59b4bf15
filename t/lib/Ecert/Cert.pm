package Ecert::Cert;

# One certificate, with its private key where it is known.

use v5.36;

use Net::SSLeay;

use Ecert::Test ();

# x509 and key are Net::SSLeay handles; they live as long as the test.
sub new ($class, $x509, $key = undef, %more) {
    return bless { x509 => $x509, key => $key, %more }, $class;
}

sub x509 ($cert) { return $cert->{x509} }
sub key ($cert) { return $cert->{key} }
sub issued_by ($cert) { return $cert->{issuer} }

sub pem ($cert) {
    return $cert->{pem} //= Net::SSLeay::PEM_get_string_X509($cert->{x509});
}

sub der ($cert) {
    require MIME::Base64;
    my $pem = $cert->pem;
    $pem =~ s/^-.*$//mg;
    return MIME::Base64::decode_base64($pem);
}

# pkcs8 (the usual), or traditional: PKCS#1 for RSA, SEC1 for EC.
sub key_pem ($cert, $form = 'pkcs8') {
    my $pem = $cert->{key_pem} //=
        Net::SSLeay::PEM_get_string_PrivateKey($cert->{key});
    return $pem if $form eq 'pkcs8';

    my $file = $cert->key_file(Ecert::Test::tmp() . "/key.$$.pem");
    my ($status, $out) = Ecert::Test::run('openssl', 'pkey', '-in', $file,
        '-traditional');
    unlink $file;
    $status == 0 or die "openssl pkey: $out";
    return $out;
}

# The certificates that a server has to send behind it, up to the root.
sub chain ($cert) {
    my @chain;
    my $issuer = $cert->{issuer};
    while ($issuer && $issuer->{issuer}) {
        push @chain, $issuer;
        $issuer = $issuer->{issuer};
    }
    return @chain;
}

# SHA-256 over the certificate, 64 hex digits, upper case.
sub fingerprint ($cert) {
    return $cert->{fingerprint} //= do {
        my $hex = Net::SSLeay::X509_get_fingerprint($cert->{x509}, 'sha256');
        uc($hex) =~ tr/0-9A-F//cdr;
    };
}

# SHA-256 over the public key, as the command's log has it.
sub key_id ($cert) {
    require Digest::SHA;
    my $file = $cert->file(Ecert::Test::tmp() . "/spki.$$.pem");
    my ($status, $pem) = Ecert::Test::run('openssl', 'x509', '-in', $file,
        '-noout', '-pubkey');
    unlink $file;
    $status == 0 or die "openssl x509: $pem";
    require MIME::Base64;
    $pem =~ s/^-.*$//mg;
    return uc Digest::SHA::sha256_hex(MIME::Base64::decode_base64($pem));
}

sub serial ($cert) {
    return Net::SSLeay::P_ASN1_INTEGER_get_hex(
        Net::SSLeay::X509_get_serialNumber($cert->{x509}));
}

sub subject ($cert) {
    return Net::SSLeay::X509_NAME_oneline(
        Net::SSLeay::X509_get_subject_name($cert->{x509}));
}

sub issuer_name ($cert) {
    return Net::SSLeay::X509_NAME_oneline(
        Net::SSLeay::X509_get_issuer_name($cert->{x509}));
}

sub cn ($cert) {
    return Net::SSLeay::X509_NAME_get_text_by_NID(
        Net::SSLeay::X509_get_subject_name($cert->{x509}),
        Net::SSLeay::NID_commonName()) =~ s/\0.*//sr;
}

sub is_self_signed ($cert) { return $cert->subject eq $cert->issuer_name }

sub not_before ($cert) { return _time($cert, 'X509_get_notBefore') }
sub not_after ($cert) { return _time($cert, 'X509_get_notAfter') }

sub _time ($cert, $get) {
    require Time::Local;
    no strict 'refs';
    my $iso = Net::SSLeay::P_ASN1_TIME_get_isotime(
        &{"Net::SSLeay::$get"}($cert->{x509}));
    my ($y, $mo, $d, $h, $mi, $s) = $iso =~ /(\d+)/g;
    return Time::Local::timegm($s, $mi, $h, $d, $mo - 1, $y);
}

# Both write a file and return its name.
sub file ($cert, $file, @more) {
    return _write($file, 0644, join '', map { $_->pem } $cert, @more);
}

sub key_file ($cert, $file) {
    return _write($file, 0600, $cert->key_pem);
}

sub _write ($file, $mode, $bytes) {
    open my $out, '>:raw', $file or die "$file: $!";
    chmod $mode, $file;
    print $out $bytes;
    close $out or die "$file: $!";
    return $file;
}

1;
