#!/usr/bin/perl

# The servers' own directives beside a site: those that complete a chain go on
# doing so; what has no effect there is refused or told at the start.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Client;
use Ecert::Live;
use Ecert::PKI;
use Ecert::Server;
use Ecert::Store;
use Ecert::Test;

my $host = 'www.example.hk';
my $pki = Ecert::PKI->new;
my ($sub, $leaf) = ($pki->sub, $pki->leaf(names => [$host]));
my $cert = $leaf->file(tmp() . '/cert.pem', $leaf->chain);
my $key = $leaf->key_file(tmp() . '/key.pem');
my $passwords = tmp() . '/passwords';
my $response = tmp() . '/response.der';
for my $file ($passwords, $response) {
    open my $out, '>', $file or die "$file: $!";
    print $out "x\n";
}

# Where it stands, nginx's or Apache's own words, whether it is refused, and
# what is said.
my @nginx = (
    [server => "ssl_conf_command Certificate $cert;", 1,
        conf('Certificate', "it is the site's; remove")],
    [server => "ssl_conf_command privatekey $key;", 1,
        conf('privatekey', "it is the site's; remove")],
    [server => "ssl_conf_command ChainCAFile $cert;", 1,
        conf('ChainCAFile', 'name the file with ecert_issuers')],
    [http => "ssl_conf_command Certificate $cert;", 0,
        conf('Certificate', "it is the site's; remove")],
    [server => 'ssl_conf_command Options -SessionTicket;', 0, undef],
    [server => "ssl_password_file $passwords;", 0,
        qr/"ssl_password_file" has no effect beside "ecert"/],
    [http => "ssl_password_file $passwords;", 0, undef],
    [server => "ssl_stapling on; ssl_stapling_file $response;", 0,
        qr/"ssl_stapling_file" has no effect beside "ecert"/],
    [server => 'ssl_stapling_responder http://127.0.0.1/;', 0,
        qr/"ssl_stapling_responder" has no effect beside "ecert".*: the agent/],
    [server => 'ssl_stapling on; ssl_stapling_verify on;', 0, undef],
);
push @nginx, [server => 'ssl_certificate_compression on;', 0,
    qr/"ssl_certificate_compression" has no effect beside "ecert"/]
    if nginx_version() >= v1.29.1;
my @apache = (
    [server => "SSLOpenSSLConfCmd Certificate $cert", 1,
        qr/SSLOpenSSLConfCmd Certificate has no effect beside the site in/],
    [server => "SSLOpenSSLConfCmd PrivateKey $key", 1,
        qr/SSLOpenSSLConfCmd PrivateKey has no effect beside the site in/],
    [server => "<IfModule mod_ssl.c>\nSSLOpenSSLConfCmd chaincafile $cert\n"
        . '</IfModule>', 1, qr/name the file with ecert_issuers/],
    [http => "SSLOpenSSLConfCmd Certificate $cert", 0,
        qr/ Certificate has no effect in the virtual host with the site in/],
    [server => 'SSLOpenSSLConfCmd Options -SessionTicket', 0, undef],
    [server => 'SSLStaplingForceURL http://127.0.0.1/', 0,
        qr/SSLStaplingForceURL has no effect in the virtual host with the si/],
    [http => "MDomain other.example.hk $host", 0,
        qr/MDomain \Q$host\E has no effect.*mod_md does not; take the name/],
    [http => 'MDomain other.example.hk', 0, undef],
    [http => "SSLEngine on\n<VirtualHost 127.0.0.1:1>\n"
        . "ServerName b.example.hk\n</VirtualHost>", 1,
        qr/SSLEngine is on for .*no certificate: ECert is not inherited/],
    [http => "SSLEngine on\nSSLCertificateFile $cert\n"
        . "SSLCertificateKeyFile $key", 0, undef],
);
my %rows = (nginx => \@nginx, apache => \@apache);

for my $kind (servers()) {
    my $store = Ecert::Store->new->add_issuers($sub, $pki->cross);
    $store->install($host, $leaf);
    subtest "$kind, at the start" => sub {
        at_the_start($kind, $store, @$_) for @{ $rows{$kind} };
    };
    subtest "$kind, chains" => \&chains if $kind eq 'apache';
}
done_testing;

sub conf ($command, $instead) {
    return qr/"ssl_conf_command $command" has no effect.*: \Q$instead\E/;
}

sub nginx_version () {
    require Ecert::Nginx;
    return Ecert::Nginx::version() =~ m{/([\d.]+)}
        ? 'version'->parse("v$1") : v0;
}

sub at_the_start ($kind, $store, $place, $text, $refused, $says) {
    my %text = ($kind => $text);
    my $md = $text =~ /^MD/ ? { apache => "LoadModule md_module "
        . ($ENV{ECERT_APACHE_MODULES} || '/usr/lib/apache2/modules')
        . '/mod_md.so' } : {};
    my ($status, $out) = Ecert::Server->new($kind, store => $store,
        main => $md, http => $place eq 'http' ? \%text : {},
        vhosts => [{ names => [$host], ecert => 'on',
            $place eq 'http' ? () : %text }])->configtest;
    my $what = "$place: " . $text =~ s/\n/; /gr;

    is $status, $refused, $what . ($refused ? ': refused' : ': accepted')
        or diag $out;
    defined $says ? like $out, $says, 'and told'
        : unlike $out, qr/has no effect|no certificate/, 'without a word';
}

# mod_ssl completes a chain from these, and so does ecert.
sub chains () {
    my $dir = tmp() . '/ca';
    my $file = $sub->file("$dir.pem");
    mkdir $dir;
    $sub->file("$dir/sub.pem");
    my $many = tmp() . '/many.pem';
    $sub->file($many, map { $pki->root } 1 .. 17);
    my @ways = (
        ['SSLCertificateChainFile', server => "SSLCertificateChainFile $file"],
        ['SSLCACertificateFile', server => "SSLCACertificateFile $file"],
        ['SSLCACertificatePath', server => "SSLCACertificatePath $dir"],
        ['with those of many others', server => "SSLCACertificateFile $many\n"
            . "SSLCertificateChainFile $file"],
        ['of the main server', http => "SSLCertificateChainFile $file"],
        ['in a condition', server => "<IfModule mod_ssl.c>\n"
            . "SSLCertificateChainFile $file\n</IfModule>"],
    );
    for (@ways) {
        my ($what, $place, $text) = @$_;
        my $store = Ecert::Store->new;
        $store->install($host, $leaf);
        my $server = Ecert::Server->new('apache', store => $store,
            http => $place eq 'http' ? { apache => $text } : {},
            vhosts => [{ names => [$host], ecert => 'on',
                $place eq 'http' ? () : (apache => $text) }])->start;
        serves($server, $host, [$leaf, $sub], $what);
        is_deeply [complaints($server, $host)], [], 'without a complaint';
        next if $what ne 'SSLCertificateChainFile';

        $sub->file($file, $sub, $pki->cross);
        becomes($server, $host, [$leaf, $sub, $pki->cross],
            'a change of the file goes live');
        $sub->file($file);
    }
}
