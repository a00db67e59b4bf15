#!/usr/bin/perl

# What is wrong in the directives is told at the configuration test: which
# directive, what about it, in which file and line.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::PKI;
use Ecert::Server;
use Ecert::Store;
use Ecert::Test;

my $pki = Ecert::PKI->new;
my $leaf = $pki->leaf;
my $cert = $leaf->file(tmp() . '/cert.pem', $leaf->chain);
my $key = $leaf->key_file(tmp() . '/key.pem');
my $store = Ecert::Store->new->add_issuers($pki->sub, $pki->cross);
$store->install('www.example.hk', $leaf);

# Where it stands; the directives in nginx's words ("c" and "k" are files);
# what nginx says; what Apache says (an empty string: it accepts it).
my $count = qr/invalid number of arguments in "DIRECTIVE" directive/;
my $here = qr/"DIRECTIVE" directive is not allowed here/;
my $twice = qr/"DIRECTIVE" directive is duplicate/;
my $control = [qr/"DIRECTIVE" directive has a control character/,
    qr/DIRECTIVE has a control character/];
my $variable = [qr/"DIRECTIVE" directive has a variable in its value/,
    qr/DIRECTIVE has a variable in its value/];
my $scheme = [qr/"DIRECTIVE" directive takes names and files, nothing with/,
    qr/DIRECTIVE takes names and files, nothing with/];
my $again = qr/DIRECTIVE is duplicate: a virtual host serves one certificate/;
my $choice = 'is none of auto, on, off, until=YYYY-MM-DD';
my $either = qr/"ecert" takes the certificate from the store.*write the one/;
my $rival = qr/"ecert\w*" serves this server's certificate: remove "ssl_cert/;
my @refused = (
    [server => 'ecert', $count, qr/ECert takes one argument, site of the/],
    [server => 'ecert a b', $count, qr/ECert takes one argument/],
    [server => 'ecert ""', qr/"ecert" directive has an empty value/,
        qr/ECert takes one argument/],
    [server => "ecert \"a\tb\"", @$control],
    [server => "ecert \"a\x1b[31mb\"", @$control],
    [server => 'ecert on; ecert on', $twice, $again],
    [server => 'ecert on; ecert off', $twice, $again],
    [server => 'ecert off; ecert on', $twice, $again],
    [server => 'ecert $ssl_server_name', @$variable],
    [server => 'ecert ${none}.example.hk', @$variable],
    [server => 'ecert "%{HTTP_HOST}"', @$variable],
    [server => 'ecert engine:e:1', @$scheme],
    [http => 'ecert on', $here, ''],
    [location => 'ecert on', $here, qr/ECert not allowed in <Location> co/],
    [nameless => 'ecert on',
        qr/"ecert" takes the site's name from "server_name", which has no/,
        qr/"ECert on" takes the site's name from ServerName, which is mis/],

    [server => 'ecert_store /tmp', $here,
        qr/ECertStore cannot occur within <VirtualHost>/],
    [http => 'ecert_store', $count, qr/ECertStore takes one argument/],
    [http => 'ecert_store /a; ecert_store /b', $twice, ''],
    [http => 'ecert_store ""', qr/"ecert_store" directive has an empty/,
        qr/ECertStore takes one argument/],
    [http => "ecert_store \"/tmp/a\x01b\"", @$control],
    [server => 'ecert_agent /bin/ecert', $here,
        qr/ECertAgent cannot occur within <VirtualHost>/],
    [http => 'ecert_agent', $count, qr/ECertAgent takes one argument/],
    [server => 'ecert_run /run/ecert', $here,
        qr/ECertRun cannot occur within <VirtualHost>/],
    [http => 'ecert_run ""', qr/"ecert_run" directive has an empty value/,
        qr/ECertRun takes one argument/],

    [server => 'ecert_certificate c', qr/"ecert_certificate" needs "ecert_c/,
        qr/ECertCertificate needs ECertCertificateKey beside it/],
    [server => 'ecert_certificate_key k',
        qr/"ecert_certificate_key" needs "ecert_certificate" beside it/,
        qr/ECertCertificateKey needs ECertCertificate beside it/],
    [server => 'ecert_certificate c; ecert_certificate c', $twice, $again],
    [server => 'ecert_certificate c; ecert_certificate_key k; '
        . 'ecert_certificate c', $twice, $again],
    [server => 'ecert_certificate c; ecert_certificate_key k; '
        . 'ecert_certificate_key k', $twice, $again],
    [server => 'ecert_certificate /tmp/$ssl_server_name.crt', @$variable],
    [server => 'ecert_certificate_key $1', @$variable],
    [server => 'ecert_certificate data:x', @$scheme],
    map({ [server => "ecert_certificate_key $_", @$scheme] }
        'engine:pkcs11:k', 'store:file:/k', 'pkcs11:object=k', 'file:/k'),
    [http => 'ecert_issuers /a /${b}', @$variable],
    [http => 'ecert_store $document_root', @$variable],
    [http => 'ecert_cross_certificate $x', @$variable],
    [http => 'ecert_catalogue store:x', @$scheme],
    [location => 'ecert_certificate c', $here, qr/not allowed in <Location/],
    [server => 'ecert on; ecert_certificate c; ecert_certificate_key k',
        $either, qr/ECert takes the certificate from the store/],
    [server => 'ecert_certificate c; ecert_certificate_key k; ecert on',
        $either, qr/ECert takes the certificate from the store/],
    [server => 'ecert_certificate_key k; ecert on', $either,
        qr/ECert takes the certificate from the store/],
    [server => 'ecert on; ssl_certificate c; ssl_certificate_key k', $rival,
        qr/ECert serves this .*: remove SSLCertificateFile \(\S+:\d+\)/],
    [server => 'ssl_certificate c; ssl_certificate_key k; ecert on', $rival,
        qr/ECert serves this .*: remove SSLCertificateFile \(\S+:\d+\)/],
    [server => 'ssl_certificate_key k; ecert on', $rival,
        qr/ECert serves this .*: remove SSLCertificateKeyFile \(/],
    [server => 'ssl_certificate c; ssl_certificate_key k; '
        . 'ecert_certificate c; ecert_certificate_key k', $rival,
        qr/ECertCertificate serves this .*: remove SSLCertificateFile/],

    [http => 'ecert_cross_certificate', $count,
        qr/takes one argument, auto, on, off or until=YYYY-MM-DD/],
    [http => 'ecert_cross_certificate yes',
        qr/"ecert_cross_certificate" directive: "yes" $choice/,
        qr/ECertCrossCertificate: "yes" $choice/],
    [server => 'ecert_cross_certificate until=2027-02-30',
        qr/"ecert_cross_certificate" directive: "2027-02-30" is not a date/,
        qr/ECertCrossCertificate: "2027-02-30" is not a date/],
    [server => 'ecert_cross_certificate on; ecert_cross_certificate off',
        $twice, ''],
    [location => 'ecert_cross_certificate on', $here, qr/not allowed in/],
    [server => 'ecert_dcv maybe',
        qr/invalid value "maybe" in "ecert_dcv" .* it must be "on" or "off"/,
        qr/ECertDCV must be On or Off/],
    [server => 'ecert_dcv on; ecert_dcv on', $twice, ''],
    [location => 'ecert_dcv off', $here, qr/not allowed in <Location>/],
    [server => 'ecert_issuers', $count,
        qr/ECertIssuers requires at least one argument/],
    [server => "ecert_issuers /a \"/b\tc\"", @$control],
    [http => 'ecert_catalogue', $count, qr/ECertCatalogue takes one arg/],
    [server => 'ecert_catalogue a; ecert_catalogue b', $twice, ''],
);

# What does not keep the server from starting: a warning or an error.
my @told = (
    [server => 'ecert "a b"', qr/: name: .*it has a space.*; correct the name/],
    [server => 'ecert 192.0.2.1', qr/: name: .*an address, not a name/],
    [server => 'ecert https://www.example.hk:443/x',
        qr/: name: .*a URL\); .*, not a URL; say www\.example\.hk in \S+:\d+/],
    [server => 'ecert www.example.hk:443',
        qr/: name: .*as before a port\); .* say www\.example\.hk in \S+:\d+/],
    [server => "ecert \"\xc2\xa0\xe2\x80\x9cnone.hk\xe2\x80\x9d \"",
        qr/site none\.hk: no-site: /],
    [server => 'ecert none.example.hk', qr/site none.example.hk: no-site: /],
    [server => 'ecert on; ecert_issuers /nonexistent',
        qr{missing: /nonexistent: }],
    [server => 'ecert on; ecert_catalogue /nonexistent',
        qr{missing: /nonexistent: }],
    [server => "ecert on; ecert_catalogue k",
        qr/catalogue: \S+key.pem: the catalogue of the CA cannot be used/],
    [server => 'ecert_certificate /none.pem; ecert_certificate_key k',
        qr{site www.example.hk: missing: /none.pem: }],
);

for my $kind (servers()) {
    subtest "$kind, refused" => sub { refused($kind, @$_) for @refused };
    subtest "$kind, told" => sub { told($kind, @$_) for @told };
    subtest "$kind, the agent" => sub { agent($kind) };
    subtest "$kind, the store" => sub { store($kind) };
    subtest "$kind, no TLS" => sub { no_tls($kind) };
}
done_testing;

# The snippet in the server's words.
sub words ($kind, $place, $snippet) {
    my %file = (c => $cert, k => $key);
    my @lines = map { s/ ([ck])$/ $file{$1}/r } split /; /, $snippet;
    if ($kind eq 'nginx') {
        my $text = join ' ', map { "$_;" } @lines;
        return $place eq 'location' ? "location /x { $text }" : $text;
    }
    for (@lines) {
        s/^ssl_certificate_key/SSLCertificateKeyFile/;
        s/^ssl_certificate/SSLCertificateFile/;
        s/^(ecert\w*)/Ecert::Apache->directive($1) =~ s{ $}{}r/e;
    }
    my $text = join "\n", @lines;
    return $place eq 'location' ? "<Location /x>\n$text\n</Location>" : $text;
}

sub build ($kind, $place, $snippet, %o) {
    require Ecert::Apache;
    my %text = ($kind => words($kind, $place, $snippet));
    # One that stands beside the vhosts replaces ours of the same name.
    my %own = (store => $store, %o);
    delete $own{store} if $place eq 'http' && $snippet =~ /^ecert_store/;
    return Ecert::Server->new($kind, %own, http => $place eq 'http' ? \%text
        : {}, vhosts => [{ listen => $place =~ /^(?:plain|http)$/ ? 'http' : 'https',
            names => $place eq 'nameless' ? [] : ['www.example.hk'],
            $place eq 'http' ? () : %text }]);
}

sub refused ($kind, $place, $snippet, @says) {
    my $server = build($kind, $place, $snippet);
    my ($status, $out) = $server->configtest;
    my $say = $says[$kind eq 'nginx' ? 0 : 1];
    my $what = "$place: " . $snippet =~ s/([\0-\x1f])/sprintf '\x%02x', ord $1/ger;
    if ($say eq '') {
        is $status, 0, "$what: accepted" or diag $out;
        return;
    }
    my ($name) = words($kind, '', (split /; /, $snippet)[-1]) =~ /^(\w+)/;
    $say =~ s/DIRECTIVE/$name/;
    is $status, 1, "$what: refused";
    like $out, qr/$say/, "$what: why";
    like line_told($server, $out), qr/ecert/i, "$what: in which line";
}

# The line (with the one before) of the configuration that a message is about.
sub line_told ($server, $out) {
    my $conf = "$server->{dir}/$server->{kind}.conf";
    my ($n) = grep { $_ } $out =~ /\Q$conf\E:(\d+)|line (\d+) of \Q$conf\E/;
    return 'none' if !$n;
    return join "\n", (split /\n/, slurp($conf))[$n - 2, $n - 1];
}

sub told ($kind, $place, $snippet, $says) {
    my ($status, $out) = build($kind, $place, $snippet)->configtest;
    is $status, 0, "$place: $snippet: passes";
    like $out, $says, "$place: $snippet: but it is told";
}

sub agent ($kind) {
    for (['/nonexistent/ecert', 'No such file or directory'],
        [tmp(), 'it is not an executable file'],
        [$cert, 'it is not an executable file'])
    {
        my ($path, $why) = @$_;
        my ($status, $out) = build($kind, 'server', 'ecert on',
            agent => $path)->configtest;
        is $status, 1, "ecert_agent $path: refused";
        like $out, qr/agent: \Q$path\E: .*\Q$why\E.*ecert_agent/, 'and why';
    }
    my $server = build($kind, 'server', 'ecert on', agent => '/bin/true');
    ok $server->try_start, 'an agent that is another program: it starts';
    like $server->log(0), qr{agent: /bin/true: .*it ended before it was ready},
        'and says so';
    $server->stop;
}

sub store ($kind) {
    for my $path ('/nonexistent/store', $cert) {
        my $server = build($kind, 'server', 'ecert on',
            store => bless { dir => $path }, 'Ecert::Store');
        like +($server->configtest)[1],
            qr{no-site: .*there a folder \Q$path\E/sites}, "ecert_store $path";
        ok $server->try_start, 'the server starts all the same';
        like $server->log(0),
            qr/ (?:missing|system): .*; correct ecert_store/, 'and says so';
        $server->stop;
    }
}

sub no_tls ($kind) {
    my $server = build($kind, 'plain', 'ecert on')->start;
    like $server->log(0) . $server->{said}, $kind eq 'nginx'
        ? qr/"ecert" has no effect without "listen ... ssl".*nginx\.conf:\d+/
        : qr/apache\.conf:\d+: .*no effect.*"SSLEngine on" is missing/,
        'a site where no TLS is spoken: a warning';
}
