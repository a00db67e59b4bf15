package Ecert::PFX;

# PFX files as other programs read and write them: OpenSSL, GnuTLS (certtool),
# NSS (pk12util) and Java (keytool).

use v5.36;

use Exporter 'import';
use File::Temp ();
use Net::SSLeay;

use Ecert::Command;
use Ecert::Test ();

our @EXPORT = qw(tool opened written key_text certificates_of stored);

# Java takes no password of less than six, nor one beyond ASCII.
my $java = 'correct horse';

my %program = (openssl => 'openssl', gnutls => 'certtool', nss => 'pk12util',
    java => 'keytool');

# 1 when the program of this family is installed.
sub tool ($family) {
    my $name = $program{$family};
    return scalar grep { -x "$_/$name" } split /:/, $ENV{PATH};
}

# Opens it: { key => key_text, certificates => [fingerprints, leaf first] }.
# Dies with what the program says.
sub opened ($family, $file, $password = 'correct horse') {
    my %open = (openssl => \&_openssl_opens, gnutls => \&_gnutls_opens,
        nss => \&_nss_opens, java => \&_java_opens);
    return $open{$family}->($file, $password);
}

# Writes one: cert with its key (or without: certificate => 0; key alone),
# chain => [...], name, password, how => [options of the program].
sub written ($family, $cert, %o) {
    my %write = (openssl => \&_openssl_writes, gnutls => \&_gnutls_writes,
        nss => \&_nss_writes, java => \&_java_writes);
    state $n = 0;
    my $file = Ecert::Test::tmp() . '/' . $n++ . ".$family.pfx";
    $write{$family}->($file, $cert, chain => [], password => $java,
        name => $cert->cn, how => [], %o);
    return $file;
}

# A private key in the one form that tells it from any other.
sub key_text ($pem, $password = undef) {
    my @pass = defined $password ? ('-passin', _pass($password)) : ();
    return _must('openssl', 'pkey', '-traditional', @pass, '-in', _put($pem));
}

# The fingerprints of all certificates in a text, in its order.
sub certificates_of ($text) {
    my @list;
    while ($text =~ /(-----BEGIN CERTIFICATE-----.*?-----END [^\n]*\n)/sg) {
        my $bio = Net::SSLeay::BIO_new(Net::SSLeay::BIO_s_mem());
        Net::SSLeay::BIO_write($bio, $1);
        my $x509 = Net::SSLeay::PEM_read_bio_X509($bio) or die 'no X.509';
        push @list, Ecert::Cert->new($x509)->fingerprint;
        Net::SSLeay::BIO_free($bio);
    }
    return @list;
}

# What a folder of the store (generation or request) holds, in the same form.
sub stored ($dir) {
    my $key = Ecert::Test::slurp("$dir/key.pem") // return undef;
    return { key => key_text($key), certificates => [map {
        certificates_of(Ecert::Test::slurp("$dir/$_.pem") // '') }
        qw(certificate chain)] };
}

# ---- OpenSSL --------------------------------------------------------------

sub _openssl_opens ($file, $password) {
    my @command = ('openssl', 'pkcs12', '-in', $file, '-nodes', '-passin',
        _pass($password));
    my ($status, $text) = Ecert::Test::run(@command);
    $text = _must(@command, '-legacy') if $status != 0;
    return _found($text);
}

sub _openssl_writes ($file, $cert, %o) {
    my @from = $o{certificate} // 1
        ? ('-in', $cert->file(_scratch()))
        : ('-nocerts', '-in', $cert->key_file(_scratch()));
    my @chain = map { ('-certfile', _put(join '', map { $_->pem } @$_)) }
        grep { @$_ } $o{chain};
    _must('openssl', 'pkcs12', '-export', '-out', $file, @from,
        '-inkey', $cert->key_file(_scratch()), @chain,
        '-passout', _pass($o{password}),
        defined $o{name} ? ('-name', $o{name}) : (), @{ $o{how} });
}

# ---- GnuTLS ---------------------------------------------------------------

sub _gnutls_opens ($file, $password) {
    my $text = _must('certtool', '--p12-info', '--inder', '--infile', $file,
        '--password', _bytes($password));
    return _found($text, $password);
}

sub _gnutls_writes ($file, $cert, %o) {
    my @certificates = $o{certificate} // 1
        ? ('--load-certificate', $cert->file(_scratch(), @{ $o{chain} })) : ();
    _must('certtool', '--to-p12', '--outder', '--outfile', $file,
        '--load-privkey', $cert->key_file(_scratch()), @certificates,
        '--p12-name', $o{name}, '--password', _bytes($o{password}),
        @{ $o{how} });
}

# ---- NSS ------------------------------------------------------------------

# Its database shows the certificates; the key comes out in a PFX alone.
sub _nss_opens ($file, $password) {
    my $db = _nss_db($file, $password);
    my $list = _must('certutil', '-L', '-d', $db);
    my @names = $list =~ /^(\S.*?)\s{2,}[\w,]+\s*$/mg;
    my ($own) = $list =~ /^(\S.*?)\s+u,u,u\s*$/m or die "no key: $list";
    my $out = _scratch();
    my %seen; # under the name of one it shows all of the same subject

    _must('pk12util', '-o', $out, '-n', $own, '-d', $db, '-K', '',
        '-W', $java);
    return {
        key => _openssl_opens($out, $java)->{key},
        certificates => [grep { !$seen{$_}++ } map { certificates_of(
            _must('certutil', '-L', '-a', '-d', $db, '-n', $_)) }
            $own, grep { $_ ne $own } @names],
    };
}

sub _nss_writes ($file, $cert, %o) {
    my $db = _nss_db(written('openssl', $cert, %o, how => [],
        password => $java), $java);
    _must('pk12util', '-o', $file, '-n', $o{name}, '-d', $db, '-K', '',
        '-w', password_file($o{password}), @{ $o{how} });
}

sub _nss_db ($file, $password) {
    my $db = 'sql:' . File::Temp::tempdir(DIR => Ecert::Test::tmp());
    _must('certutil', '-N', '-d', $db, '--empty-password');
    _must('pk12util', '-i', $file, '-d', $db, '-K', '', '-w',
        password_file($password));
    return $db;
}

# ---- Java -----------------------------------------------------------------

sub _java_opens ($file, $password) {
    my $out = _scratch();
    _java_copies($file, $password, $out, $java);
    return _openssl_opens($out, $java);
}

sub _java_writes ($file, $cert, %o) {
    my $from = written('openssl', $cert, %o, how => [], password => $java);
    _java_copies($from, $java, $file, $o{password}, @{ $o{how} });
}

sub _java_copies ($from, $password, $to, $other, @how) {
    _must('keytool', '-importkeystore', '-noprompt', '-srcstoretype', 'PKCS12',
        '-srckeystore', $from, '-srcstorepass:file', password_file($password),
        '-destkeystore', $to, '-deststoretype', 'PKCS12',
        '-deststorepass:file', password_file($other), @how);
}

# ---- all ------------------------------------------------------------------

sub _found ($text, $password = undef) {
    my $begin = qr/-----BEGIN [A-Z ]*PRIVATE KEY-----/;
    my ($key) = $text =~ /($begin.*?-----END [^\n]*\n)/s
        or die "no key: $text";
    return { key => key_text($key, $password),
        certificates => [certificates_of($text)] };
}

sub _must (@command) {
    local $ENV{LC_ALL} = 'C.UTF-8';
    my ($status, $out) = Ecert::Test::run(@command);
    $status == 0 or die "$command[0]: $out";
    return $out;
}

sub _bytes ($text) {
    utf8::encode($text) if utf8::is_utf8($text);
    return $text;
}

sub _pass ($password) { return 'file:' . password_file($password) }

# The name of a file that is not there yet.
sub _scratch {
    state $n = 0;
    return Ecert::Test::tmp() . '/scratch' . $n++;
}

sub _put ($bytes) {
    my $file = _scratch();
    open my $out, '>:raw', $file or die "$file: $!";
    chmod 0600, $file;
    print $out $bytes;
    close $out or die "$file: $!";
    return $file;
}

1;
