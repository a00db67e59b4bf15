package Ecert::Command;

# The command `ecert` as a person at a terminal or a script calls it, and a CA
# that signs what it prints.

use v5.36;

use Exporter 'import';
use JSON::PP ();
use Net::SSLeay;

use Ecert::Cert;
use Ecert::Test ();

our @EXPORT = qw(ecert ecert_json csr_of signed password_file);

# Runs it on a store: (exit status, output and errors together).
sub ecert ($store, @args) {
    local $ENV{ECERT_STORE} = ref $store ? $store->dir : $store;
    return Ecert::Test::run(Ecert::Test::build_dir() . '/ecert', @args);
}

# The JSON that a listing prints; undef when it is none.
sub ecert_json ($store, @args) {
    my ($status, $out) = ecert($store, @args, '--json');
    return Ecert::Test::quietly(sub { JSON::PP->new->utf8->decode($out) });
}

# The request that waits (number n, or the newest), as PEM; undef when it is
# refused.  Taken from `ecert csr`, whose next step is left out.
sub csr_of ($store, $site, @args) {
    my ($status, $out) = ecert($store, 'csr', $site, @args);
    return undef if $status != 0;
    my ($pem) = $out =~ /(-----BEGIN.*?REQUEST-----\n.*?-----END[^\n]*\n)/s;
    return $pem;
}

# A leaf of a look-alike PKI for the key of a request; %o as Ecert::PKI's leaf.
sub signed ($pki, $csr, %o) {
    my $bio = Net::SSLeay::BIO_new(Net::SSLeay::BIO_s_mem());
    Net::SSLeay::BIO_write($bio, $csr);
    my $request = Net::SSLeay::PEM_read_bio_X509_REQ($bio)
        or die 'this is no request';
    Net::SSLeay::BIO_free($bio);
    return $pki->leaf(key => Net::SSLeay::X509_REQ_get_pubkey($request), %o);
}

# A file with this password in its first line.
sub password_file ($password = 'correct horse') {
    state $n = 0;
    my $file = Ecert::Test::tmp() . '/password' . $n++;
    open my $out, '>:raw', $file or die "$file: $!";
    chmod 0600, $file;
    utf8::encode($password) if utf8::is_utf8($password);
    print $out "$password\n";
    close $out or die "$file: $!";
    return $file;
}

1;
