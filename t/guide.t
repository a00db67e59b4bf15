#!/usr/bin/perl

# The CA's guide from A to F, as somebody does it who has a server without a
# certificate: each command, each page of the portal, and what `ecert status`
# says on the way.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Client;
use Ecert::Command qw(password_file);
use Ecert::DCV;
use Ecert::Guide;
use Ecert::Live;
use Ecert::Test;

my $site = 'www.example.hk';
my $made = '+key-made';
my $rest = '-csr-submitted -certificate-received';
my $there = '+installed +chain-complete +served';

for my $kind (servers()) {
    subtest $kind => sub {
        my $guide = Ecert::Guide->new($kind, sites => { $site => [] },
            described => 0);
        my @workers = sort $guide->server->workers;

        before($guide);
        key_and_request($guide);
        validation($guide);
        my $leaf = certificate($guide);
        issuers($guide, $leaf);
        served_and_backed_up($guide, $leaf);
        is_deeply [sort $guide->server->workers], \@workers,
            'no reload: the same workers as before the first command';
        is_deeply [complaints($guide->server, $site)], [],
            'the error log has nothing to complain about';
        who_did_what($guide, $leaf);
    };
}
done_testing;

sub before ($guide) {
    my ($http, $https) = map { $guide->server->port($_) } qw(http https);

    is get($http, $site, '/')->{status}, 301, 'http redirects everything';
    is get($https, $site, "$prefix/own.txt", tls => 1)->{status}, 401,
        'https asks for a password there';
    ok handshake($https, name => $site)->{certs}[0]->is_self_signed,
        'a placeholder is served';
    $guide->stands($site, ' => new', 'status: nothing is there yet');
    is $guide->progress($site)->{next}{command}, "ecert new $site",
        'and what to type';
    like +($guide->ecert('status', $site))[1], qr/next: .*\n +ecert new \Q$site/,
        'also for people';
    like +($guide->ecert('status'))[1], qr/^progress\n +\Q$site\E +new: ecert new/m,
        'and in the list of all sites';
    # the placeholder was told when the server started
    $guide->server->mark;
}

sub key_and_request ($guide) {
    my $pfx = tmp() . '/' . $guide->server->kind . '-key.pfx';
    my $backup = ['backup', $site, '-o', $pfx, '--password-file',
        password_file()];

    $guide->does('new', 'new', $site, '--org', 'Example Limited');
    $guide->describe($site);
    $guide->stands($site, "$made -key-backed-up ~validation-file-up $rest"
        . ' => back-up-key', 'status: the key wants a backup');
    $guide->refuses(qr/no-backup: .*ecert backup \Q$site\E --pending -o/,
        'csr without a backup', 'csr', $site);
    $guide->refuses(qr/no-certificate: .*--pending/,
        'a backup of a certificate', @$backup);
    my $out = $guide->does('backup --pending', @$backup, '--pending');
    like $out, qr/\Q$pfx\E: private key alone/, 'it tells what is in it';
    is sprintf('%03o', (stat $pfx)[2] & 0777), '600', 'only for its owner';
    $guide->refuses(qr/exists: /, 'a backup over another one',
        @$backup, '--pending');
    $guide->stands($site, "$made +key-backed-up ~validation-file-up $rest"
        . ' => csr-to-submit', 'status: to the portal now');
}

sub validation ($guide) {
    my $portal = $guide->portal;
    my $form = $portal->apply(server_name => $site);
    my ($http, $https) = map { $guide->server->port($_) } qw(http https);

    ok !$portal->sign_in($site, $form->{reference}, '1' x 16),
        'a wrong PIN: the portal stays closed';
    $guide->enter($form);
    $portal->choose('Website Change');
    ok !$portal->check_website(http => $http), 'no file: the portal refuses';
    like $portal->says, qr/: status 301/, 'since the site redirects';
    ok !$portal->check_website(https => $https), 'and with https';
    like $portal->says, qr/: status 401/, 'since the site asks for a password';

    $guide->refuses(qr/validation-file: .*web page/, 'a saved web page', 'dcv',
        'add', $site, $guide->save('fileauth.txt',
            $portal->validation_file('html')));
    like $guide->prove($site, 'bom'), qr/^mended, .*byte order mark/m,
        'a byte order mark is mended, and told';
    $guide->stands($site, "$made +key-backed-up +validation-file-up $rest"
        . ' => csr-to-submit', 'status: the file is up');
}

sub certificate ($guide) {
    my $leaf = $guide->submit($guide->csr($site));
    my $next = $guide->stands($site, "$made +key-backed-up +validation-file-up "
        . '+csr-submitted -certificate-received => certificate-awaited',
        'status: the certificate is awaited');
    is $next->{command}, "ecert install $site FILE", 'and how it is installed';

    # The CA certificates were forgotten: better a leaf alone than nothing.
    my $out = $guide->does('install --wait', 'install', $site,
        $guide->portal->download, '--wait');
    like $out, qr/^ecert: warning: .*chain-incomplete: .*SSL CA 3 - 17/m,
        'it warns of the missing Sub CA';
    serves($guide->server, $site, [$leaf], 'the leaf is served at once');
    $next = $guide->stands($site, '+installed -chain-complete +served '
        . '-certificate-backed-up ~renewal => issuers',
        'status: the Sub CA is missing');
    like $next->{text}, qr{http://www1\S+/ecert_ssl_ca_3-17_pem\.crt},
        'and where to get it';
    ok $guide->server->wait_log(qr/chain-incomplete/), 'the log has it, too';
    $guide->server->mark;
    return $leaf;
}

sub issuers ($guide, $leaf) {
    my $portal = $guide->portal;
    my @add = ('issuers', 'add', '--catalogue', $guide->catalogue);
    my $wrong = $portal->ca_file('ecert_ssl_ca_3-17_pem.crt', old => 1);
    my $pki = $guide->pki;

    $guide->refuses(qr/denied: .*get the new one: http/s,
        'the old Sub CA of the same file name', @add, $wrong);
    # put there by hand, under the same name
    $guide->store->put('issuers/ecert_ssl_ca_3-17_pem.crt', slurp($wrong),
        0644);
    my $out = $guide->add_issuers;
    like $out, qr/^added: .*SSL CA 3 - 17/m, 'the new one comes';
    like $out, qr/^set aside: .*SSL CA 3 - 17, the old one/m, 'the old one goes';
    becomes($guide->server, $site, [$leaf, $pki->sub, $pki->cross],
        'served with Sub CA and cross-certificate');
    is_deeply [pool($guide)], ['in use Sub CA', 'in use cross-certificate',
        'set aside Sub CA'], 'issuers list' or diag $out;
    like $guide->does('issuers add again', @add,
        $portal->ca_file('ecert_ssl_ca_3-17_pem.crt')), qr/^there already/m,
        'the same again does no harm';
    # another old one comes under the name of the one that went
    $guide->store->put('issuers/ecert_ssl_ca_3-17_pem.crt', $pki->ev_old->pem,
        0644);
    $guide->add_issuers;
    is_deeply [grep { /^set aside/ } pool($guide)], [('set aside Sub CA') x 2],
        'two of one name are set aside, and none is lost';
    $guide->server->mark;
    $guide->refuses(qr/in-use: .*for site \Q$site/, 'what the chain needs',
        'issuers', 'remove', substr $pki->sub->fingerprint, 0, 16);
}

sub pool ($guide) {
    my $list = Ecert::Command::ecert_json($guide->store, 'issuers', 'list',
        '--catalogue', $guide->catalogue);
    return sort map { "$_->{state} $_->{role}" } @{ $list->{issuers} };
}

sub served_and_backed_up ($guide, $leaf) {
    my $pfx = tmp() . '/' . $guide->server->kind . '.pfx';
    $guide->stands($site, "$there -certificate-backed-up ~renewal => back-up",
        'status: served, and the backup is due');
    like $guide->does('install again', 'install', $site,
        $guide->portal->download, '--wait'), qr/there already/,
        'the same certificate again does no harm';
    my $out = $guide->does('backup', 'backup', $site, '-o', $pfx,
        '--password-file', password_file(), '--profile', 'windows');
    like $out, qr/private key, certificate and [2-4] more/, 'with its path';
    $guide->stands($site, "$there +certificate-backed-up ~renewal"
        . ' => renew-later', 'status: nothing to do until the renewal');
    is +($guide->ecert('status', $site))[0], 0, 'and a monitor is content';

    for my $root (qw(root cross_root)) {
        my $answer = handshake($guide->server->port, name => $site,
            roots => $guide->pki->$root->file(tmp() . "/$root.pem"));
        ok $answer->{verified}, "a client that has only the $root verifies it"
            or diag $answer->{verify_error};
    }
}

sub who_did_what ($guide, $leaf) {
    my $log = Ecert::Command::ecert_json($guide->store, 'log', $site)->{log};
    my %of = map { $_->{command} => $_ } @$log;
    my @commands = map { $_->{command} } @$log;

    is_deeply \@commands, ['new', 'backup', 'dcv add', 'csr', 'install',
        'backup'], 'log: what was done, in this order';
    ok !(grep { !$_->{user} || !$_->{time} } @$log), 'who, and when';
    is lc $of{install}{certificate_sha256}, lc $leaf->fingerprint,
        'which certificate';
    my %key = map { ($_->{key_sha256} // 'none') => 1 }
        grep { $_->{command} ne 'dcv add' } @$log;
    is scalar keys %key, 1, 'all with one key';
    my ($all) = map { $_->{log} } Ecert::Command::ecert_json($guide->store,
        'log');
    my %pool = map { uc $_->{certificate_sha256} => $_ }
        grep { $_->{command} =~ /^issuers/ } @$all;
    my ($sub, $old) = map { $pool{ $_->fingerprint } // {} }
        $guide->pki->sub, $guide->pki->sub_old;
    is $sub->{command}, 'issuers add', 'that the Sub CA came';
    is $sub->{file}, undef, 'not out of which of several files';
    is $old->{command}, 'issuers aside', 'and that the old one went';
}
