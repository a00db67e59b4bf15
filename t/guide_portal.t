#!/usr/bin/perl

# The look-alike portal refuses what the real one refuses: what passes it in
# the other tests has passed something.  No server is needed.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::PKI;
use Ecert::Portal;
use Ecert::Test;

my $site = 'www.example.hk';
my $subject = '/C=HK/ST=Hong Kong/L=Hong Kong/O=Example Limited/CN=';
my $portal = Ecert::Portal->new(pki => Ecert::PKI->new);

subtest 'application' => \&application;
subtest 'sign in' => \&sign_in;
subtest 'the pages in their order' => \&order;
subtest 'validation' => \&validation;
subtest 'requests' => \&requests;
done_testing;

sub refused ($done, $words, $what) {
    ok !$done, "$what: refused";
    like $portal->says, $words, 'why';
}

sub application () {
    my @more = map { "n$_.example.hk" } 1 .. 50;
    for ([qr/50 server names at most/, kind => 'multi-domain',
            more => \@more],
        [qr/only with "Multi-domain"/, more => ['example.hk']],
        [qr/a wildcard/, kind => 'multi-domain', more => ['*.example.hk']],
        [qr/a wildcard/, kind => 'wildcard'],
        [qr/not EV/, kind => 'wildcard', ev => 1,
            server_name => '*.example.hk'])
    {
        my ($words, %form) = @$_;
        refused($portal->apply(server_name => $site, %form), $words,
            $form{kind} // 'single');
    }
}

sub sign_in () {
    my $form = $portal->apply(server_name => $site);
    my ($reference, $pin) = @$form{qw(reference pin)};
    my $spaced = $pin =~ s/(\d{4})(?=\d)/$1 /gr;

    refused($portal->sign_in($site, $reference, substr $pin, 1), qr/16 digits/,
        'a short PIN');
    refused($portal->sign_in($site, "0$reference", $pin), qr/9 digits/,
        'a long reference number');
    refused($portal->sign_in($site, '999999999', $pin), qr/is wrong/,
        'another reference number');
    refused($portal->sign_in($site, $reference, $pin =~ tr/0-9/1-90/r),
        qr/is wrong/, 'another PIN');
    refused($portal->sign_in('example.hk', $reference, $pin), qr/is wrong/,
        'another server name');
    ok $portal->sign_in(uc $site, $reference, $spaced), 'the right ones';
    refused($portal->confirm(chinese => 1), qr/no organisation name in Chin/,
        'Confirm Opt with Chinese, without a Chinese name');
}

sub entered (%o) {
    my $form = $portal->apply(server_name => $site, %o);
    $portal->sign_in($form->{server_name}, @$form{qw(reference pin)});
    $portal->confirm;
    return $form;
}

sub order () {
    entered();
    refused($portal->submit(request()), qr/does not come after validation/,
        'a request before the validation');
    refused($portal->accept, qr/does not come after/, 'Accept before that');
    refused($portal->download, qr/does not come after/, 'a download');
    my $form = entered(government => 1);
    ok $portal->submit(request()) && $portal->accept, 'one is accepted';
    refused($portal->sign_in($site, @$form{qw(reference pin)}), qr/been used/,
        'the envelope once more');
}

sub validation () {
    entered(kind => 'wildcard', server_name => '*.example.hk');
    refused($portal->choose('Website Change'), qr/not applicable/,
        'Website Change for a wildcard');
    entered(kind => 'multi-domain', more => ['example.hk']);
    refused($portal->choose('Constructed E-mail'), qr/not applicable/,
        'Constructed E-mail for several names');
    my $code = $portal->choose('DNS Change');
    my @zone = map { qq($_. 3600 IN TXT "$code"\n) } $site, 'example.hk';
    refused($portal->check_dns($zone[0]), qr/no TXT .* at example\.hk/,
        'a record at one of two names');
    refused($portal->check_website(http => 1), qr/was not chosen/,
        'another method than the one chosen');
    ok $portal->check_dns(join '', @zone), 'a record at each';
    entered();
    $portal->choose('Constructed E-mail');
    refused($portal->send_code("info\@$site"), qr/no designated/, 'info@');
    refused($portal->check_mail(''), qr/is wrong/, 'no code');
}

# A request as OpenSSL makes it.
sub request ($cn = $site, $start = $subject, @key) {
    my $file = tmp() . '/portal-test.csr';
    my ($status, $out) = run('openssl', 'req', '-new', '-nodes', '-utf8',
        '-newkey', @key ? @key : 'rsa:2048', '-keyout', tmp() . '/any.key',
        '-subj', "$start$cn", '-out', $file);
    $status == 0 or die $out;
    return slurp($file);
}

sub requests () {
    my $good = request();
    # one sign of the signature is another one
    my $forged = $good =~ s/(.)(.{20}\n-----END)/($1 eq 'A' ? 'B' : 'A') . $2/esr;

    entered(government => 1);
    refused($portal->submit('hello'), qr/no certificate request/, 'no request');
    refused($portal->submit($forged), qr/signature/, 'a wrong signature');
    refused($portal->submit(request($site, $subject =~ s/HK/CN/r)),
        qr/country has to be HK/, 'another country');
    refused($portal->submit(request("a.$site")), qr/common name is a\./,
        'another common name');
    refused($portal->submit(request($site, $subject =~ s/Example/Other/r)),
        qr/organisation is Other Limited/, 'another organisation');
    refused($portal->submit(request($site, $subject, 'rsa:1024')),
        qr/1024 bits is too short/, 'a short key');
    ok $portal->submit($good), 'a good one' or diag $portal->says;
    my $leaf = $portal->accept;
    is int(($leaf->not_after - $leaf->not_before) / 86400), 198,
        'for 199 days, less a second';
    entered(government => 1);
    refused($portal->submit($good), qr/has a certificate already/,
        'the same key for the next certificate');
}
