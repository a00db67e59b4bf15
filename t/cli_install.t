#!/usr/bin/perl

# `ecert install`: every form in which a CA or a person hands a certificate
# over, and every reason to refuse it.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Compress::Zip;
use MIME::Base64;

use Ecert::Client;
use Ecert::Command;
use Ecert::PKI;
use Ecert::Says;
use Ecert::Server;
use Ecert::Store;
use Ecert::Test;

my $day = 86400;
my $site = 'www.example.hk';
my $pki = Ecert::PKI->new;
my ($sub, $cross) = ($pki->sub, $pki->cross);
my $password = password_file('geheim');
my $v1_root = $pki->issue(subject => [[CN => 'Old Root']], version => 1,
    not_before => time - $day, not_after => time + $day);
my $n = 0;

subtest 'forms' => \&forms;
subtest 'the key beside it' => \&key_beside;
subtest 'refused' => \&refused;
subtest 'its key' => \&whose_key;
subtest 'issued again' => \&issued_again;
subtest 'the chain' => \&chain;
subtest 'not valid yet' => \&not_yet;
subtest 'rollback' => \&back;
subtest 'twice' => \&twice;
subtest 'NAME or FILE' => \&name_or_file;
subtest 'wrong usage' => \&usage;
subtest "--wait, $_" => \&waits, $_ for servers();
done_testing;

# No rollback to what has expired; what a server may not serve is said.
sub back {
    my $store = Ecert::Store->new->add_issuers($sub, $cross);
    my ($old, $new) = map { $pki->leaf(names => [$site], @$_) }
        [not_before => time - 99 * $day, not_after => time - $day], [];
    $store->install($site, $_) for $old, $new;
    says($store, [['rollback', $site, 1], 1, qr/: expired: .*certificate\.pem/]);
    is readlink($store->site_dir($site) . '/current'), 'generations/2',
        'nothing has changed';
    my @demands = (1020 => 'status_request'); # NID_tlsfeature
    $store->install($site, $_) for
        $pki->leaf(names => [$site], extensions => \@demands), $new;
    my $said = qr/must-staple: .*the certificate demands a staple/;
    says($store, [['rollback', $site], 0, $said]);

    my $leaf = $pki->leaf(names => [$site], extensions => \@demands);
    my $both = bytes('both.pem', $leaf->pem . $leaf->key_pem);
    says(Ecert::Store->new->add_issuers($sub, $cross),
        [['restore', $both], 0, $said]);
}

sub path ($name) { return tmp() . '/' . $n++ . "-$name" }

sub openssl (@args) {
    my ($status, $out) = run('openssl', @args);
    $status == 0 or die "openssl @args: $out";
}

# A store in which a request waits, and the certificate for it.
sub awaited (%o) {
    my $store = Ecert::Store->new;
    $store->add_issuers($sub, $cross) if $o{issuers} // 1;
    my @names = @{ $o{names} // [$site] };
    my ($status, $out) = ecert($store, 'new', $names[0], '--key', 'ec:P-256',
        map { ('--name', $_) } @names[1 .. $#names]);
    $status == 0 or die $out;
    my $cert = signed($pki, csr_of($store, $names[0], '--no-backup'),
        names => \@names, %{ $o{cert} // {} });
    return ($store, $cert);
}

sub bytes ($name, $bytes) {
    my $file = path($name);
    open my $out, '>:raw', $file or die "$file: $!";
    print $out $bytes;
    close $out or die "$file: $!";
    return $file;
}

sub pem ($name, @certs) { return bytes($name, join '', map { $_->pem } @certs) }

sub der ($cert) { return bytes('leaf.der', $cert->der) }

sub pkcs7 ($form, @certs) {
    my $out = path("all.p7$form");
    openssl('crl2pkcs7', '-nocrl', '-certfile', pem('in.pem', @certs),
        '-outform', $form, '-out', $out);
    return $out;
}

sub zip ($name, @files) {
    my $file = path($name);
    my $zip;
    while (my ($member, $bytes) = splice @files, 0, 2) {
        if ($zip) {
            $zip->newStream(Name => $member, Minimal => 1);
        } else {
            $zip = IO::Compress::Zip->new($file, Name => $member,
                Minimal => 1) or die $IO::Compress::Zip::ZipError;
        }
        $zip->print($bytes);
    }
    $zip->close;
    return $file;
}

# CMC (RFC 5272), signed by the CA, in Base64 as certreq saves it.
sub response (@certs) {
    my ($ca, $out) = (bytes('ca.pem', $sub->key_pem . $sub->pem), path('rsp'));
    openssl('cms', '-sign', '-nodetach', '-binary', '-econtent_type',
        '1.3.6.1.5.5.7.12.3', '-keyid', '-nocerts', '-signer', $ca,
        '-certfile', pem('certs.pem', @certs), '-in', bytes('body', "0\0"),
        '-outform', 'DER', '-out', $out);
    return bytes('response.cer', "-----BEGIN CERTIFICATE-----\n"
        . encode_base64(slurp($out)) . "-----END CERTIFICATE-----\n");
}

sub pfx ($store, @certs) {
    my $out = path('all.pfx');
    openssl('pkcs12', '-export', '-inkey', $store->site_dir($site)
        . '/pending/1/key.pem', '-in', pem('in.pem', @certs), '-out', $out,
        '-passout', 'pass:geheim');
    return $out;
}

sub certificates ($store, $file) {
    my $pem = slurp($store->site_dir($site) . "/current/$file") // '';
    return join '', $pem =~ /(-----BEGIN.*?-----END[^\n]*\n)/sg;
}

sub forms {
    my @table = (
        ['PEM', sub { pem('leaf.crt', $_[1]) }],
        ['DER', sub { der($_[1]) }],
        ['PEM with the line ends of Windows',
            sub { bytes('leaf.cer', $_[1]->pem =~ s/\n/\r\n/gr) }],
        ['PEM with text around it',
            sub { bytes('leaf.txt', "Dear Sir\n\n" . $_[1]->pem . "\nBye\n") }],
        ['PEM behind a byte order mark',
            sub { bytes('leaf.pem', "\xef\xbb\xbf" . $_[1]->pem) }],
        ['a full chain', sub { pem('full.pem', $_[1], $sub, $cross) }, 2],
        ['a full chain upside down',
            sub { pem('full.pem', $cross, $sub, $_[1]) }, 2],
        ['with the root and twins',
            sub { pem('full.pem', $pki->root, $pki->sub_old, $sub, $_[1],
                $_[1], $cross) }, 2],
        ['with a root of version 1, which does not say that it is a CA',
            sub { pem('full.pem', $v1_root, $cross, $_[1], $sub) }, 2],
        ['PKCS#7, PEM', sub { pkcs7('PEM', $sub, $_[1], $cross) }, 2],
        ['PKCS#7, DER', sub { pkcs7('DER', $_[1], $sub, $cross) }, 2],
        ['PFX', sub { (pfx($_[0], $_[1], $sub, $cross), '--password-file',
            $password) }, 2],
        ['a ZIP archive', sub { zip('www.zip', 'www/www.crt' => $_[1]->pem,
            'www/www.ca-bundle' => $cross->pem . $sub->pem,
            '__MACOSX/www/._www.crt' => "\0\5\26\7",
            'readme.txt' => "Dear customer,\n") }, 2],
        ['a full response of Windows', sub { response($_[1], $sub, $cross) },
            2],
        ['several files', sub { (pem('leaf.crt', $_[1]),
            bytes('sub.der', $sub->der), pem('cross.pem', $cross)) }, 2],
        ['several files, the leaf last', sub { (pem('a.pem', $cross),
            pem('b.pem', $sub), der($_[1])) }, 2],
    );
    for (@table) {
        my ($what, $make, $others) = @$_;
        for my $named (1, 0) {
            my ($store, $cert) = awaited(issuers => !$others);
            my ($status, $out, $err) = parts($store, 'install',
                $named ? $site : (), $make->($store, $cert));
            is "$status$err", '0', $what . ($named ? '' : ', without NAME')
                or next;
            is certificates($store, 'certificate.pem'), $cert->pem, 'the leaf';
            is +(ecert($store, 'check', $site))[0], 0, 'it can be served';
            like $out, qr/^  \[x\] chain +\S.* 17, \S/m,
                'with its chain';
            ok !-e $store->site_dir($site) . '/pending/1', 'none waits now';
        }
    }
    for my $args (['-'], [$site, '-'], ['-', pem('cross.pem', $cross)]) {
        my ($store, $cert) = awaited(issuers => 0);
        my ($status, $out, $err) = parts($store,
            { input => pem('in.pem', $cert, $sub) }, 'install', @$args);
        is $status, 0, 'standard input' or diag $err;
        is certificates($store, 'certificate.pem'), $cert->pem, 'the leaf';
    }
}

# Without a request: the key comes with the certificate.
sub key_beside {
    my $cert = $pki->leaf(names => [$site]);
    my $key = bytes('key.pem', $cert->key_pem);
    my $both = bytes('both.pem', $cert->key_pem('traditional') . $cert->pem);
    my $pfx = path('both.pfx');
    openssl('pkcs12', '-export', '-in', $both, '-out', $pfx, '-passout',
        'pass:geheim');
    for ([pem('leaf.pem', $cert), $key], [$key, der($cert)], [$both],
        [$pfx, '--password-file', $password]) {
        my ($store, $other) = awaited();
        says($store, [['install', $site, @$_], 0, qr/\[x\] installed +gen/,
            qr/(?:key and|earlier) request +(?:request )?1,/]);
        is +(ecert($store, 'check', $site))[0], 0, 'it can be served';
    }
    my ($store, $other) = awaited();
    my $foreign = bytes('foreign.pem', $pki->leaf->key_pem);
    says($store,
        [['install', $site, pem('leaf.pem', $cert), $foreign], 1,
            qr/: unknown-key: /],
        [['install', $site, $both, $foreign], 1,
            qr/: too-many: .*a second pri/],
        [['install', $site, pem('leaf.pem', $other), $foreign], 0,
            qr/\[x\] installed/]);
}

# It would be served with the hint to add a Sub CA that is there; and what is
# served would be lost.
sub never_verifies {
    my ($store, $cert) = awaited();
    my $der = $cert->der;
    my $install = sub ($file) { ['install', $site, $file] };
    substr($der, -1) ^.= "\x01";
    says($store, [$install->(bytes('damaged.der', $der)), 1,
        qr/: invalid: .*signature is not that of .* 17.*; install it as/,
        [qr/issuers add|next:/]]);
    says($store, [$install->(pem('leaf.pem', $cert)), 0]);
    is +(ecert($store, 'check', $site))[0], 0, 'the real one, of the same key';

    # its only issuer is signed with SHA-1, by a root that nobody knows
    my $other = $pki->stranger('Company Root');
    my $weak = $pki->issue(subject => [[CN => 'Company CA']], ca => 1,
        issuer => $other, digest => 'sha1', not_before => time - $day,
        not_after => time + 100 * $day);
    for my $root ([$other], []) {
        my ($s, $c) = awaited(cert => { issuer => $weak });
        says($s, [$install->(pem('all.pem', $c, $weak, @$root)), 1,
            qr/: invalid: .*Company CA: .*too weak/]);
    }
}

sub refused {
    my %later = (not_before => time - 90 * $day);
    my @table = (
        ['another name', { names => ['www.other.hk'] },
            qr/: names: .*\Q$site\E is not in the certificate/],
        ['expired', { %later, not_after => time - $day },
            qr/: expired: .*on \S+Z\); request and install a new/],
        ['of a client', { eku => 'clientAuth' }, qr/: purpose: .*; install/],
        ['SHA-1', { digest => 'sha1' }, qr/: signature: .*SHA-256 or better$/m],
        ['the name in the common name alone', { san => '' },
            qr/: names: .*common name alone.*SAN/],
        ['no names at all', { san => '', subject => [[CN => 'Web']] },
            qr/: names: .*no subject alternative names, SAN/],
        ['its names twice', { extensions => [85, "DNS:$site"] },
            qr/: names: .*SAN, are there twice or cannot be read/],
        ['dates that never come', { not_before => time + 2 * $day,
                not_after => time + $day },
            qr/: invalid: .*ends before it begins/],
        ['a precertificate', { extensions => [952, 'critical,DER:0500'] },
            qr/: invalid: .*Poison.*: install the certificate itself$/m],
    );
    for (@table) {
        my ($what, $cert, $why) = @$_;
        my ($store, $bad) = awaited(cert => $cert);
        my $file = pem('leaf.pem', $bad);
        says($store, [['install', $site, $file], 1, $why,
            qr/^ecert: site \Q$site\E: [\w-]+: \Q$file\E: the cert/m,
            [qr/next:/]]);
        ok !-e $store->site_dir($site) . '/current', "$what: not installed";
        ok -e $store->site_dir($site) . '/pending/1/key.pem', 'the key waits';
    }
    never_verifies();
    my ($store, $cert) = awaited(names => [$site, 'a.hk', 'b.hk', 'c.hk'],
        cert => { names => [$site, 'b.hk'] });
    says($store, [['install', $site, pem('leaf.pem', $cert)], 1,
        qr/: names: .*a\.hk, c\.hk are not in the certificate/]);

    ($store, $cert) = awaited();
    my $csr = bytes('request.pem', csr_of($store, $site, '--no-backup'));
    my $two = pem('two.pem', $cert, $pki->leaf);
    my $cut = substr $cert->pem, 0, 400;
    says($store,
        [['install', $site, $two], 1, qr/: too-many: .*more than one server's/],
        [['install', $site, pem('ca.pem', $sub)], 1,
            qr/: purpose: .*CA certificates\); for Sub CA .*issuers add FILE/],
        [['install', $site, bytes('a.pem', '')], 1, qr/: empty: /],
        [['install', $site, bytes('a.pem', "<html>login</html>")], 1,
            qr/: format: .*; save the file again as the CA offers it$/m],
        [['install', $site, bytes('a.pem', $cut)], 1, qr/: truncated: /],
        [['install', $site, $csr], 1, qr/: format: .*request.*; \S/],
        [['install', $site, bytes('a.pem', $cert->pem =~ s/M/N/r)], 1,
            qr/: (?:format|truncated|damaged|openssl): /],
        [['install', $site, bytes('k.pem', $pki->leaf->key_pem)], 1,
            qr/: no-certificate: .*there is none in the file/],
        [['install', $site, tmp()], 1, qr/: not-a-file: .*a folder/],
        [['install', $site, tmp() . '/none'], 1,
            qr/: missing: .*none: the file/],
        [['install', $site, pfx($store, $cert)], 1,
            qr/: no-password: .*with --password-file FILE$/m],
        [['install', $site, pfx($store, $cert), '--password-file',
            password_file('falsch')], 1, qr/: password: .*; use the password/],
        [['install', $site, zip('two.zip', 'www.crt' => $cert->pem,
            'more.zip' => "PK\3\4")], 1,
            qr/: format: .*two\.zip: more\.zip: .*archive.*; unpack it, /],
        [['install', 'none.hk', pem('l.pem', $cert)], 1,
            qr/: no-site: none\.hk/],
        [['install', 'none.hk'], 1,
            qr/: missing: none\.hk: the file does not/]);
    ok !-e $store->site_dir($site) . '/current', 'nothing was installed';
}

sub whose_key {
    my ($store, $cert) = awaited();
    my $stranger = pem('stranger.pem', $pki->leaf(names => [$site]));
    ecert($store, 'new', 'shop.hk', '--key', 'ec:P-256');
    my $shop = signed($pki, csr_of($store, 'shop.hk', '--no-backup'),
        names => ['shop.hk']);
    says($store,
        [['install', $site, $stranger], 1,
            qr/: unknown-key: .*for site \Q$site\E\); install it where its/],
        [['install', $stranger], 1, qr/: unknown-key: .*ecert restore FILE/],
        [['install', $site, pem('s.pem', $shop)], 1,
            qr/: unknown-key: .*its key is that of site shop\.hk: ecert in/],
        [['install', pem('s.pem', $shop)], 0, qr/^shop\.hk$/m],
        [['install', $site, pem('l.pem', $cert)], 0,
            qr/installed +generation 1/]);

    ecert($store, 'new', $site);
    my $again = $pki->leaf(names => [$site], key => $cert->{key});
    my $used = $store->site_dir($site) . '/generations/1/key.pem';
    says($store, [['install', $site, pem('l.pem', $again)], 1,
        qr/: older-request: .*its key is that of generation 1\); submit the new/,
        qr/ \(or, .* add its key to the command: \Q$used\E\): ecert csr/,
        qr/: ecert csr \Q$site\E$/m]);
    ecert($store, 'new', $site, '--key', 'ec:P-256');
    my $next = signed($pki, csr_of($store, $site, '--no-backup'));
    says($store,
        [['install', pem('n.pem', $next)], 0, qr/installed +generation 3/],
        [['install', $site, pem('l.pem', $cert)], 1,
            qr/: older-request: .*ecert rollback \Q$site\E 1; for a new one/,
            qr/; for a new one submit the newest .*: ecert csr \Q$site\E$/m],
        [['rollback', $site], 0, qr/installed +generation 1/]);

    # Where none waits, there is nothing to submit.
    my $wild = '*.example.hk';
    ($store, $cert) = awaited(names => [$wild]);
    ecert($store, 'install', $wild, pem('l.pem', $cert));
    ecert($store, 'new', $wild, '--key', 'ec:P-256');
    $next = signed($pki, csr_of($store, $wild, '--no-backup'),
        names => [$wild]);
    ecert($store, 'install', $wild, pem('n.pem', $next));
    $again = $pki->leaf(names => [$wild], key => $cert->{key});
    says($store,
        [['install', $wild, pem('l.pem', $cert)], 1,
            qr/: ecert rollback '\Q$wild\E' 1; .*: ecert new '\Q$wild\E'$/m],
        [['install', $wild, pem('l.pem', $again)], 1,
            qr/: older-request: .*its key is that of generation 1\); make a/,
            qr/ add its key .*key\.pem\): ecert new '\Q$wild\E'$/m]);
}

# The CA issues again for the same request.
sub issued_again {
    my ($store, $cert) = awaited(names => [$site], cert =>
        { not_before => time - 3 * $day });
    my %again = (names => [$site], key => $cert->{key});
    my $again = $pki->leaf(%again, not_before => time - 2 * $day);
    my $later = $pki->leaf(%again, not_before => time - $day,
        not_after => time + 9 * $day);
    my $older = $pki->leaf(%again, not_before => time - 4 * $day);
    says($store,
        [['install', $site, pem('l.pem', $cert)], 0,
            qr/installed +generation 1/],
        [['install', $site, pem('again.pem', $again)], 0,
            qr/installed +generation 2/],
        [['install', pem('later.pem', $later)], 0, # found by its key
            qr/installed +generation 3/],
        [['install', $site, pem('later.pem', $later)], 0,
            qr/^It was there already, as generation 3/m]);
    is certificates($store, 'certificate.pem'), $later->pem, 'the newest';
    is +(ecert($store, 'check', $site))[0], 0, '... with its key';
    says($store,
        [['install', $site, pem('older.pem', $older)], 1,
            qr/: older-request: .*generation 3, whose certificate is newer\)/,
            qr{generations/3/key\.pem\): ecert new \Q$site\E$}m],
        [['install', $site, pem('again.pem', $again)], 1,
            qr/: older-request: .*ecert rollback \Q$site\E 2;/]);
    is certificates($store, 'certificate.pem'), $later->pem, 'it stays';
    my ($key) = glob $store->site_dir($site) . '/generations/3/key.pem';
    says($store, [['install', $site, pem('older.pem', $older), $key], 0,
        qr/installed +generation 4/]);
}

sub chain {
    my ($store, $cert) = awaited(issuers => 0);
    my $leaf = pem('leaf.pem', $cert);
    says($store,
        [['install', $site, $leaf], 0,
            qr/^ecert: warning: site \Q$site\E: chain-incomplete: .*SSL CA 3/m,
            qr/\[ \] chain +the leaf alone; missing: /,
            qr/^  next: Download the missing Sub CA certificate/m],
        [['install', $site, $leaf], 0,
            qr/^It was there already, as generation/m,
            qr/^  next: Download the missing Sub CA certificate/m],
        [['install', $site, $leaf, pem('other.pem', $pki->ev)], 0,
            qr/^It was there already, as generation 1\.$/m],
        [['install', $site, $leaf, pem('sub.pem', $sub)], 0,
            qr/\[x\] installed +generation 2/, qr/\[x\] chain +Hong.* 17$/m],
        [['install', $site, $leaf, pem('sub.pem', $sub)], 0,
            qr/^It was there already, as generation 2\.$/m]);
    is +(ecert($store, 'check', $site))[0], 0, 'the chain came behind it';
    is certificates($store, 'certificate.pem'), $cert->pem, 'the same leaf';

    ($store, $cert) = awaited(issuers => 0);
    $leaf = pem('leaf.pem', $cert);
    says($store,
        [['install', $site, $leaf], 0, qr/chain-incomplete: /],
        [['issuers', 'add', pem('sub.pem', $sub)], 0, qr/^added: /m],
        [['status', $site], 1, qr/installed +generation 1/,
            qr/\[x\] chain +Hongkong Post e-Cert SSL CA 3/]);
}

sub not_yet {
    my ($store, $cert) = awaited(cert => { not_before => time + 2 * $day });
    my $leaf = pem('leaf.pem', $cert);
    my $when = day_of(time + 2 * $day);
    says($store,
        [['install', $site, $leaf], 0,
            qr/^It is not valid yet: it goes live by itself at ${when}T/m],
        [['install', $site, $leaf, '--wait'], 1,
            qr/: not-yet-valid: .*valid fr/],
        [['status', $site], 1, qr/installed +generation 1, from $when until /,
            qr/^  next: Nothing to do now\.  The certificate goes live by itself/m]);
}

sub twice {
    my ($store, $cert) = awaited();
    my $leaf = pem('leaf.pem', $cert);
    ecert($store, 'install', $site, $leaf);
    my @before = map { (stat)[1] } glob $store->site_dir($site) . '/*';
    for my $again ([$site, $leaf], [$leaf], [$site, der($cert)]) {
        says($store, [['install', @$again], 0,
            qr/\AIt was there already, as generation 1\.$/m]);
    }
    is_deeply [map { (stat)[1] } glob $store->site_dir($site) . '/*'],
        \@before, 'no file is another one';
    is_deeply [map { s{.*/}{}r } glob $store->site_dir($site)
        . '/generations/*'], [1], 'one generation';
}

# A word that is a site is taken as NAME.
sub name_or_file {
    my ($store, $cert) = awaited();
    my $dir = path('folder');
    mkdir $dir;
    rename pem('leaf.pem', $cert), "$dir/$site";
    chdir $dir;
    says($store,
        [['install', $site], 2, qr/^ecert install: a FILE is wanted/],
        [['install', $site, $site], 0, qr/installed +generation 1/],
        [['install', "./$site"], 0, qr/^It was there already/]);
    ($store, $cert) = awaited();
    rename pem('leaf.pem', $cert), "$dir/cert.crt";
    says($store, [['install', 'cert.crt'], 0, qr/installed +generation 1/]);
    chdir '/';
}

sub usage {
    my ($store, $cert) = awaited();
    says($store,
        [['install'], 2, qr/^ecert install: a FILE is wanted; see ecert inst/],
        [['install', $site, 'x', '--timeout', 'soon'], 2,
            qr/"soon" is no number/],
        [['install', $site, 'x', '--password', 'geheim'], 2, qr/--password/],
        [['install', pem('l.pem', $cert), '--wait'], 0,
            qr/^No running server has this site: nothing to wait for\.$/m]);
}

sub waits ($kind) {
    my ($store, $cert) = awaited();
    my $server = Ecert::Server->new($kind, store => $store, vhosts => [
        { names => [$site], ecert => 'on' } ])->start;
    my $leaf = pem('leaf.pem', $cert);
    says($store, [['install', $site, $leaf, '--wait'], 0,
        qr/^Served by \Q$kind\E\/\S+\.$/mi, qr/\[x\] served +by \Q$kind\E/i]);
    is +(served($server->port, $site))[0], $cert->fingerprint,
        'and so it is, at once';
    $server->stop;
}
