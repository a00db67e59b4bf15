#!/usr/bin/perl

# The guide for each kind of certificate: of a government department, EV,
# wildcard, multi-domain with as many names as there may be, Chinese domain
# name.  All of them on one server.

use v5.36;
use utf8;
use FindBin;
use lib "$FindBin::Bin/lib";

use Encode ();

use Ecert::Client;
use Ecert::Command;
use Ecert::Guide;
use Ecert::Live;
use Ecert::Test;

my $gov = 'www.dept.gov.hk';
my $ev = 'www.bank.example.hk';
my $wild = '*.wild.example.hk';
my $many = 'www.many.example.hk';
my @more = map { "n$_.many.example.hk" } 2 .. 50;
my $chinese = 'www.我的服务器.com';
my $alabel = 'www.xn--zfru1g2vn33etpw.com';
my $organisation = '香港特別行政區政府';

binmode Test::More->builder->$_, ':encoding(UTF-8)'
    for qw(output failure_output todo_output);

for my $kind (servers()) {
    subtest $kind => sub {
        my $guide = Ecert::Guide->new($kind,
            sites => { $gov => [], $ev => [], $many => \@more, $chinese => [],
                $wild => ['wild.example.hk'] },
            alabels => { $chinese => $alabel });
        my @workers = sort $guide->server->workers;

        subtest 'government' => sub { government($guide) };
        subtest 'EV' => sub { ev($guide) };
        subtest 'wildcard' => sub { wildcard($guide) };
        subtest 'multi-domain' => sub { multi_domain($guide) };
        subtest 'Chinese domain name' => sub { chinese($guide) };
        is_deeply [sort $guide->server->workers], \@workers,
            'the same workers all the time';
        is +($guide->ecert('status'))[0], 0, 'status: all in order'
            or diag +($guide->ecert('status'))[1];
    };
}
done_testing;

# No validation: from the application data straight to the request.
sub government ($guide) {
    $guide->add_issuers;
    my $form = $guide->portal->apply(server_name => $gov, government => 1,
        organisation => 'Hong Kong SAR Government', chinese => $organisation);
    my $csr = $guide->request($gov, '--org', $organisation, '--unit', 'HKPO');
    is_deeply [@{ subject($csr) }{qw(organizationName
        organizationalUnitName commonName)}], [$organisation, 'HKPO', $gov],
        'the request names the department, in Chinese';
    $guide->enter($form, chinese => 1);
    my $leaf = $guide->submit($csr);
    my $next = $guide->stands($gov, '+key-made +key-backed-up '
        . '~validation-file-up +csr-submitted -certificate-received '
        . '=> certificate-awaited', 'status: the validation file need not be');
    unlike $next->{text}, qr/validation/, 'nor is it asked for';
    $guide->install($gov, $leaf, 'p7b');
    $guide->stands($gov, '+installed +chain-complete +served '
        . '-certificate-backed-up ~renewal => back-up',
        'status: served, and nothing was ever validated');
    is_deeply [glob $guide->store->dir . "/dcv/$gov/*"], [],
        'no validation file was put up';
    like slurp($leaf->file(tmp() . '/gov.pem')), qr/BEGIN/, 'a certificate';
    my ($status, $text) = run('openssl', 'x509', '-in', tmp() . '/gov.pem',
        '-noout', '-subject', '-nameopt', 'utf8,-esc_msb,sep_comma_plus');
    like Encode::decode('UTF-8', $text), qr/O=$organisation/,
        'the organisation in Chinese came through';
}

sub ev ($guide) {
    my $portal = $guide->portal;
    my $form = $portal->apply(server_name => $ev, ev => 1);
    my $csr = $guide->request($ev);

    $guide->enter($form);
    $guide->prove($ev);
    my $leaf = $guide->submit($csr);
    $guide->does('install without the EV Sub CA', 'install', $ev,
        $portal->download('der'), '--wait');
    my $next = $guide->stands($ev, '+installed -chain-complete +served '
        . '-certificate-backed-up ~renewal => issuers',
        'status: the Sub CA of EV is another one');
    like $next->{text}, qr{/ecert_ev_ssl_ca_3-17_pem\.crt}, 'and which';
    $guide->add_issuers($portal->ca_file('ecert_ev_ssl_ca_3-17_pem.crt'));
    becomes($guide->server, $ev,
        [$leaf, $guide->pki->ev, $guide->pki->cross], 'served with it');
}

# What status says is typed in a shell.
sub typed ($guide, $command) {
    local $ENV{ECERT_STORE} = $guide->store->dir;
    local $ENV{PATH} = build_dir() . ":$ENV{PATH}";
    my $dir = tmp() . '/' . $guide->server->kind . '-typed';
    mkdir $dir;
    # a file that a star would stand for
    $guide->store->put("$dir/x.wild.example.hk", '');
    my ($status, $out) = run('sh', '-c', "cd $dir && $command");
    is $status, 0, $command or diag $out;
    return $out;
}

sub wildcard ($guide) {
    my $portal = $guide->portal;
    my $form = $portal->apply(server_name => $wild, kind => 'wildcard');
    my $password = ' --password-file ' . password_file();

    $guide->does('new', 'new', $wild, '--org', 'Example Limited');
    ok -d $guide->store->dir . '/sites/_.wild.example.hk', 'its folder';
    my $next = $guide->stands($wild, '+key-made -key-backed-up -csr-submitted '
        . '-certificate-received => back-up-key',
        'status: there is no validation file for a wildcard');
    typed($guide, $next->{command} . $password);
    $next = $guide->stands($wild, '+key-made +key-backed-up -csr-submitted '
        . '-certificate-received => csr-to-submit', 'status: to the portal');
    like $next->{text}, qr/ecert dcv dns '\Q$wild\E' CODE/, 'DNS Change';

    $guide->enter($form);
    is_deeply [$portal->methods], ['DNS Change', 'Constructed E-mail'],
        'the portal offers no Website Change';
    $guide->refuses(qr/method: .*choose DNS Change .*ecert dcv dns/,
        'dcv add', 'dcv', 'add', $wild, $guide->save('fileauth.txt', 'code'));
    by_dns($guide, $wild);
    my $leaf = $guide->submit(typed($guide, $next->{command}
        . ' 2>/dev/null'));
    $guide->install($wild, $leaf);
    serves($guide->server, 'wild.example.hk',
        [$leaf, $guide->pki->sub, $guide->pki->cross], 'the name itself, too');
    $next = $guide->stands($wild, '+installed +chain-complete +served '
        . '-certificate-backed-up ~renewal => back-up', 'status: served');
    typed($guide, $next->{command} . $password);
}

sub by_dns ($guide, $site) {
    my $portal = $guide->portal;
    $portal->choose('DNS Change');
    ok !$portal->check_dns(''), 'the portal refuses an empty zone';
    my ($status, $zone) = $guide->ecert('dcv', 'dns', $site, $portal->code);
    is $status, 0, 'dcv dns';
    ok $portal->check_dns($zone), 'validated by DNS' or diag $zone;
}

sub multi_domain ($guide) {
    my $portal = $guide->portal;
    my @names = map { ('--name', $_) } @more;

    $guide->refuses(qr/too-many: .*51 names, .* 50 at most/, 'the 51st name',
        'new', $many, @names, '--name', 'n51.many.example.hk');
    ok !$portal->apply(server_name => $many, kind => 'multi-domain',
        more => [@more, 'n51.many.example.hk']), 'nor does the CA take it';
    $guide->refuses(qr/subject: .*no wildcard/, 'a wildcard among them',
        'new', $many, @names[0 .. 3], '--name', '*.many.example.hk');

    my $form = $portal->apply(server_name => $many, kind => 'multi-domain',
        more => \@more);
    my $csr = $guide->request($many, @names);
    $guide->enter($form);
    is_deeply [$portal->methods], ['Website Change', 'DNS Change'],
        'the portal offers no Constructed E-mail';
    $guide->refuses(qr/method: .*50 names/, 'dcv mail', 'dcv', 'mail', $many);
    like $guide->prove($many), qr{http://n50\.many\.example\.hk/}, '50 names';
    my $leaf = $guide->submit($csr);
    $guide->install($many, $leaf);
    serves($guide->server, $more[-1],
        [$leaf, $guide->pki->sub, $guide->pki->cross], 'for the last name, too');

    my $again = $portal->apply(server_name => $many, kind => 'multi-domain',
        more => \@more);
    $guide->request($many);
    my $report = ecert_json($guide->store, 'status', $many);
    is scalar @{ $report->{progress}[0]{requests}[0]{names} }, 50,
        'a renewal without --name is for all 50';
    $guide->enter($again);
    by_dns($guide, $many);
    my $renewed = $guide->submit($guide->csr($many));
    $guide->install($many, $renewed);
}

sub chinese ($guide) {
    my $portal = $guide->portal;
    my %form = (server_name => $chinese, alabel => $alabel);
    my $form = $portal->apply(%form);

    my $csr = $guide->request($chinese);
    like +($guide->ecert('status', $chinese))[1],
        qr/^\Q@{[Encode::encode('UTF-8', $chinese)]} ($alabel)\E/m,
        'status has both spellings';
    $guide->enter($form);
    $guide->prove($chinese, 'bom');
    is common_name($csr), $chinese, 'the common name is Unicode';
    my $first = $guide->submit($csr);
    $guide->install($chinese, $first, 'der');

    # The other option of the guide, and the name typed as an A-label.
    $csr = $guide->request($alabel, '--idn', 'ascii');
    is common_name($csr), $alabel, 'the common name is an A-label';
    $guide->enter($portal->apply(%form));
    by_mail($guide, $alabel);
    my $second = $guide->submit($csr);
    $guide->install($chinese, $second, 'p7b');
    is $second->cn, $alabel, 'the certificate has the A-label';
}

# { what => value } of a request's subject.
sub subject ($csr) {
    my $file = tmp() . '/subject.csr';
    open my $out, '>', $file or die "$file: $!";
    print $out $csr;
    close $out;
    my ($status, $text) = run('openssl', 'req', '-in', $file, '-noout',
        '-subject', '-nameopt', 'multiline,utf8,-esc_msb');
    return { Encode::decode('UTF-8', $text) =~ /^ +(\w+) += (.*)$/mg };
}

sub common_name ($csr) { return subject($csr)->{commonName} }

sub by_mail ($guide, $site) {
    my $portal = $guide->portal;
    $portal->choose('Constructed E-mail');
    my ($status, $out) = $guide->ecert('dcv', 'mail', $site);
    is $status, 0, 'dcv mail';
    my @addresses = $out =~ /^(\S+@\S+)$/mg;
    is scalar @addresses, 5, 'five addresses' or diag $out;
    for my $address (@addresses) {
        ok $portal->send_code($address), "the portal sends to $address"
            or diag $portal->says;
    }
    ok !$portal->check_mail('a guess'), 'not with a guess';
    ok $portal->check_mail($portal->send_code($addresses[0])),
        'validated by e-mail';
}
