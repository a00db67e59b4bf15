#!/usr/bin/perl

# `ecert dcv`: validation files as people save them, TXT records, addresses.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Digest::MD5 ();
use Digest::SHA ();
use File::Path ();
use MIME::Base64 ();

use Ecert::Command;
use Ecert::Says;
use Ecert::Store;
use Ecert::Test;

my $site = 'www.example.hk';
my $idn = 'www.xn--zfru1g2vn33etpw.com';
my $unicode = do { use utf8; 'www.我的服务器.com' };
utf8::encode($unicode);
my $code = '20261124-0a1b2c3d4e5f60718293a4b5c6d7e8f9';
my $usual = 'fileauth.txt';
my $folder = '.well-known/pki-validation';
my $html = "<!DOCTYPE html>\n<html><body>$code</body></html>\n";

subtest 'files that are mended' => \&mended;
subtest 'files that are refused' => \&refused_files;
subtest 'names of files' => \&file_names;
subtest 'for every name' => \&every_name;
subtest 'wildcards' => \&wildcards;
subtest 'what was there before' => \&collisions;
subtest 'list and remove' => \&list_and_remove;
subtest 'Sectigo' => \&sectigo;
subtest 'DNS' => \&dns;
subtest 'mail' => \&mail;
subtest 'wrong usage' => \&usage;
done_testing;

sub site_with (@names) {
    my $store = Ecert::Store->new;
    my ($first, @more) = @names;
    my ($status, $out) = ecert($store, 'new', $first, '--key', 'ec:P-256',
        map { ('--name', $_) } @more);
    $status == 0 or die $out;
    return $store;
}

# A file as a browser or an editor saved it, in a folder of its own.
sub saved ($bytes, $name = $usual) {
    state $n = 0;
    my $dir = tmp() . '/saved' . $n++;
    File::Path::make_path($dir);
    open my $out, '>:raw', "$dir/$name" or die "$dir/$name: $!";
    print $out $bytes;
    close $out or die $!;
    return "$dir/$name";
}

sub served ($store, $host, $file = $usual) {
    return slurp($store->dir . "/dcv/$host/$file");
}

sub utf16 ($text, $order) { return pack "$order*", map { ord } split //, $text }

sub mended {
    my $store = site_with($site);
    my @table = (
        ['as it was offered', $code, $code, undef],
        ['with a newline', "$code\n", "$code\n", undef],
        ['two lines', "$code\nsectigo.com\n", "$code\nsectigo.com\n", undef],
        ['a byte order mark', "\xef\xbb\xbf$code", $code, 'a byte order mark'],
        ['Windows', "$code\r\n", "$code\n", 'line ends of Windows'],
        ['an old Mac', "$code\r", "$code\n", 'line ends of Windows'],
        ['a leading newline', "\n$code\n", "$code\n",
            'white space before the code'],
        ['leading blanks', " \t\r\n$code", $code,
            'white space before the code'],
        ['trailing blanks', "$code  \n\n\n", "$code\n",
            'white space behind it'],
        ['Notepad', "\xef\xbb\xbf\r\n$code \r\n", "$code\n",
            'a byte order mark, line ends of Windows, '
            . 'white space before the code, white space behind it'],
        ['UTF-16, little endian', utf16("\x{feff}$code\r\n", 'v'), "$code\n",
            'a byte order mark, UTF-16, line ends of Windows'],
        ['UTF-16, big endian', utf16("\x{feff}$code", 'n'), $code,
            'a byte order mark, UTF-16'],
        ['UTF-16 without a mark', utf16($code, 'v'), $code, 'UTF-16'],
        ['a no-break space', "\xc2\xa0$code", $code,
            'white space before the code'],
    );
    for (@table) {
        my ($what, $bytes, $wanted, $words) = @$_;
        my ($status, $out, $err) = parts($store, 'dcv', 'add', $site,
            saved($bytes));
        is "$status$err", '0', $what or diag $out;
        my ($told) = $out =~ /\Amended, [^:]*: (.*?)\n(?=Open|replaced)/s;
        is defined $told ? $told =~ s/\n/ /gr : undef, $words, 'what is told';
        is served($store, $site), $wanted, 'what is served';
    }
}

sub refused_files {
    my $store = site_with($site);
    my $pem = csr_of($store, $site, '--no-backup');
    my $body = $pem =~ s/^-.*\n//mgr;
    my @table = (
        ['a page', $html, 'a web page \(HTML\)'],
        ['a page behind blanks', "\r\n  $html", 'a web page \(HTML\)'],
        ['a page of capitals', uc $html, 'a web page \(HTML\)'],
        ['a piece of a page', "<pre>$code</pre>", 'a web page \(HTML\)'],
        ['a page in UTF-16', utf16("\x{feff}$html", 'v'), 'a web page'],
        ['XML', "<?xml version='1.0'?><x/>", 'an XML document'],
        ['empty', '', 'the file is empty'],
        ['blanks alone', " \r\n\t\n", 'it is empty'],
        ['a byte order mark alone', "\xef\xbb\xbf", 'it is empty'],
        ['a sentence', "Your code is $code\n", 'a sentence, not a code'],
        ['a Chinese code', "驗證碼$code", 'is not of ASCII'],
        ['RTF', "{\\rtf1 $code}", 'an RTF document'],
        ['Word', "PK\3\4" . 'x' x 26 . '[Content_Types].xml',
            'document of Office \(docx'],
        ['old Word', "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1..", '\(doc\)'],
        ['PDF', "%PDF-1.7\n$code", 'a PDF document'],
        ['an image', "\x89PNG\r\n\x1a\n..", 'an image \(PNG\)'],
        ['a shortcut', "[InternetShortcut]\r\nURL=http://x/", 'a shortcut to'],
        ['a mail', "From: CA\nSubject: code\n\n$code", 'a mail with its'],
        ['the request', $pem, 'request'],
        ['the request, its body', $body, 'request or key \(Base64\)'],
        ['the request, DER', MIME::Base64::decode_base64($body), '\(DER\)'],
        ['bytes', "\0\1\2\3$code", 'it is not text'],
        ['Latin-1', "caf\xe9", 'is not UTF-8'],
        ['long', "$code\n" x 2000, 'bytes, \d+ are allowed'],
    );
    for (@table) {
        my ($what, $bytes, $why) = @$_;
        my ($status, $out, $err) = parts($store, 'dcv', 'add', $site,
            saved($bytes));
        is "$status$out", '1', "$what: refused";
        like $err, qr/^ecert: (?:validation-file|empty): \S+: .*$why/, 'why';
        like $err, qr/; save the file again/, 'and what to do';
    }
    says($store,
        [['dcv', 'add', $site, tmp() . '/none.txt'], 1, qr/^ecert: missing: /],
        [['dcv', 'add', $site, tmp()], 1, qr/^ecert: not-a-file: .*a folder/],
        [['dcv', 'add', 'none.example.hk', saved($code)], 1,
            qr/^ecert: no-site: .*ecert new none\.example\.hk/]);
    ok !-e $store->dir . "/dcv/$site/$usual", 'nothing is served';
}

sub file_names {
    my $store = site_with($site);
    my @table = (
        [$usual, $usual],
        ['fileauth (1).txt', $usual],
        ['fileauth(12).txt', $usual],
        ['fileauth[1].txt', $usual],
        ['fileauth-1.txt', $usual],
        ['fileauth.txt.txt', $usual],
        ['fileauth.txt.download', $usual],
        ['fileauth.txt (1)', $usual],
        ['fileauth.txt.1', $usual],
        ['fileauth.txt.html', $usual],
        ['fileauth', $usual],
        ['FILEAUTH.TXT', $usual],
        ['gsdv.txt', 'gsdv.txt'],
        ['verify (2).txt', 'verify.txt'],
        ['godaddy.html', 'godaddy.html'],
        ['A1B2C3.txt', 'A1B2C3.txt'],
        ['fileauth.txt.crdownload', undef, 'has not finished this download'],
        ['fileauth.txt.part', undef, 'has not finished this download'],
        ['my code.txt', undef, 'letters, digits, dots, underscores'],
        ['.fileauth.txt', undef, 'no dot first'],
        ['驗證.txt', undef, 'letters, digits, dots, underscores'],
    );
    for (@table) {
        my ($name, $wanted, $why) = @$_;
        my ($status, $out, $err) = parts($store, 'dcv', 'add', $site,
            saved($code, $name));
        if (defined $wanted) {
            is $status, 0, "$name is taken";
            is $err, $wanted eq $usual ? ''
                : "ecert: warning: the CA asks for $usual; this is answered as "
                . "$wanted (--as $usual)\n", 'another name than the CA\'s is told';
            like $out, qr{^  http://\Q$site/$folder/$wanted\E$}m, "as $wanted";
            is served($store, $site, $wanted), $code, 'and served';
        } else {
            is $status, 1, "$name is refused";
            like $err, qr/: validation-file: .*$why.*; \S/, 'why';
        }
    }
    my $odd = saved($code, 'my code.txt');
    says($store,
        [['dcv', 'add', $site, $odd, '--as', $usual], 0, qr{/$folder/$usual$}m,
            [qr/warning/]],
        [['dcv', 'add', $site, $odd, '--as', "$usual.txt"], 0,
            qr/: warning: the CA asks for \Q$usual\E; .* as \Q$usual.txt (--as /],
        [['dcv', 'add', $site, $odd, '--as', '../x'], 1,
            qr/: validation-file: /],
        [['dcv', 'add', $site, $odd, '--as', '.x'], 1, qr/: validation-file: /],
        [['dcv', 'add', $site, $odd, '--as', 'a/b'], 1, qr/no dot first/],
        [['dcv', 'add', $site, $odd, '--as', 'x' x 256], 1, qr/255 at most/],
        [['dcv', 'add', $site, $odd, '--as', ''], 1, qr/: validation-file: /]);
    my ($status, $out) = parts($store, { input => saved("$code\r\n") }, 'dcv',
        'add', $site, '-');
    is $status, 0, 'standard input';
    is served($store, $site), "$code\n", 'under the usual name';
}

sub every_name {
    my @names = ($site, 'example.hk', $idn);
    my $store = site_with($site, 'example.hk', $unicode);
    my $end = day_of(time + 30 * 86400);
    my ($status, $out, $err) = parts($store, 'dcv', 'add', $site, saved($code));
    is "$status$err", '0', 'one command';
    for my $host (@names) {
        is served($store, $host), $code, "$host has it";
        like $out, qr{^  http://\Q$host/$folder/$usual\E$}m, 'and its URL';
    }
    my $day = join '|', $end, day_of(time + 30 * 86400 - 60);
    like $out, qr/answered until (?:$day)T/, 'the end of the 30 days';
    like $out, qr/\bpress\s+Confirm\s+in\s+the\s+CA's\s+portal\s+within/,
        'what to do now';
    like $out, qr/^  \[x\] validation file +fileauth\.txt for 3 of 3 names, /m,
        'the step is done';
    is sprintf('%o %o', map { (stat $store->dir . "/dcv/$_")[2] & 0777 }
        $site, "$site/$usual"), '755 644', 'workers may read it';

    ecert($store, 'new', $site, '--key', 'ec:P-256', '--name', 'shop.hk');
    ($status, $out) = parts($store, 'dcv', 'add', $site, saved($code),
        '--request', 1);
    unlike $out, qr{http://shop\.hk/}, '--request: the names of that one';
    says($store, [['dcv', 'add', $site, saved($code), '--request', 9], 1,
        qr/^ecert: .*no-request: /]);
}

sub wildcards {
    my $store = site_with('*.example.hk');
    my $store2 = site_with('*.example.hk', 'example.hk');
    for ($store, $store2) {
        says($_, [['dcv', 'add', '*.example.hk', saved($code)], 1,
            qr/: method: \*\.example\.hk: .*proves nothing for all names below/,
            qr/; choose DNS Change in the portal: ecert dcv dns '\*\.example/],
            [['dcv', 'sectigo', '*.example.hk'], 1, qr/: method: \*\.example/]);
        ok !-e $_->dir . '/dcv/example.hk', 'nothing is served';
    }
}

sub collisions {
    my @other = ('DigiCert', "their-code\n");
    my $store = site_with($site);
    $store->put_token($site, $usual, $other[1]);
    says($store,
        [['dcv', 'add', $site, saved($code)], 0,
            qr/^ecert: warning: .*exists: fileauth\.txt: .*another CA/m,
            qr/kept as \S+\.fileauth\.txt\.saved\); if that order is still/],
        [['dcv', 'add', $site, saved($code)], 0, [qr/warning|replaced/]],
        [['dcv', 'add', $site, saved("new$code")], 0,
            qr/^replaced an older fileauth\.txt of this site at \Q$site\E$/m,
            [qr/warning/]]);
    is served($store, $site, ".$usual.saved"), $other[1], 'the other is kept';
    is served($store, $site), "new$code", 'ours is served';

    ecert($store, 'new', $site, '--key', 'ec:P-256');
    says($store, [['dcv', 'add', $site, saved('2nd')], 0,
        qr/^ecert: warning: .*another CA or another order/m]);
    is served($store, $site, ".$usual.saved"), "new$code",
        'two requests that wait are two orders';

    ecert($store, 'new', 'shop.example.hk', '--key', 'ec:P-256', '--name',
        $site);
    says($store, [['dcv', 'add', 'shop.example.hk', saved('3rd')], 0,
        qr/^ecert: warning: site \Q$site\E: exists: /m]);
}

sub list_and_remove {
    my $store = site_with($site, 'example.hk');
    says($store, [['dcv', 'list'], 0, qr/^There are no validation files\.$/m]);
    is_deeply ecert_json($store, 'dcv', 'list')->{validation_files}, [],
        'none, as JSON';
    parts($store, 'dcv', 'add', $site, saved($code));
    $store->put_token('other.hk', 'gsdv.txt', 'abc', days => 20);
    $store->put_token('old.hk', 'gsdv.txt', 'abc', days => 31);
    my $list = ecert_json($store, 'dcv', 'list');
    is $list->{schema}, 'ecert-status', 'the schema';
    my @all = @{ $list->{validation_files} };
    is_deeply [sort map { "$_->{host}/$_->{file} $_->{bytes}" } @all],
        ["example.hk/$usual 41", 'other.hk/gsdv.txt 3', "$site/$usual 41"],
        'those that are answered';
    my ($one) = grep { $_->{host} eq 'example.hk' } @all;
    is "$one->{site} $one->{url} $one->{request}",
        "$site http://example.hk/$folder/$usual 1", 'whose, and where';
    my ($old) = @{ $list->{over} };
    is $old->{over}, $store->dir . '/dcv/old.hk/gsdv.txt',
        'and those whose 30 days are over';
    my ($hand) = grep { $_->{host} eq 'other.hk' } @all;
    is $hand->{expires} =~ s/T.*//r, day_of(time + 10 * 86400), 'its end';
    is $hand->{site}, undef, 'put by hand';
    is scalar @{ ecert_json($store, 'dcv', 'list', $site)->{validation_files} },
        2, 'of a site';
    says($store,
        [['dcv', 'list'], 0, qr/^    until \S+Z, 3 bytes, put by hand$/m,
            qr{^http://example\.hk/$folder/$usual\n.*, of site \Q$site\E$}m],
        [['dcv', 'list', 'other.hk'], 0, qr/gsdv/, [qr/\Q$site\E/]],
        [['dcv', 'list', 'third.hk'], 0,
            qr/\AThere are no validation files of third\.hk\.\n\z/],
        [['dcv', 'remove', $site, 'x.txt'], 1, qr/missing: .*see ecert dcv/],
        [['dcv', 'remove', 'none.hk'], 1, qr/see ecert dcv list$/m],
        [['dcv', 'remove', $site, $usual], 0,
            qr/^removed $usual of \Q$site\E\n/m,
            qr/^removed $usual of example\.hk\n/m, qr/^  next: /m],
        [['dcv', 'list', 'old.hk'], 0,
            qr{^    not answered: its 30 days were over \S+Z, 3 bytes}m,
            qr{touch \S+/dcv/old\.hk/gsdv\.txt$}m],
        [['check'], 1, qr/warning: .*gsdv\.txt: .*30 days are over.*; touch it/],
        [['status'], 1, qr/not answered, as their 30 days are over: 1 \(/],
        [['dcv', 'remove', 'other.hk'], 0,
            qr/\Aremoved gsdv\.txt of other\.hk\n\z/],
        [['dcv', 'remove', 'old.hk'], 0,
            qr/\Aremoved gsdv\.txt of old\.hk\n\z/]);
    $list = ecert_json($store, 'dcv', 'list');
    is_deeply [@$list{qw(validation_files over)}], [[], []], 'nothing is left';
    ok !glob($store->dir . "/dcv/$site/.*.json"), 'nor hidden files';
}

sub sectigo {
    my @names = ($site, 'example.hk');
    my $store = site_with(@names);
    my $pem = csr_of($store, $site, '--no-backup');
    my $file = tmp() . '/request.der';
    $store->put(tmp() . '/request.pem', $pem);
    run('openssl', 'req', '-in', tmp() . '/request.pem', '-outform', 'DER',
        '-out', $file);
    my ($md5) = (run('md5sum', $file))[1] =~ /^(\w+)/;
    my ($sha256) = (run('sha256sum', $file))[1] =~ /^(\w+)/;
    my $name = uc($md5) . '.txt';

    my ($status, $out, $err) = parts($store, 'dcv', 'sectigo', $site);
    is "$status$err", '0', 'of the newest request' or diag $err;
    for my $host (@names) {
        like $out, qr{^  http://\Q$host/$folder/$name\E$}m, $host;
        my @lines = split /\n/, served($store, $host, $name) // '';
        is_deeply [lc $lines[0], @lines[1 .. $#lines]],
            [$sha256, 'sectigo.com'], 'SHA-256 of the request';
    }
    like $out, qr/^  next: /m, 'and the next step';
    says($store,
        [['dcv', 'sectigo', $site, '--unique', 'a1b2c3'], 0, qr/^replaced an/m],
        [['dcv', 'sectigo', $site, '--unique', 'a b'], 1,
            qr/validation-file: .*; \S/]);
    like served($store, $site, $name), qr/\nsectigo\.com\na1b2c3\n?\z/,
        'with a unique value';

    my $empty = Ecert::Store->new;
    $empty->describe($site, '{}');
    says($empty, [['dcv', 'sectigo', $site], 1,
        qr/no-request: .*; make one: ecert new \Q$site\E$/m]);
}

sub dns {
    my $other = 'shop.example.hk';
    my @table = (
        [[$site], $code, qq($site. 3600 IN TXT "$code"\n)],
        [[$site, $other], $code, qq($site. 3600 IN TXT "$code"\n)
            . qq($other. 3600 IN TXT "$code"\n)],
        [['*.example.hk'], $code, qq(example.hk. 3600 IN TXT "$code"\n)],
        [['*.example.hk', 'example.hk'], $code,
            qq(example.hk. 3600 IN TXT "$code"\n)],
        [[$unicode], $code, qq($idn. 3600 IN TXT "$code" ; $unicode\n)],
        [[$site], 'a"b\\c', qq($site. 3600 IN TXT "a\\"b\\\\c"\n)],
        [[$site], 'a;b c', qq($site. 3600 IN TXT "a;b c"\n)],
        [[$site], 'x' x 300, qq($site. 3600 IN TXT ") . 'x' x 255 . '" "'
            . 'x' x 45 . qq("\n)],
    );
    for (@table) {
        my ($names, $value, $records) = @$_;
        my ($status, $out, $err) = parts(site_with(@$names), 'dcv', 'dns',
            $names->[0], $value);
        is $status, 0, "@$names" or diag $err;
        is $out, $records, 'as in a zone file, and nothing else';
        like $err, qr/^Add these to the zone.*^  next: /ms, 'what to do';
    }
    my $store = site_with($site);
    says($store,
        [['dcv', 'dns', $site, ''], 2,
            qr/CODE is empty\); copy it from the CA's portal$/m],
        [['dcv', 'dns', $site, '  '], 2, qr/CODE is empty/],
        [['dcv', 'check', $site, '--dns', ''], 2, qr/CODE is empty/],
        [['dcv', 'dns', $site, "a\nb"], 1, qr/a control character/],
        [['dcv', 'dns', $site, '驗證'], 1,
            qr/: CODE: .*the code is not ASCII\); copy it from the CA's portal$/m],
        [['dcv', 'check', $site, '--dns', '驗證'], 2, qr/: CODE: .*not ASCII/],
        [['dcv', 'dns', 'none.hk', $code], 1, qr/^ecert: no-site: /]);
}

sub mail {
    my @boxes = qw(admin administrator webmaster hostmaster postmaster);
    my $store = site_with($site);
    my $wild = site_with('*.example.hk', 'example.hk');
    my $multi = site_with($site, 'example.hk');
    for ([$store, $site, $site], [$wild, '*.example.hk', 'example.hk']) {
        my ($store, $name, $at) = @$_;
        my ($status, $out, $err) = parts($store, 'dcv', 'mail', $name);
        is $status, 0, $name;
        is $out, join('', map { "$_\@$at\n" } @boxes), 'five addresses';
        like $err, qr/^This method ends on 2028-03-15\.$/m, 'its end';
        like $err, qr/press\s+Send\s+Validation\s+Code/, 'what to do';
    }
    says($multi, [['dcv', 'mail', $site], 1,
        qr/method: .*not for multi-domain certificates.* 2 names\)/,
        qr/; choose Website Change \(ecert dcv add\) or DNS Change/]);

    SKIP: {
        at_time('2028-03-14 23:59:00', sub {
            says($store, [['dcv', 'mail', $site], 0, qr/^postmaster@/m]);
        }) or skip 'no libfaketime', 1;
        at_time('2028-03-15 00:00:01', sub {
            says($store, [['dcv', 'mail', $site], 1,
                qr/method: .*the rules ended constructed e-mail on 2028-03-15/,
                qr/; choose Website Change \(ecert dcv add\) or DNS Change/,
                [qr/postmaster/]]);
        });
    }
}

sub usage {
    my $store = site_with($site);
    my $file = saved($code);
    says($store,
        [['dcv', 'add', $site], 2,
            qr/^ecert dcv add: NAME and FILE are wanted/],
        [['dcv', 'add', $site, $file, $file], 2, qr/NAME and FILE are wanted/],
        [['dcv', 'add', $site, $file, '--request', '0'], 2, qr/is no number/],
        [['dcv', 'list', $site, $site], 2, qr/^ecert dcv list: one NAME at/],
        [['dcv', 'remove'], 2, qr/^ecert dcv remove: NAME is wanted/],
        [['dcv', 'sectigo'], 2, qr/^ecert dcv sectigo: one NAME is wanted/],
        [['dcv', 'dns', $site], 2, qr/^ecert dcv dns: NAME and CODE are/],
        [['dcv', 'mail'], 2, qr/^ecert dcv mail: one NAME is wanted/]);
}
