package Ecert::Guide;

# A person with the CA's guide in hand: a store, a running server, a look-alike
# CA, and commands as they are typed.  Each of these checks goes into the test.
#
#   my $guide = Ecert::Guide->new($kind, sites => { 'www.example.hk' => [] });
#   $guide->does('ecert new', 'new', $site);
#   $guide->walk(server_name => $site);     # all of it, B to E
#
# sites: { name => [further names] }; each has a vhost with TLS, which asks for
# a password below /.well-known/, and one without, which redirects everything.
# alabels: { name => its A-label }, for names in Chinese.

use v5.36;

use Encode ();
use JSON::PP ();
use Test::More;

use Ecert::Client ();
use Ecert::Command ();
use Ecert::Live ();
use Ecert::PKI;
use Ecert::Portal;
use Ecert::Server;
use Ecert::Store;
use Ecert::Test ();

my $hostile = {
    nginx => "location /.well-known/ {\n auth_basic x;\n"
        . " auth_basic_user_file /nonexistent;\n}",
    apache => "<Location /.well-known/>\nAuthType Basic\nAuthName x\n"
        . "AuthUserFile /nonexistent\nRequire valid-user\n</Location>",
};
my $redirect = {
    nginx => 'return 301 https://$host$request_uri;',
    apache => "RewriteEngine on\n"
        . 'RewriteRule ^ https://%{HTTP_HOST}%{REQUEST_URI} [R=301,L]',
};

sub new ($class, $kind, %o) {
    my $pki = $o{pki} // Ecert::PKI->new;
    my $guide = bless { pki => $pki, kind => $kind,
        portal => $o{portal} // Ecert::Portal->new(pki => $pki),
        store => $o{store} // Ecert::Store->new }, $class;
    my @vhosts;
    for my $site (sort keys %{ $o{sites} }) {
        my @names = map { $o{alabels}{$_} // $_ }
            $site, @{ $o{sites}{$site} };
        # httpd wants no wildcard in ServerName
        @names = reverse @names if $site =~ /^\*/;
        push @vhosts, { names => \@names, %$hostile,
                ecert => $o{alabels}{$site} // $site },
            { names => \@names, listen => 'http', %$redirect };
        $guide->describe($o{alabels}{$site} // $site) if $o{described} // 1;
    }
    $guide->{server} = Ecert::Server->new($kind, store => $guide->{store},
        conf => { ecert_catalogue => $guide->catalogue },
        vhosts => \@vhosts)->start;
    return $guide;
}

for my $name (qw(pki portal store server)) {
    no strict 'refs';
    *$name = sub ($guide) { return $guide->{$name} };
}

# What is known about the real CA, with the look-alike's certificates in it.
sub catalogue ($guide) {
    my $pki = $guide->{pki};
    my $file = Ecert::Test::tmp() . '/catalogue-' . lc(
        substr $pki->root->fingerprint, 0, 16) . '.json';
    return $file if -e $file;
    my %id = ('root-ca-3' => $pki->root, 'gsca-r3' => $pki->cross_root,
        'root-ca-3-x-gsca-r3' => $pki->cross,
        'ssl-ca-3-17-2025' => $pki->sub, 'ssl-ca-3-17-2017' => $pki->sub_old,
        'ev-ssl-ca-3-17-2025' => $pki->ev,
        'ev-ssl-ca-3-17-2017' => $pki->ev_old);
    my $ca = JSON::PP::decode_json(Ecert::Test::slurp(
        Ecert::Test::repository() . '/src/ca/hongkongpost.json'));
    for my $entry (@{ $ca->{entries} }) {
        delete $entry->{useful_until};
        my $cert = $id{ $entry->{id} } or next;
        $entry->{sha256} = $cert->fingerprint;
    }
    $guide->{store}->put($file, JSON::PP::encode_json($ca), 0644);
    return $file;
}

# site.json: the commands know no directive of a server.
sub describe ($guide, $site) {
    $guide->{store}->describe($site,
        JSON::PP::encode_json({ catalogue => $guide->catalogue }));
}

# --- commands

sub ecert ($guide, @args) {
    return Ecert::Command::ecert($guide->{store},
        map { utf8::is_utf8($_) ? Encode::encode('UTF-8', $_) : $_ } @args);
}

# A command that has to succeed; what it printed.
sub does ($guide, $what, @args) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my ($status, $out) = $guide->ecert(@args);
    is $status, 0, $what or diag "ecert @args:\n$out";
    return $out;
}

# One that has to be refused, in such words.
sub refuses ($guide, $words, $what, @args) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my ($status, $out) = $guide->ecert(@args);
    is $status, 1, "$what: exit code 1" or diag "ecert @args:\n$out";
    like $out, $words, "$what: its words";
    return $out;
}

sub progress ($guide, $site) {
    my $report = Ecert::Command::ecert_json($guide->{store}, 'status',
        Encode::encode('UTF-8', $site));
    return $report->{progress}[0] // {};
}

# Steps with + done, - not done, ~ need not be; then the word of the next one.
sub stands ($guide, $site, $expected, $what) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $progress = $guide->progress($site);
    my $now = join ' ', map {
        ($_->{done} ? '+' : $_->{optional} ? '~' : '-') . $_->{step}
    } @{ $progress->{steps} };
    is "$now => " . ($progress->{next}{step} // 'none'), $expected, $what;
    return $progress->{next};
}

# --- the walk

# B, and F before C: a new key, its backup, and the request as it is pasted.
sub request ($guide, $site, @options) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    state $n = 0;
    my $pfx = Ecert::Test::tmp() . '/key' . $n++ . '.pfx';
    $guide->does("$site: new", 'new', $site, '--org', 'Example Limited',
        @options);
    $guide->does("$site: backup of the key", 'backup', $site, '--pending',
        '-o', $pfx, '--password-file', Ecert::Command::password_file());
    return $guide->csr($site);
}

sub csr ($guide, $site, @options) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $csr = Ecert::Command::csr_of($guide->{store},
        Encode::encode('UTF-8', $site), @options);
    ok $csr, "$site: csr";
    return $csr;
}

# C.1 to C.3.  form: the application that was made before, else a new one.
sub enter ($guide, $form, %o) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $portal = $guide->{portal};
    return ok $portal->sign_in($form->{server_name},
        @$form{qw(reference pin)}) && $portal->confirm(%o),
        'the portal lets one in' || diag $portal->says;
}

# C.4.A; saved: how the file was saved.
sub prove ($guide, $site, $saved = 'plain') {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $portal = $guide->{portal};
    $portal->choose('Website Change') or diag $portal->says;
    my $file = $guide->save('fileauth.txt', $portal->validation_file($saved));
    my $said = $guide->does("$site: dcv add", 'dcv', 'add', $site, $file);
    my $passed = Ecert::Test::wait_for(sub {
        $portal->check_website(map { $_ => $guide->{server}->port($_) }
            qw(http https));
    });
    ok $passed, "$site: validated over http and https" or diag $portal->says;
    return $said;
}

# A file in a folder of downloads.
sub save ($guide, $name, $bytes) {
    my $dir = Ecert::Test::tmp() . '/downloads';
    mkdir $dir;
    return $guide->{store}->put("$dir/$name", $bytes, 0644);
}

# C.5 to C.7: the certificate.
sub submit ($guide, $csr) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $portal = $guide->{portal};
    my $leaf = $portal->submit($csr) && $portal->accept;
    ok $leaf, 'the CA issues' or diag $portal->says;
    return $leaf;
}

# D: the Sub CAs, and the cross-certificate.
sub add_issuers ($guide, @more) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    $guide->does('issuers add', 'issuers', 'add', '--catalogue',
        $guide->catalogue, map({ $guide->{portal}->ca_file($_) }
            qw(ecert_ssl_ca_3-17_pem.crt root_ca_3_x_gsca_r3_pem.crt)), @more);
}

# E: served with its chain when the command comes back.
sub install ($guide, $site, $leaf, $form = 'pem') {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $out = $guide->does("$site: install --wait", 'install', $site,
        $guide->{portal}->download($form), '--wait');
    my ($name) = map { s/^\*\./any./r } $leaf->cn;
    Ecert::Live::serves($guide->{server}, $name,
        [$leaf, $leaf->issued_by, $guide->{pki}->cross],
        "$site: served with its chain");
    return $out;
}

# All of it for an application as Ecert::Portal takes it; the leaf.  new: more
# options of ecert new; form: of the download.
sub walk ($guide, %o) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my ($new, $download) = delete @o{qw(new form)};
    my $form = $guide->{portal}->apply(%o) or die $guide->{portal}->says;
    my $site = $form->{server_name};
    my $csr = $guide->request($site, @{ $new // [] },
        map { ('--name', $_) } @{ $form->{more} });
    $guide->enter($form);
    my @methods = $guide->{portal}->methods;
    $guide->prove($site) if @methods;
    my $leaf = $guide->submit($csr) or return;
    $guide->install($site, $leaf, $download // 'pem');
    return $leaf;
}

1;
