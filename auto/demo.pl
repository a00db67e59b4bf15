# The story of auto/demo, told twice: by nginx and by Apache.

use v5.36;

use Time::HiRes ();

use Ecert::Client;
use Ecert::DCV ();
use Ecert::Load;
use Ecert::PKI;
use Ecert::Process;
use Ecert::Server;
use Ecert::Store;
use Ecert::Test;

my $site = 'www.example.hk';
my $ev_site = 'secure.example.hk';
my $code = '7d1f9c20-validation-code';
my $file = "$Ecert::DCV::prefix/fileauth.txt";
my $renewals = 12;

my $failed = 0;
my ($pki, $store, $server, @workers);

step('look-alike PKI', sub {
    $pki = Ecert::PKI->new;
    $pki->$_->file(tmp() . "/$_.pem") for qw(root cross_root);
    need($pki->sub->subject eq $pki->sub_old->subject
        && Net::SSLeay::X509_pubkey_digest($pki->sub->x509, sha256())
            eq Net::SSLeay::X509_pubkey_digest($pki->sub_old->x509, sha256()),
        'the Sub CAs are no twins');
    return 'root, Sub CA old and new (one name, one key), EV twin,'
        . ' cross-certificate by a second root';
});

for my $kind (servers()) {
    story($kind);
    if ($failed) {
        my @lines = split /\n/, $server->log(0);
        say "    $_" for @lines > 10 ? @lines[-10 .. -1] : @lines;
        last;
    }
}
exit($failed ? 1 : 0);

sub story ($kind) {
    $store = Ecert::Store->new->add_issuers(
        map { $pki->$_ } qw(sub ev cross));
    $server = Ecert::Server->new($kind, store => $store, vhosts => [
        { names => [$site], ecert => 'on' },
        { names => [$ev_site], ecert => 'on' },
        { names => [$site], listen => 'http',
            nginx => "return 301 https://$site\$request_uri;",
            apache => "Redirect permanent / https://$site/" },
    ]);
    say $server->version;
    step('starts without any certificate', \&starts);
    return if $failed;
    step('validation file', \&validates);
    step('the certificate arrives', \&arrives);
    step('an EV certificate arrives', \&ev_arrives);
    step("openssl verifies it, knowing $_->[0] only",
        sub { openssl_verifies($_->[1]) })
        for ['the root', 'root'], ['the cross-root', 'cross_root'];
    step("curl verifies it, knowing $_->[0] only",
        sub { curl_verifies($_->[1]) })
        for ['the root', 'root'], ['the cross-root', 'cross_root'];
    step('old Sub CA dropped in', \&old_sub_ca);
    step("$renewals renewals under load", \&renewals);
    step('half a file', sub { refuses('truncated', sub ($new) {
        return $new, pem => substr $new->pem, 0, 400 }) });
    step('the key of another certificate', sub { refuses('key-mismatch',
        sub ($new) { return $new, key => $pki->leaf }) });
    step('put right', \&put_right);
    step('stops', sub {
        need($server->stop, 'an agent stayed behind');
        return 'no process left';
    });
}

# --- the steps; each returns its evidence, or dies

sub starts {
    $server->start;
    @workers = sort $server->workers;
    my $answer = handshake($server->port, name => $site);
    need($answer->{ok}, $answer->{error});
    need($answer->{certs}[0]->is_self_signed, 'no placeholder');

    my ($uid) = Ecert::Process::uids($workers[0]);
    need($uid != 0, 'the workers are root') if $> == 0;
    return 'https answers with a placeholder; workers '
        . "@workers run as " . getpwuid($uid) . ", the agent as "
        . getpwuid((Ecert::Process::uids(($server->agents)[0]))[0]);
}

sub validates {
    $store->put_token($site, 'fileauth.txt', $code);
    my $http = $server->port('http');
    my $took = took(sub { get($http, $site, $file)->{body} eq $code })
        // die "not answered\n";
    my $other = get($http, $site, '/');
    need($other->{status} == 301, "status $other->{status} for /");
    return sprintf 'answered 200 after %.0f ms by a vhost that redirects'
        . ' all else (301)', 1000 * $took;
}

sub arrives {
    my $leaf = $pki->leaf(names => [$site]);
    my $took = installed($site, $leaf);
    need("@{[sort $server->workers]}" eq "@workers", 'new workers');
    return sprintf 'served after %.0f ms, no reload, same workers: %s',
        1000 * $took, chain_words($site);
}

sub ev_arrives {
    installed($ev_site, $pki->leaf(names => [$ev_site], issuer => $pki->ev,
        key => 'RSA-2048'));
    return chain_words($ev_site);
}

sub openssl_verifies ($root) {
    my ($status, $out) = run('openssl', 's_client', '-brief',
        '-connect', '127.0.0.1:' . $server->port, '-servername', $site,
        '-verify_hostname', $site, '-verify_return_error', '-no-CApath',
        '-no-CAstore', '-CAfile', tmp() . "/$root.pem");
    my ($said) = $out =~ /^(Verification: .*)/m;
    need($status == 0 && $said && $said =~ /OK/, $out);
    return $said;
}

sub curl_verifies ($root) {
    my ($status, $out) = run('curl', '-sS', '--cacert',
        tmp() . "/$root.pem", '--resolve', "$site:" . $server->port
        . ':127.0.0.1', '-w', '%{http_code} %{ssl_verify_result}', '-o',
        '/dev/null', "https://$site:" . $server->port . '/');
    need($out =~ /^200 0$/, $out);
    return '200, verify result 0';
}

sub old_sub_ca {
    $store->add_issuers($pki->sub_old, $pki->ev_old);
    # The next certificate is put together with the old ones at hand.
    installed($site, $pki->leaf(names => [$site]));
    my $leaf = tmp() . '/leaf.pem';
    $pki->leaf(names => [$site])->file($leaf);
    my (undef, $why) = run($server->agent, 'chain', '--explain', '--issuers',
        $store->dir . '/issuers', $leaf);
    my $old = substr $pki->sub_old->fingerprint, 0, 16;
    my ($word) = $why =~ /^(\S+)\s+$old\b/m;
    need($word && $word ne 'taken', "no reason given:\n$why");
    return "left unserved: $word";
}

sub renewals {
    my $load = Ecert::Load->new($server->port, name => $site);
    my %expected = (join(',', served($server->port, $site)) => 1);
    my $slowest = 0;
    for my $n (1 .. $renewals) {
        my $leaf = $pki->leaf(names => [$site],
            key => $n % 3 ? 'P-256' : 'RSA-2048');
        $expected{ join ',', fingerprints($leaf) } = 1;
        my $took = installed($site, $leaf);
        $slowest = $took if $took > $slowest;
    }
    my $report = $load->stop;
    need(!$report->{failed}, join '; ', @{ $report->{failures} });
    need($expected{$_}, "unexpected chain $_")
        for keys %{ $report->{certificates} };
    need("@{[sort $server->workers]}" eq "@workers", 'new workers');
    return sprintf '%d handshakes (%d resumed), %d requests, 0 failed;'
        . ' slowest renewal %.0f ms', $report->{handshakes},
        $report->{resumed}, $report->{requests}, 1000 * $slowest;
}

# A bad generation: refused with its reason word, the old one stays.
sub refuses ($word, $make) {
    my @before = served($server->port, $site);
    $server->mark;
    $store->install($site, $make->($pki->leaf(names => [$site])));
    my $line = $server->wait_log(qr/site \Q$site\E: $word: /)
        || die "no error line\n";
    need("@{[served($server->port, $site)]}" eq "@before",
        'something else is served');
    my $dir = $store->dir;
    $line =~ s{^.*?site \Q$site\E: }{};
    $line =~ s{\Q$dir\E/}{}g;
    $line =~ s{sites/\Q$site\E/}{}g;
    $line =~ s{ \(.*\)}{};
    return "refused, the last one stays: \"$line\"";
}

sub put_right {
    return sprintf 'served after %.0f ms',
        1000 * installed($site, $pki->leaf(names => [$site]));
}

# --- helpers

# Installs it and waits; seconds until it was served with its chain.
sub installed ($name, $leaf) {
    my $expected = join ',', fingerprints($leaf);
    $store->install($name, $leaf);
    return took(sub {
        $expected eq join ',', served($server->port, $name)
    }, 40) // die "not served\n";
}

sub fingerprints ($leaf) {
    return map { $_->fingerprint } $leaf, $leaf->issued_by, $pki->cross;
}

sub chain_words ($name) {
    my $answer = handshake($server->port, name => $name);
    return join ' > ', map { $_->cn =~ s/^Hongkong Post (?:e-Cert )?//r }
        @{ $answer->{certs} };
}

sub sha256 { return Net::SSLeay::EVP_get_digestbyname('sha256') }

sub need ($truth, $otherwise) { $truth or die "$otherwise\n" }

sub step ($name, $do) {
    my $evidence = eval { $do->() };
    my $ok = defined $evidence;
    $failed++ if !$ok;
    $evidence //= ($@ || 'no reason') =~ s/\s+$//r;
    say '  ', $ok ? "\xe2\x9c\x93" : "\xe2\x9c\x97", " $name: $evidence";
}
