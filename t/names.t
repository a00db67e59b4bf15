#!/usr/bin/perl

# Names of sites in every spelling, wildcards, and certificates that do not
# cover what they should, or have very many names.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Client;
use Ecert::PKI;
use Ecert::Server;
use Ecert::Store;
use Ecert::Test;

my $unicode = 'www.我的服务器.com';
my $alabel = 'www.xn--zfru1g2vn33etpw.com';
my $ecert = build_dir() . '/ecert';
my $pki = Ecert::PKI->new;

# [what `ecert` says, folder in the store, name that a client asks for]
my @spellings = (
    [$unicode, $alabel, 'a1.example.hk'],
    [$alabel, $alabel, 'a2.example.hk'],
    [uc $alabel, $alabel, 'a3.example.hk'],
    ["$alabel.", $alabel, 'a4.example.hk'],
    ["$unicode.", $alabel, 'a5.example.hk'],
    ['www.我的服务器.hk', 'www.我的服务器.hk', 'b1.example.hk'],
    ['www.xn--zfru1g2vn33etpw.hk', 'www.我的服务器.hk', 'b2.example.hk'],
    ['upper.example.hk', 'Upper.Example.HK', 'c1.example.hk'],
    ['UPPER.example.hk.', 'Upper.Example.HK', 'c2.example.hk'],
    ['*.d.example.hk', '_.d.example.hk', 'x.d.example.hk'],
    ['*.E.example.hk', '*.e.example.hk', 'y.e.example.hk'],
    ['on', 'on.example.hk', 'on.example.hk'],
);
my %names = (
    $alabel => [$alabel, map { "a$_.example.hk" } 1 .. 5],
    'www.我的服务器.hk' =>
        ['www.xn--zfru1g2vn33etpw.hk', 'b1.example.hk', 'b2.example.hk'],
    'Upper.Example.HK' =>
        ['upper.example.hk', 'c1.example.hk', 'c2.example.hk'],
    '_.d.example.hk' => ['*.d.example.hk'],
    '*.e.example.hk' => ['*.e.example.hk'],
    'on.example.hk' => ['on.example.hk'],
);
my %leaf = map { $_ => $pki->leaf(names => $names{$_}) } keys %names;

for my $kind (servers()) {
    subtest "$kind, spellings" => sub { spellings($kind) };
    subtest "$kind, not covered" => sub { not_covered($kind) };
    subtest "$kind, addresses" => sub { addresses($kind) };
    subtest "$kind, \$hostname" => sub { own_hostname() } if $kind eq 'nginx';
    subtest "$kind, many names" => sub { many_names($kind) };
}
done_testing;

sub new_store (%leaves) {
    my $store = Ecert::Store->new->add_issuers($pki->sub, $pki->cross);
    for my $folder (keys %leaves) {
        # Store.pm writes "*." as "_.", so this folder is renamed.
        my $plain = $folder =~ s/^\*\./star./r;
        $store->install($plain, $leaves{$folder});
        rename $store->site_dir($plain), $store->dir . "/sites/$folder"
            if $plain ne $folder;
    }
    return $store;
}

sub spellings ($kind) {
    my $server = Ecert::Server->new($kind, store => new_store(%leaf),
        vhosts => [map { +{ names => [$_->[2]], ecert => $_->[0] } }
            @spellings])->start;

    for (@spellings) {
        my ($said, $folder, $asked) = @$_;
        is +(served($server->port, $asked))[0], $leaf{$folder}->fingerprint,
            "ecert $said, folder $folder";
    }
    unlike $server->log, qr/ not covered /, 'each certificate covers its name';

    my $next = $pki->leaf(names => $names{'*.e.example.hk'});
    $server->{store}->install("./*.e.example.hk", $next);
    ok wait_for(sub { (served($server->port, 'y.e.example.hk'))[0]
        eq $next->fingerprint }), 'a swap in a folder of another spelling';
}

sub not_covered ($kind) {
    my $store = new_store(
        'www.example.hk' => $pki->leaf(names => ['www.example.hk']),
        'refused.example.hk' => $pki->leaf(names => ['wrong.example.hk']));
    my $server = Ecert::Server->new($kind, store => $store, vhosts => [
        { names => ['www.example.hk', 'shop.example.hk'], ecert => 'on' },
        { names => ['refused.example.hk'], ecert => 'on' },
    ])->start;

    my $line = $server->wait_log(qr/shop\.example\.hk is not covered/);
    like $line, qr/warn.* site www\.example\.hk: names: \S+certificate\.pem: /,
        'a virtual host name that is not in the certificate: a warning';
    is +(served($server->port, 'shop.example.hk'))[0],
        (served($server->port, 'www.example.hk'))[0], 'it is served all the same';
    my ($status, $out) = run($ecert, 'status', '--store', $store->dir);
    like $out, qr/^\s+not covered\s+shop\.example\.hk: /m, 'ecert status, too';
    like +($server->configtest)[1], qr/shop\.example\.hk is not covered/,
        'and configtest';

    like $server->wait_log(qr/site refused\.example\.hk: names: /) || '',
        qr/certificate\.pem: .*refused\.example\.hk is not in it/,
        'a site whose certificate is of another name: refused';
    ok +(handshake($server->port, name => 'refused.example.hk'))
        ->{certs}[0]->is_self_signed, 'the placeholder stays';
    my $right = $pki->leaf(names => ['refused.example.hk']);
    $store->install('refused.example.hk', $right);
    ok wait_for(sub { (served($server->port, 'refused.example.hk'))[0]
        eq $right->fingerprint }), 'until the right one comes';
}

# The site's name is the first one that a certificate can have.
sub addresses ($kind) {
    my $leaf = $pki->leaf(names => ['www.example.hk']);
    my $server = Ecert::Server->new($kind, vhosts => [{ ecert => 'on',
        names => $kind eq 'nginx'
            ? ['127.0.0.1', '[::1]', '192.0.2.1', 'www.example.hk']
            : ['www.example.hk', '127.0.0.1', '::1'],
        }], store => new_store('www.example.hk' => $leaf))->start;

    is +(served($server->port, 'www.example.hk'))[0], $leaf->fingerprint,
        'beside addresses: the site is the host name';
    unlike $server->log, qr/not covered|not a host name/,
        'and nobody misses the addresses in its certificate';
}

# Of one that fills its memory to the last byte, too.
sub own_hostname () {
    plan skip_all => 'needs root, to have another host name' if $> != 0;
    for my $name ('abcdefgh', 'abcdefghijklmnop', 'web1', 'a.example.hk') {
        my $server = Ecert::Server->new('nginx', store => new_store(),
            vhosts => [{ names => [], ecert => 'on' }]);
        my $conf = $server->dir . '/nginx.conf';
        $server->write('nginx.conf',
            slurp($conf) =~ s/server_name \K""/\$hostname/r);
        local $ENV{LD_PRELOAD} = $ENV{ECERT_TEST_PRELOAD} // '';
        my ($status, $out) = run('unshare', '-u', 'sh', '-c',
            "hostname $name; exec \"\$@\"", 'sh', $server->command('-t'));
        like $out, qr/site \Q$name\E: no-site: /, "it is called $name";
    }
}

sub many_names ($kind) {
    my %many = map { my $n = $_; $n => ['www.example.hk',
        map { sprintf 'a-rather-long-name-%05d.example.hk', $_ } 2 .. $n] }
        50, 100, 2000;
    my $store = new_store(
        'www.example.hk' => my $fifty = $pki->leaf(names => $many{50}));
    my $server = Ecert::Server->new($kind, store => $store, vhosts => [
        { names => $many{50}, ecert => 'on' } ])->start;

    for my $name (@{ $many{50} }[0, 1, 24, 49]) {
        is +(served($server->port, $name))[0], $fifty->fingerprint,
            "50 names: $name";
    }
    my ($hundred, @chain) = long_chain($many{100});
    $store->install('www.example.hk', $hundred, chain => \@chain);
    ok wait_for(sub { (served($server->port, 'www.example.hk'))[0]
        eq $hundred->fingerprint }), '100 names, RSA-4096, five behind it';
    is_deeply [served($server->port, 'www.example.hk')],
        [map { $_->fingerprint } $hundred, @chain[0 .. 4]], 'the whole chain';

    my $huge = $pki->leaf(names => $many{2000});
    $server->mark;
    $store->install('www.example.hk', $huge);
    my $line = $server->wait_log(qr/site www\.example\.hk: too-large: /);
    like $line, qr/\b\d{5,} bytes\b.*\b\d{5,}\b/,
        'one that is too large is refused, with its size and the limit';
    is +(served($server->port, 'www.example.hk'))[0], $hundred->fingerprint,
        'and the one before stays';
}

# A leaf, five CA certificates and their root, all with RSA-4096.
sub long_chain ($names) {
    state @all;
    return @all if @all;
    my $key = $pki->key('RSA-4096');
    my $above;
    for my $n (reverse 1 .. 6) {
        $above = $pki->issue(subject => [[CN => "Long chain CA $n"]], ca => 1,
            key => $key, issuer => $above, digest => 'sha512',
            not_before => time - 86400, not_after => time + 300 * 86400);
        unshift @all, $above;
    }
    unshift @all, $pki->leaf(names => $names, issuer => $above,
        key => 'RSA-4096');
    return @all;
}
