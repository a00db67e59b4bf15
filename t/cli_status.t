#!/usr/bin/perl

# `ecert status`: with no server, with one, with nginx and Apache on one store
# at once; as text and as JSON (docs/status.md).

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();

use Ecert::Client;
use Ecert::Command;
use Ecert::PKI;
use Ecert::Server;
use Ecert::Store;
use Ecert::Test;

my $unicode = 'www.我的服务器.com';
my ($site, $idn) = ('www.example.hk', 'www.xn--zfru1g2vn33etpw.com');
my $pki = Ecert::PKI->new;
my %leaf = map { $_ => $pki->leaf(names => [$_]) } $site, $idn;
my $first = $leaf{$site};
my $store = Ecert::Store->new->add_issuers($pki->root, $pki->sub, $pki->cross);
$store->install($_, $leaf{$_}) for keys %leaf;
$store->put_token($site, 'fileauth.txt', 'code');
$ENV{ECERT_STORE} = $store->dir;

my @servers = map { Ecert::Server->new($_, store => $store, vhosts => [
    { names => [$site, 'example.hk'], ecert => 'on' },
    { names => [$idn], ecert => $unicode },
]) } servers();

subtest 'no server' => \&no_server;
subtest 'servers' => sub { with_servers($_->start) for @servers };
subtest 'all on one store' => \&all_at_once;
subtest 'a bad change' => \&bad_change;
subtest 'afterwards' => sub {
    ok $_->stop, "$_->{kind} stops" for @servers;
    no_server();
};
subtest 'progress: the way of a request' => \&way;
subtest 'progress: two requests' => \&way_of_two;
subtest 'progress: what is served' => \&way_of_served;
subtest 'progress: what is not' => \&way_of_unserved;
subtest 'progress: all sites' => \&all_sites;
done_testing;

sub status (@args) { return run(build_dir() . '/ecert', 'status', @args) }

# Dies when it is no JSON.
sub json (@args) {
    my ($status, $out) = status('--json', @args);
    return ($status, JSON::PP->new->utf8->decode($out));
}

sub site_of ($report, $name) {
    my ($found) = grep { $_->{vhosts}[0] eq $name } @{ $report->{sites} };
    return $found;
}

sub no_server {
    my ($status, $out) = status();
    is $status, 1, 'what is installed is not served';
    like $out, qr/^store \Q$store->{dir}\E; no server /, 'no server';
    like $out, qr/^  \Q$site\E\n    valid /m, 'the site';
    my (undef, $top) = json();
    is "$top->{schema} $top->{version}", 'ecert-status 1', 'the schema';
    is scalar @{ $top->{servers} }, 1, 'one report';
    is $top->{servers}[0]{server}, undef, 'of no server';
    is_deeply [sort map { $_->{site} } @{ $top->{servers}[0]{sites} }],
        [sort $site, $idn], 'with the sites of the store';
    is +(status('none.example.hk'))[0], 1, 'a site that is not there';
}

sub report_of ($top, $server) {
    my %agent = map { $_ => 1 } $server->agents;
    my ($report) = grep { $agent{ $_->{agent} } } @{ $top->{servers} };
    return $report;
}

sub with_servers ($server) {
    my ($code, $top) = json();
    my $report = report_of($top, $server);
    is $code, 0, "$server->{kind}: all in order";
    is "$_->{schema} $_->{version}", 'ecert-status 1', 'the schema'
        for $top, $report;
    like $report->{server}, qr/^\Q$server->{kind}\E\/\d/i, 'its name';
    is $report->{store}, $store->dir, 'its store';
    is $report->{watching}, 'events', 'how it watches';

    my $one = site_of($report, $site);
    is_deeply +{ map { $_ => $one->{$_} }
        qw(site state fallback generation uncovered complete error) },
        { site => $site, state => 'valid', fallback => JSON::PP::false,
        generation => 1, uncovered => ['example.hk'],
        complete => JSON::PP::true, error => undef }, 'the site';
    like $one->{where}, qr/^\Q$server->{dir}\E\S+:\d+$/, 'its directive';
    is_deeply $one->{vhosts}, [$site, 'example.hk'], 'its names';
    is $one->{leaf}{sha256}, $leaf{$site}->fingerprint, 'its leaf';
    is $one->{leaf}{key}, 'EC P-256', 'and key';
    is_deeply [map { "$_->{role} $_->{sha256}" } @{ $one->{chain} }],
        ['sub-ca ' . $pki->sub->fingerprint,
        'cross-certificate ' . $pki->cross->fingerprint], 'its chain';
    is $one->{considered}[0]{why}, 'leaf', 'what was considered';
    my ($token) = grep { $_->{host} eq $site } @{ $report->{validation_files} };
    is "$token->{file} $token->{bytes}", 'fileauth.txt 4', 'validation file';
    generations($server);
}

# Which record each worker used last, before and after a swap.
sub generations ($server) {
    handshake($server->port, name => $site) for 1 .. 4;
    my $before = workers_use($server);
    my $next = $leaf{$site} = $pki->leaf(names => [$site]);
    $store->install($site, $next);
    ok wait_for(sub { ((served($server->port, $site))[0] // '')
        eq $next->fingerprint }), 'a swap';

    my $one = site_of(report_of((json())[1], $server), $site);
    cmp_ok $one->{published}, '>', $before, 'is a new record';
    is $one->{leaf}{sha256}, $next->fingerprint, 'with the new leaf';
    is workers_use($server), $one->{published}, 'which workers use';
    $store->current($site, 1);
    $leaf{$site} = $first;
    wait_for(sub { ((served($server->port, $site))[0] // '')
        eq $first->fingerprint });
}

sub workers_use ($server) {
    my $one = site_of(report_of((json())[1], $server), $site);
    is_deeply [sort map { $_->{pid} } @{ $one->{workers} }],
        [sort $server->workers], 'the workers';
    ok !(grep { $_->{serves} > $one->{published} } @{ $one->{workers} }),
        'none is ahead';
    my ($latest) = sort { $b <=> $a } map { $_->{serves} }
        @{ $one->{workers} };
    return $latest;
}

sub all_at_once {
    my ($code, $out) = status();
    is $code, 0, 'all in order';
    for my $server (@servers) {
        my $name = $server->{kind};
        like $out, qr/^\Q$name\E\/\S+, agent \d+, store \Q$store->{dir}\E, /mi,
            "$name is shown";
    }
    my (undef, $top) = json();
    is scalar @{ $top->{servers} }, scalar @servers, 'as JSON, each once';

    for my $name ($unicode, $idn, uc $idn, "$idn.") {
        my ($code, $out) = status($name);
        is $code, 0, "status $name";
        is scalar(() = $out =~ /^  \Q$unicode\E \(/mg), scalar @servers,
            'that site, of each server';
        unlike $out, qr/^  \Q$site\E/m, 'alone';
    }
    like +(status('example.hk'))[1], qr/^  \Q$site\E \(/m,
        'a name of its virtual host';
    my ($none, $said) = status('none.example.hk');
    like "$none $said", qr/^1 ecert: no-site: none\.example\.hk: /,
        'a name that nobody has';
    like +(status('--explain', $site))[1], qr/^      taken +\S/m, '--explain';
}

sub bad_change {
    $store->install($site, $pki->leaf(names => ['other.example.hk']));
    my $server = $servers[0];
    ok wait_for(sub { (status($site))[0] == 1 }), 'it fails now';
    ok wait_for(sub { !grep { !site_of($_, $site)->{error} }
        @{ (json($site))[1]->{servers} } }), 'each server has an error';
    my $one = site_of(report_of((json($site))[1], $server), $site);
    is "$one->{state} $one->{error}{reason}", 'valid names',
        'the certificate is still the old, valid one';
    like $one->{error}{line}, qr/^names: \S+: .*; install the certificate/,
        'in the words of the log';
    like +(status($site))[1], qr/^    error +names: /m, 'as text';
    is +(status($idn))[0], 0, 'the other site is in order';

    $store->current($site, 1);
    ok wait_for(sub { (status($site))[0] == 0 }), 'mended: the error is gone';
}

sub progress ($store, $name = $site) {
    return ecert_json($store, 'status', $name)->{progress}[0];
}

# The next step, and the steps as words: "+" done, "-" not, "o" optional.
sub next_is ($store, $word, $text, $steps, $name = $site) {
    my $one = progress($store, $name);
    is $one->{next}{step}, $word, "next: $word";
    like $one->{next}{text} . "\n" . ($one->{next}{command} // ''), $text,
        'in plain words';
    is join(' ', map { ($_->{done} ? '+' : $_->{optional} ? 'o' : '-')
        . $_->{step} } @{ $one->{steps} }), $steps, 'the steps';
    my ($code, $out) = ecert($store, 'status', $name);
    my $command = $one->{next}{command};
    like $out, $command ? qr/^  next: .*^ *\Q$command\E$/ms : qr/^  next: /m,
        'as text';
}

sub way {
    my $dir = tmp();
    my @password = ('--password-file', password_file());
    my $store = Ecert::Store->new;
    $store->describe($site, '{}');
    next_is($store, 'new', qr/^Make a key.*\necert new \Q$site\E$/s, '');

    ecert($store, 'new', $site, '--key', 'ec:P-256');
    my $end = ' -csr-submitted -certificate-received';
    next_is($store, 'back-up-key',
        qr/\necert backup \Q$site\E --pending -o \Q$site\E-key\.pfx$/,
        "+key-made -key-backed-up ovalidation-file-up$end");

    ecert($store, 'backup', $site, '--pending', '-o', "$dir/k.pfx", @password);
    next_is($store, 'csr-to-submit', qr/portal .*Website Change, .*\necert csr/,
        "+key-made +key-backed-up ovalidation-file-up$end");

    my $token = $store->put("$dir/fileauth.txt", 'code', 0644);
    ecert($store, 'dcv', 'add', $site, $token);
    next_is($store, 'csr-to-submit',
        qr/press Confirm \(ecert dcv check \Q$site\E .*\necert csr \Q$site\E$/,
        "+key-made +key-backed-up +validation-file-up$end");

    my $csr = csr_of($store, $site);
    my $made = '+key-made +key-backed-up +validation-file-up +csr-submitted';
    next_is($store, 'certificate-awaited', qr/press Accept.*install \Q$site\E/s,
        "$made -certificate-received");

    my $cert = signed($pki, $csr);
    ecert($store, 'install', $site, $cert->file("$dir/way.pem"));
    next_is($store, 'issuers', qr/missing Sub CA .*\necert issuers add FILE$/,
        '+installed -chain-complete -served -certificate-backed-up orenewal');

    ecert($store, 'issuers', 'add', $pki->sub->file("$dir/sub.pem",
        $pki->cross));
    next_is($store, 'back-up', qr/\necert backup \Q$site\E -o \Q$site\E\.pfx$/,
        '+installed +chain-complete -served -certificate-backed-up orenewal');

    ecert($store, 'backup', $site, '-o', "$dir/c.pfx", @password);
    next_is($store, 'configure',
        qr/Start it; .*put `ecert \Q$site\E;` .*`ECert \Q$site/,
        '+installed +chain-complete -served +certificate-backed-up orenewal');

    my $wild = '*.example.hk';
    ecert($store, 'new', $wild, '--key', 'ec:P-256');
    ecert($store, 'backup', $wild, '--pending', '-o', "$dir/w.pfx", @password);
    next_is($store, 'csr-to-submit', qr/DNS Change \(ecert dcv dns '\*\.exa/,
        "+key-made +key-backed-up$end", $wild);
}

# Two requests were made, and the second one's certificate came.
sub way_of_two {
    my $dir = tmp();
    my $store = Ecert::Store->new->add_issuers($pki->cross);
    my $came = sub ($file) {
        ecert($store, 'backup', $site, '--pending', '-o', "$dir/$file.pfx",
            '--password-file', password_file());
        my $cert = signed($pki, csr_of($store, $site));
        sleep 1;    # times are told in seconds
        ecert($store, 'install', $site, $cert->file("$dir/$file.pem"));
        sleep 1;
    };
    my $wild = '*.example.hk';
    ecert($store, 'new', $_, '--key', 'ec:P-256') for $site, $site, $wild;
    my $begun = '-csr-submitted -certificate-received';
    next_is($store, 'back-up-key', qr/ -o \Q$site\E-key-2\.pfx$/,
        "+key-made -key-backed-up ovalidation-file-up $begun oother-request");
    next_is($store, 'back-up-key', qr/ -o wildcard\.example\.hk-key\.pfx$/,
        "+key-made -key-backed-up $begun", $wild);
    like +(ecert($store, 'status', $site))[1],
        qr/^   -  earlier request +1, EC P-256, made \S+, never handed out$/m,
        'the first one is named';

    $came->('two');
    my $rest = '-served -certificate-backed-up oother-request orenewal';
    next_is($store, 'issuers', qr/missing Sub CA/,
        "+installed -chain-complete $rest");
    ecert($store, 'new', $site, '--key', 'ec:P-256');
    is progress($store)->{next}{step}, 'issuers',
        'what visitors meet comes before a new request';
    ecert($store, 'issuers', 'add', $pki->sub->file("$dir/sub.pem"));
    is progress($store)->{next}{command},
        "ecert backup $site --pending -o $site-key-3.pfx", 'then the request';

    $came->('three');
    next_is($store, 'back-up', qr/ -o \Q$site\E-3\.pfx$/,
        "+installed +chain-complete $rest");
}

# The server's virtual host has one name more than the site.
sub way_of_served {
    my @names = ($site, 'example.hk');
    my @password = ('--password-file', password_file());
    my $store = Ecert::Store->new->add_issuers($pki->sub, $pki->cross);
    my ($kind) = servers();
    my $server = Ecert::Server->new($kind, store => $store, vhosts => [
        { names => \@names, ecert => 'on' } ])->start;
    $store->install($site, $pki->leaf(names => \@names));
    ecert($store, 'backup', $site, '-o', tmp() . '/s.pfx', @password);
    my $rest = '+installed +chain-complete';
    ok wait_for(sub { progress($store)->{next}{step} eq 'renew-later' }),
        'it is served';
    next_is($store, 'renew-later', qr/^Nothing to do now\.  Renew from \S+ on: /,
        "$rest +served +certificate-backed-up orenewal");

    $store->install($site, $pki->leaf(names => [$site]));
    ok wait_for(sub { (ecert($store, 'status', $site))[0] == 1 }), 'refused';
    next_is($store, 'served', qr/\necert status --explain \Q$site\E$/,
        "$rest -served -certificate-backed-up orenewal");

    $store->install($site, $pki->leaf(names => ['other.hk']));
    next_is($store, 'mend', qr/refuse the current .*: names: .*\necert check /,
        '-installed -served -certificate-backed-up orenewal');

    my %old = (names => \@names, not_before => time - 180 * 86400);
    my $due = $pki->leaf(%old, not_after => time + 10 * 86400);
    $store->install($site, $due);
    ok wait_for(sub { ((served($server->port, $site))[0] // '')
        eq $due->fingerprint }), 'one that is due is served';
    next_is($store, 'renewal-due', qr/^The certificate ends on .*\necert new /,
        "$rest +served -certificate-backed-up -renewal");

    $store->install($site, $pki->leaf(%old, not_after => time - 86400));
    my $expired = '-installed -served -certificate-backed-up';
    next_is($store, 'renewal-due', qr/^The certificate has expired on /,
        "$expired -renewal");

    ecert($store, 'new', $site, '--key', 'ec:P-256');
    next_is($store, 'back-up-key', qr/\necert backup \Q$site\E --pending/,
        "$expired +key-made -key-backed-up "
        . 'ovalidation-file-up -csr-submitted -certificate-received -renewal');
    $server->stop;
}

# A certificate for later, a site that no server has, and a server that has its
# issuers from elsewhere.
sub way_of_unserved {
    my $store = Ecert::Store->new->add_issuers($pki->sub, $pki->cross);
    my ($kind) = servers();
    $store->install($site, $pki->leaf(names => [$site]));
    my $server = Ecert::Server->new($kind, store => $store, vhosts => [
        { names => [$site], ecert => 'on' } ])->start;
    is +(ecert($store, 'status'))[0], 0, 'all in order';

    $store->install($site, $pki->leaf(names => [$site],
        not_before => time + 86400));
    next_is($store, 'valid-later', qr/goes live by itself/,
        '+installed -served -certificate-backed-up orenewal');
    ok wait_for(sub { (ecert($store, 'status', $site))[1] =~ /not-yet-valid/ }),
        'the server has seen it';
    is +(ecert($store, 'status'))[0], 0, 'it is no fault that it waits';

    $store->install('other.hk', $pki->leaf(names => ['other.hk']));
    is +(ecert($store, 'status'))[0], 1, 'a certificate that nobody serves';
    $server->stop;

    my $alone = Ecert::Store->new;
    $alone->install($site, $pki->leaf(names => [$site]));
    next_is($alone, 'issuers', qr/missing Sub CA/,
        '+installed -chain-complete -served -certificate-backed-up orenewal');
    $server = Ecert::Server->new($kind, store => $alone, vhosts => [
        { names => [$site], ecert => 'on', directives => {
            ecert_issuers => $store->dir . '/issuers' } } ])->start;
    next_is($alone, 'back-up', qr/ecert backup/,
        '+installed +chain-complete +served -certificate-backed-up orenewal');
    $server->stop;
}

sub all_sites {
    my $store = Ecert::Store->new;
    ecert($store, 'new', $_, '--key', 'ec:P-256') for $site, $unicode;
    my ($code, $out) = ecert($store, 'status');
    like $out, qr/^progress\n  \Q$site\E\s+back-up-key: ecert backup \Q$site/m,
        'a line for each';
    like $out, qr/^  \Q$idn\E\s+back-up-key: ecert backup \Q$unicode\E /m,
        'with the name as people know it';
    my $list = ecert_json($store, 'status')->{progress};
    is_deeply [sort map { $_->{site} } @$list], [sort $site, $idn], 'as JSON';
}
