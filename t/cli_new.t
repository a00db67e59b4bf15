#!/usr/bin/perl

# `ecert new` and `ecert csr`: what is requested, and what is not.  The request
# is looked at with OpenSSL.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Command;
use Ecert::PKI;
use Ecert::Says;
use Ecert::Store;
use Ecert::Test;

my $site = 'www.example.hk';
my ($unicode, $ascii) = ('www.我的服务器.com', 'www.xn--zfru1g2vn33etpw.com');
utf8::encode(my $unicode_bytes = do { use utf8; 'www.我的服务器.com' });
my @quick = ('--key', 'ec:P-256');

subtest 'subjects' => \&subjects;
subtest 'keys' => \&kinds_of_keys;
subtest 'a Chinese domain name' => \&idn;
subtest 'a wildcard' => \&wildcard;
subtest 'many names' => \&many_names;
subtest 'what is refused' => \&refused;
subtest 'the backup comes first' => \&backup_first;
subtest 'several wait' => \&several;
subtest 'a renewal' => \&renewal;
subtest 'the catalogue of the site' => \&other_catalogue;
done_testing;

# The request of a site that was made with these options, as text.
sub made (@args) {
    my $store = Ecert::Store->new;
    my ($status, $out) = ecert($store, 'new', @args);
    return "ecert new @args: $out" if $status != 0;
    my ($name) = grep { !/^-/ } @args;
    return request_text(csr_of($store, $name, '--no-backup'));
}

sub subjects {
    my $hk = 'C=PRINTABLESTRING:HK, ST=UTF8STRING:Hong Kong, '
        . 'L=UTF8STRING:Hong Kong';
    my @table = (
        [[], "$hk, CN=UTF8STRING:$site"],
        [['--org', 'Example Limited'],
            "$hk, O=UTF8STRING:Example Limited, CN=UTF8STRING:$site"],
        [['--org', '香港測試有限公司', '--unit', '資訊科技部'],
            "$hk, O=UTF8STRING:香港測試有限公司, OU=UTF8STRING:資訊科技部, "
            . "CN=UTF8STRING:$site"],
        [['--country', 'cn', '--state', '廣東省', '--locality', '深圳'],
            'C=PRINTABLESTRING:CN, ST=UTF8STRING:廣東省, L=UTF8STRING:深圳, '
            . "CN=UTF8STRING:$site"],
        [['--unit', 'IT, "R&D" + more'],
            "$hk, OU=UTF8STRING:IT, \"R&D\" + more, CN=UTF8STRING:$site"],
        [['--org', '港' x 64],
            "$hk, O=UTF8STRING:" . '港' x 64 . ", CN=UTF8STRING:$site"],
    );
    for (@table) {
        my ($args, $subject) = @$_;
        my $text = made($site, @quick, @$args);
        like $text, qr/^\s*Subject: \Q$subject\E$/m, "@$args";
        like $text, qr/self-signature verify OK/i, 'its signature';
        unlike $text, qr/Alternative Name/, 'no names but the one';
    }
    like made(uc $site, @quick), qr/CN=UTF8STRING:\Q$site\E$/m, 'capitals';
    like made("$site.", @quick), qr/CN=UTF8STRING:\Q$site\E$/m, 'a last dot';
}

sub kinds_of_keys {
    my @table = (
        [undef, qr/\(2048 bit\)/, 'sha256WithRSAEncryption'],
        ['rsa:2048', qr/\(2048 bit\)/, 'sha256WithRSAEncryption'],
        ['rsa:3072', qr/\(3072 bit\)/, 'sha256WithRSAEncryption'],
        ['rsa:4096', qr/\(4096 bit\)/, 'sha256WithRSAEncryption'],
        ['ec:P-256', qr/NIST CURVE: P-256/, 'ecdsa-with-SHA256'],
        ['EC:p-384', qr/NIST CURVE: P-384/, 'ecdsa-with-SHA384'],
    );
    for (@table) {
        my ($kind, $key, $signature) = @$_;
        my $text = made($site, $kind ? ('--key', $kind) : ());
        like $text, $key, $kind // 'the default';
        like $text, qr/Signature Algorithm: $signature/, "with $signature";
    }
    my $store = Ecert::Store->new;
    says($store, [['new', $site, @quick], 0,
        qr/^The CA's guide asks for RSA 2048: ask the CA first/m]);
    my @modes = map { sprintf '%o', (stat)[2] & 07777 }
        map { $store->site_dir($site) . "/pending$_" } '', '/1', '/1/key.pem';
    is "@modes", '700 700 600', 'for nobody but root';
}

sub idn {
    my @table = (
        [[$unicode_bytes], $unicode_bytes],
        [[$ascii], $ascii],
        [[$unicode_bytes, '--idn', 'ascii'], $ascii],
        [[$ascii, '--idn', 'unicode'], $unicode_bytes],
        [[$site, '--idn', 'unicode'], $site],
        [["*.$ascii", '--idn', 'unicode'], "*.$unicode_bytes"],
    );
    for (@table) {
        my ($args, $cn) = @$_;
        my $text = made(@$args, @quick);
        like $text, qr/CN=UTF8STRING:\Q$cn\E$/m, "ecert new @$args";
    }
    like made($unicode_bytes, @quick, '--san'), qr/^\s+DNS:\Q$ascii\E$/m,
        'in the list of names it is always the A-label';

    my $store = Ecert::Store->new;
    says($store,
        [['new', $unicode_bytes, @quick], 0,
            qr/^\Q$unicode_bytes\E \(\Q$ascii\E\)$/m],
        [['csr', $ascii, '--no-backup'], 0, qr/REQUEST-----$/m],
        [['csr', 'www.我的服務器.com'], 1, qr/no-site: /]);
}

sub wildcard {
    my $store = Ecert::Store->new;
    says($store,
        [['new', '*.example.hk', @quick], 0,
            qr/ecert backup '\*\.example\.hk' --pending -o wildcard\.example\.hk-key/],
        [['csr', '*.example.hk', '--no-backup'], 0,
            qr/ecert install '\*\.example\.hk' FILE/]);
    ok -d $store->dir . '/sites/_.example.hk', 'its folder';
    like made('*.example.hk', @quick), qr/CN=UTF8STRING:\*\.example\.hk$/m,
        'the name';
    like made('*.example.hk', '--name', 'example.hk', '--san', @quick),
        qr/^\s+DNS:\*\.example\.hk, DNS:example\.hk$/m, 'and the one below it';
}

sub many_names {
    my @names = ($site, map { "host$_.example.hk" } 2 .. 51);
    my @fifty = map { ('--name', $_) } @names[1 .. 49];
    my $store = Ecert::Store->new;

    says($store,
        [['new', $site, @quick, @fifty, '--name', $names[50]], 1,
            qr/^ecert: too-many: \Q$site\E: .*51 names, .* has 50 at most/,
            qr/; share the names out among several sites$/m],
        [['new', $site, @quick, @fifty, '--name', $names[49]], 0,
            qr/^  \[x\] key and request +request 1, EC P-256, 50 names/m]);
    my ($one) = @{ ecert_json($store, 'status', $site)->{progress} };
    is_deeply $one->{requests}[0]{names}, [@names[0 .. 49]],
        'all of them are kept, each once';
    unlike request_text(csr_of($store, $site, '--no-backup')),
        qr/Alternative Name/, 'and are not in the request';
    my $text = made($site, @quick, '--san', @fifty);
    is_deeply [$text =~ /DNS:([^\s,]+)/g], [@names[0 .. 49]],
        'with --san they are';
}

sub refused {
    my $store = Ecert::Store->new;
    my $long = join '.', ('a' x 30) x 3;
    my $big5 = "\xad\xbb\xb4\xe4"; # Hong Kong
    says($store,
        [['new', 'www..example.hk'], 1,
            qr/^ecert: name: .*; write a name such/],
        [['new', '*'], 1, qr/^ecert: name: /],
        [['new', '192.0.2.1'], 1, qr/^ecert: name: /],
        [['new', 'www.*.hk'], 1, qr/^ecert: name: /],
        [['new', $site, '--name', 'a_b.hk/'], 1, qr/^ecert: name: /],
        [['new', $site, '--name', '*.example.hk'], 1,
            qr/^ecert: subject: .*no wildcard: \*\.example\.hk/,
            qr/; make a site of its own for \*\.example\.hk$/m],
        [['new', '*.example.hk', '--name', 'www.other.hk'], 1,
            qr/^ecert: subject: .*no wildcard: \*\.example\.hk/],
        [['new', '*.example.hk', '--name', 'example.hk', '--name', $site], 1,
            qr/^ecert: subject: .*no wildcard/],
        [['new', $long], 1, qr/^ecert: subject: .*common name has 64 at most/],
        [['new', $site, '--org', 'x' x 65], 1,
            qr/^ecert: subject: --org: .*65 signs, 64 are allowed/,
            qr/; correct --org$/m],
        [['new', $site, '--unit', '港' x 65], 1, qr/^ecert: subject: --unit: /],
        [['new', $site, '--state', 'x' x 129], 1, qr/: --state: .*128 are/],
        [['new', $site, '--locality', 'x' x 129], 1, qr/: --locality: .*128/],
        [['new', $site, '--org', $big5], 1, qr/: --org: .*sign 1 is not UTF-8/,
            qr/; write --org in UTF-8, at a terminal that uses UTF-8 /],
        [['new', "www.$big5.hk"], 1, qr/^ecert: name: .*\(it is not UTF-8\); /,
            qr/; write it in UTF-8, at a terminal that uses UTF-8, or as /],
        [['new', $site, '--org', "a\nb"], 1, qr/: --org: .*U\+000A/],
        [['new', $site, '--org', '   '], 1, qr/: --org: .*white space alone/],
        [['new', $site, '--country', 'HKG'], 1, qr/: --country: .*two letters/],
        [['new', $site, '--key', 'rsa:1024'], 1,
            qr/^ecert: key-type: rsa:1024: .*; choose one of rsa:2048, /],
        [['new', $site, '--key', 'dsa'], 1, qr/choose one of rsa:2048, /],
        [['new', $site, '--idn', 'utf8'], 2, qr/write --idn unicode or --idn/],
        [['new', $site, '--subscription-until', '2027-02-30'], 2,
            qr/"2027-02-30" is not a date/],
        [['new', $site, '--subscription-until', '2020-01-01'], 2,
            qr/^ecert: usage: .*until 2020-01-01: this day has passed\); give /],
        [['new'], 2, qr/^ecert new: one NAME is wanted, further ones with/],
        [['new', $site, 'example.hk'], 2, qr/further ones with --name/],
        [['csr', $site], 1, qr/^ecert: no-site: .*ecert new \Q$site\E/]);
    ok !-e $store->site_dir($site), 'and nothing was made';
}

sub backup_first {
    my $store = Ecert::Store->new;
    my $pfx = tmp() . '/first.pfx';
    says($store,
        [['new', $site, @quick], 0, qr/ecert backup \Q$site\E --pending -o/],
        [['csr', $site], 1, qr/^ecert: no-backup: .*\(request 1\); make one: /,
            qr/go without: --no-backup$/m, [qr/BEGIN/]],
        [['backup', $site, '--pending', '-o', $pfx, '--password-file',
            password_file()], 0, qr/^        ecert csr \Q$site\E$/m],
        [['csr', $site], 0, qr/^-----BEGIN CERTIFICATE REQUEST-----$/m],
        [['new', $site, @quick], 0, qr/^1 earlier request of this site still/m],
        [['csr', $site], 1, qr/^ecert: no-backup: .*\(request 2\)/]);
    my ($status, $out, $err) = parts($store, 'csr', $site, '--request', 1);
    like $out, qr/\A-----BEGIN [^-]+-----\n[^-]+-----END [^-]+-----\n\z/,
        'standard output has the request and nothing else';
    like $err, qr/^  next: /m, 'the next step is said beside it';
}

sub several {
    my $store = Ecert::Store->new;
    ecert($store, 'new', $site, @quick, '--org', "Order $_") for 1 .. 3;
    my ($one) = @{ ecert_json($store, 'status', $site)->{progress} };
    is_deeply [map { $_->{request} } @{ $one->{requests} }], [1 .. 3],
        'three wait';
    my %keys = map { $_->{key_sha256} => 1 } @{ $one->{requests} };
    is scalar keys %keys, 3, 'each with a key of its own';
    for my $n (1 .. 3) {
        like request_text(csr_of($store, $site, '--no-backup', '--request',
            $n)), qr/O=UTF8STRING:Order $n,/, "request $n";
    }
    like request_text(csr_of($store, $site, '--no-backup')), qr/Order 3,/,
        'the newest is meant where none is named';
    says($store,
        [['csr', $site, '--no-backup', '--request', 4], 1,
            qr/^ecert: no-request: .*\b4\b/],
        [['csr', $site, '--request', 'x'], 2, qr/"x" is no number/]);

    my $pki = Ecert::PKI->new;
    my $cert = signed($pki, csr_of($store, $site, '--no-backup', '--request',
        2));
    says($store, [['install', $site, $cert->file(tmp() . '/second.crt')], 0,
        qr/installed +generation 2/]);
    ($one) = @{ ecert_json($store, 'status', $site)->{progress} };
    is_deeply [map { $_->{request} } @{ $one->{requests} }], [1, 3],
        'the others go on waiting';
}

# New key, old certificate served, names and subject as before.
sub renewal {
    my $pki = Ecert::PKI->new;
    my $store = Ecert::Store->new->add_issuers($pki->sub, $pki->cross);
    my @names = ($site, 'example.hk');
    my @said = ('--org', '香港測試有限公司', '--unit', 'IT', '--san');
    ecert($store, 'new', $site, '--name', $names[1], @said, @quick);
    my $first = csr_of($store, $site, '--no-backup');
    my $cert = signed($pki, $first, names => \@names);
    is +(ecert($store, 'install', $cert->file(tmp() . '/first.crt')))[0], 0,
        'the first one is installed';

    says($store, [['new', $site], 0, qr/^Made with the names and subject of /m,
        qr/request 2, EC P-256, 2 names/, qr/\[x\] installed +generation 1/]);
    my $second = csr_of($store, $site, '--no-backup');
    my @parts = map { my $text = request_text($_); [$text =~ /(Subject: .*)/,
        $text =~ /(DNS:.*)/] } $first, $second;
    is_deeply $parts[1], $parts[0], 'names and subject are the same';
    isnt +(request_text($second) =~ /pub:\s+(.*?)ASN1/s)[0],
        (request_text($first) =~ /pub:\s+(.*?)ASN1/s)[0], 'the key is not';
    is +(ecert($store, 'check', $site))[0], 0, 'the old one goes on serving';

    says($store, [['new', $site, '--org', 'New Limited', '--unit', '', '--key',
        'ec:P-384'], 0, qr/request 3, EC P-384, 2 names/]);
    like request_text(csr_of($store, $site, '--no-backup')),
        qr/L=UTF8STRING:Hong Kong, O=UTF8STRING:New Limited, CN=/,
        'what is said counts more; an empty word leaves it out';
    says($store, [['new', $site, '--name', 'shop.example.hk'], 0, qr/2 names/]);
    my ($one) = @{ ecert_json($store, 'status', $site)->{progress} };
    is_deeply $one->{requests}[-1]{names}, [$site, 'shop.example.hk'],
        'names that are said take the place of the old ones';

    $store->describe($site, '{"names": [');
    says($store, [['new', $site], 1, qr/^ecert: site-json: \S+site\.json: /]);
}

sub other_catalogue {
    my $store = Ecert::Store->new;
    my $ca = $store->put('ca.json', '{"schema": "ecert-ca", "version": 1, '
        . '"updated": "2026-01-01", "name": "Test", "names_max": 2, '
        . '"entries": [{"id": "r", "role": "root", "name": "R", "sha256": "'
        . '0' x 64 . '"}]}', 0644);
    $store->describe($site, qq({"catalogue": "$ca"}));
    says($store,
        [['new', $site, @quick, map { ('--name', "$_.hk") } qw(aa bb)], 1,
            qr/3 names, .* has 2 at most/],
        [['new', $site, @quick, '--name', 'aa.hk'], 0, qr/2 names/]);
}
