package Ecert::Portal;

# A look-alike of Hongkong Post CA as an applicant meets it: the application
# form, the pages of its portal in their order, and its downloads.
#
#   my $portal = Ecert::Portal->new(pki => $pki);
#   my $form = $portal->apply(server_name => 'www.example.hk');
#   $portal->sign_in($form->{server_name}, @$form{qw(reference pin)})
#       && $portal->confirm && $portal->choose('Website Change');
#   ... $portal->validation_file, put where it belongs ...
#   $portal->check_website(http => $port) && $portal->submit($csr)
#       && $portal->accept;
#   $portal->download('pem')
#
# Each page is true when it lets one through, else says tells why.  What is
# done for an application is kept with it: one can sign in again later.

use v5.36;
use utf8;

use Encode ();
use Net::SSLeay;

use Ecert::Client ();
use Ecert::Test ();

my $day = 86400;
my $life = 199;
my $most = 50;
my $path = '/.well-known/pki-validation/fileauth.txt';
my $perspectives = 5;

# The names of the CA's downloads, and what is behind them; an old Sub CA has
# the same name as the one that took its place.
my %downloads = (
    'ecert_ssl_ca_3-17_pem.crt' => 'sub',
    'ecert_ev_ssl_ca_3-17_pem.crt' => 'ev',
    'root_ca_3_x_gsca_r3_pem.crt' => 'cross',
);

sub new ($class, %o) {
    return bless { pki => $o{pki}, says => '', forms => {}, used => {},
        page => '' }, $class;
}

sub says ($portal) { return $portal->{says} }

sub _refuse ($portal, $words) {
    $portal->{says} = $words;
    return 0;
}

sub _at ($portal, @pages) {
    return 1 if grep { $_ eq $portal->{page} } @pages;
    return $portal->_refuse("this page does not come after $portal->{page}");
}

# --- the application form, and the PIN envelope that comes by post

# server_name, more => [names], kind (single, wildcard, multi-domain; ev => 1),
# organisation, chinese (the organisation in Chinese), government => 1,
# alabel: of a Chinese server name.
sub apply ($portal, %o) {
    my $form = { kind => 'single', more => [],
        organisation => 'Example Limited', %o };
    my ($kind, $name) = @$form{qw(kind server_name)};
    my @names = ($name, @{ $form->{more} });

    return $portal->_refuse("$most server names at most") if @names > $most;
    return $portal->_refuse('additional names: only with "Multi-domain"')
        if $kind ne 'multi-domain' && @names > 1;
    return $portal->_refuse('a wildcard: only with "Wildcard", and not EV')
        if grep({ /\*/ } @names) != ($kind eq 'wildcard' ? 1 : 0)
            || $kind eq 'wildcard' && $form->{ev};

    $form->{names} = [$form->{alabel} // $name, @{ $form->{more} },
        $kind eq 'wildcard' ? $name =~ s/^\*\.//r : ()];
    $form->{reference} = sprintf '%09d', 294000 + keys %{ $portal->{forms} };
    $form->{pin} = join '', map { int rand 10 } 1 .. 16;
    return $portal->{forms}{ $form->{reference} } = $form;
}

# --- its pages (the numbers are those of the guide's section C)

# 2.  Spaces within the PIN do no harm.
sub sign_in ($portal, $name, $reference, $pin) {
    my $form = $portal->{forms}{$reference};

    @$portal{qw(form page sent)} = (undef, '', undef);
    return $portal->_refuse('the reference number has 9 digits')
        if $reference !~ /^\d{9}$/;
    return $portal->_refuse('the e-Cert PIN has 16 digits')
        if $pin =~ tr/ //dr !~ /^\d{16}$/;
    return $portal->_refuse('server name, reference number or PIN is wrong')
        if !$form || $form->{pin} ne $pin =~ tr/ //dr
            || lc $name ne lc $form->{server_name};
    return $portal->_refuse('this PIN envelope has been used')
        if $form->{accepted};
    @$portal{qw(form page)} = ($form, 'application');
    return 1;
}

# 3.  chinese => 1 is the button "Confirm Opt with Chinese".
sub confirm ($portal, %o) {
    $portal->_at('application') or return 0;
    return $portal->_refuse('no organisation name in Chinese was given')
        if $o{chinese} && !$portal->{form}{chinese};
    $portal->{form}{opted} = $o{chinese};
    $portal->{page} = $portal->{form}{government} || $portal->{form}{validated}
        ? 'request' : 'validation';
    return 1;
}

# 4.  What is offered for this certificate.
sub methods ($portal) {
    my $form = $portal->{form};
    return () if $form->{government};
    return ($form->{kind} ne 'wildcard' ? 'Website Change' : (), 'DNS Change',
        $form->{kind} ne 'multi-domain' ? 'Constructed E-mail' : ());
}

sub choose ($portal, $method) {
    $portal->_at('validation') or return 0;
    return $portal->_refuse("$method is not applicable to this e-Cert")
        if !grep { $_ eq $method } $portal->methods;
    $portal->{form}{method} = $method;
    return $portal->{form}{code}
        //= '2026' . join '', map { ('a' .. 'z', 0 .. 9)[rand 36] } 1 .. 32;
}

sub code ($portal) { return $portal->{form}{code} }

# fileauth.txt as it is downloaded, or as editors and browsers save it.
sub validation_file ($portal, $mangled = 'plain') {
    my $code = $portal->code;
    my %saved = (
        plain => $code,
        'bom' => "\xef\xbb\xbf$code\r\n",
        'utf-16' => "\xff\xfe" . Encode::encode('UTF-16LE', "\r\n$code\r\n"),
        'html' => "<!DOCTYPE html>\n<html><body>$code</body></html>\n",
    );
    return $saved{$mangled} // die "no such file: $mangled";
}

# Asks for the file as validators do: ports => { http => ..., https => ... } is
# where the names lead; each scheme that is given has to pass.
sub check_website ($portal, %ports) {
    $portal->_method('Website Change') or return 0;
    for my $scheme (sort keys %ports) {
        for my $name (@{ $portal->{form}{names} }) {
            $portal->_fetch($scheme, $ports{$scheme}, $name) or return 0;
        }
    }
    return $portal->_validated;
}

# Several places of the world ask, and have to see the same bytes.
sub _fetch ($portal, $scheme, $port, $name) {
    my ($code, %bodies) = ($portal->code);
    for my $n (1 .. $perspectives) {
        my $answer = Ecert::Client::get($port, $name, $path,
            tls => $scheme eq 'https');
        my $what = "$scheme://$name$path, perspective $n";
        return $portal->_refuse("$what: status $answer->{status}"
            . " $answer->{error}") if $answer->{status} != 200;
        return $portal->_refuse("$what: the code is not at the beginning")
            if index(substr($answer->{body}, 0, 100), $code) != 0;
        $bodies{ $answer->{body} } = 1;
    }
    return 1 if keys %bodies == 1;
    return $portal->_refuse("$scheme://$name: perspectives differ");
}

# The zone: lines as in a zone file.
sub check_dns ($portal, $zone) {
    $portal->_method('DNS Change') or return 0;
    my $code = $portal->code;
    for my $name (map { s/^\*\.//r } @{ $portal->{form}{names} }) {
        return $portal->_refuse("no TXT record with the code at $name")
            if $zone !~ /^\Q$name\E\. +3600 +IN +TXT +"\Q$code\E"/m;
    }
    return $portal->_validated;
}

# The code as it comes in the message to one of the designated addresses.
sub send_code ($portal, $address) {
    $portal->_method('Constructed E-mail') or return 0;
    my ($box, $domain) = $address =~ /^([^@]+)@(.+)$/;
    return $portal->_refuse("$address is no designated address")
        if ($box // '') !~
            /^(?:admin|administrator|webmaster|hostmaster|postmaster)$/
            || !grep { s/^\*\.//r eq $domain } @{ $portal->{form}{names} };
    return $portal->{sent} = $portal->code;
}

sub check_mail ($portal, $code) {
    $portal->_method('Constructed E-mail') or return 0;
    return $portal->_validated
        if defined $portal->{sent} && $code eq $portal->{sent};
    return $portal->_refuse('the Validation Code is wrong');
}

sub _method ($portal, $method) {
    $portal->_at('validation') or return 0;
    return 1 if ($portal->{form}{method} // '') eq $method;
    return $portal->_refuse("$method was not chosen");
}

sub _validated ($portal) {
    $portal->{form}{validated} = 1;
    $portal->{page} = 'request';
    return 1;
}

# 5.  What is pasted.
sub submit ($portal, $pem) {
    $portal->_at('request') or return 0;
    my $request = _parse($pem // '')
        or return $portal->_refuse('this is no certificate request');
    my $wrong = _flaw($request) // $portal->_not_as_applied($request)
        // ($portal->{used}{ $request->{spki} }
            ? 'this key has a certificate already: make a new one' : undef);
    return $portal->_refuse($wrong) if defined $wrong;

    $portal->{used}{ $request->{spki} } = 1;
    $portal->{leaf} = $portal->_issue($request);
    $portal->{page} = 'certificate';
    return 1;
}

# { key (handle), spki (PEM), signed, and the parts of the subject as text }
sub _parse ($pem) {
    my $file = Ecert::Test::tmp() . "/portal.$$.csr";
    open my $out, '>:raw', $file or die "$file: $!";
    print $out $pem;
    close $out;
    my ($status, $text) = Ecert::Test::run('openssl', 'req', '-in', $file,
        '-noout', '-pubkey', '-subject', '-nameopt', 'multiline,utf8,-esc_msb');
    unlink $file;
    return if $status != 0;

    my $bio = Net::SSLeay::BIO_new(Net::SSLeay::BIO_s_mem());
    Net::SSLeay::BIO_write($bio, $pem);
    my $csr = Net::SSLeay::PEM_read_bio_X509_REQ($bio);
    Net::SSLeay::BIO_free($bio);
    my $key = Net::SSLeay::X509_REQ_get_pubkey($csr);
    my ($spki) = $text =~ /(-----BEGIN PUBLIC KEY.*END PUBLIC KEY-----)/s;
    return { key => $key, spki => $spki,
        signed => Net::SSLeay::X509_REQ_verify($csr, $key) == 1,
        Encode::decode('UTF-8', $text) =~ /^ +(\w+) += (.*)$/mg };
}

sub _flaw ($request) {
    my ($kind, $bits) = (Net::SSLeay::EVP_PKEY_id($request->{key}),
        Net::SSLeay::EVP_PKEY_bits($request->{key}));
    return 'the signature of the request is wrong' if !$request->{signed};
    return 'the country has to be HK'
        if ($request->{countryName} // '') ne 'HK';
    return "a key of $bits bits is too short"
        if $kind == Net::SSLeay::NID_rsaEncryption() && $bits < 2048;
    return;
}

sub _not_as_applied ($portal, $request) {
    my $form = $portal->{form};
    my $name = lc($request->{commonName} // '');
    my $organisation = $request->{organizationName} // '';

    return "the common name is $name, the application has $form->{server_name}"
        if !grep { $name eq lc }
            $form->{server_name}, $form->{alabel} // ();
    return "the organisation is $organisation, the application has "
        . $form->{organisation}
        if !grep { $organisation eq $_ }
            $form->{organisation}, $form->{chinese} // ();
    return;
}

# All of it comes from the application, but for the key.
sub _issue ($portal, $request) {
    my ($form, $pki) = @$portal{qw(form pki)};
    my $from = time - 60;
    return $pki->leaf(
        key => $request->{key}, names => $form->{names},
        issuer => $form->{ev} ? $pki->ev : $pki->sub,
        not_before => $from, not_after => $from + $life * $day - 1,
        subject => [[C => 'HK'], [ST => 'Hong Kong'], [L => 'Hong Kong'],
            [O => $form->{opted} ? $form->{chinese} : $form->{organisation}],
            [CN => $form->{names}[0]]]);
}

# 6.  The certificate is shown: Accept or Reject.
sub accept ($portal) {
    $portal->_at('certificate') or return 0;
    $portal->{form}{accepted} = $portal->{leaf};
    $portal->{page} = 'download';
    return $portal->{leaf};
}

# 7.  As a file: pem (.crt), der (.cer), p7b.
sub download ($portal, $form = 'pem') {
    $portal->_at('download') or return 0;
    my $leaf = $portal->{leaf};
    my $file = Ecert::Test::tmp() . '/' . $leaf->serial . ".$form";
    return $leaf->file($file) if $form eq 'pem';
    return _save($file, $leaf->der) if $form eq 'der';

    my $pem = $leaf->file("$file.pem", $leaf->issued_by);
    my ($status, $out) = Ecert::Test::run('openssl', 'crl2pkcs7', '-nocrl',
        '-certfile', $pem, '-out', $file);
    $status == 0 or die $out;
    return $file;
}

# A CA certificate; old => 1: the one that the new one replaced.
sub ca_file ($portal, $name, %o) {
    my $what = ($downloads{$name} // die "no such download: $name")
        . ($o{old} ? '_old' : '');
    my $dir = Ecert::Test::tmp() . '/' . ($o{old} ? 'old' : 'new');
    mkdir $dir;
    return $portal->{pki}->$what->file("$dir/$name");
}

sub _save ($file, $bytes) {
    open my $out, '>:raw', $file or die "$file: $!";
    print $out $bytes;
    close $out or die "$file: $!";
    return $file;
}

1;
