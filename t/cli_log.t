#!/usr/bin/perl

# `ecert log`: who did what, when, with which key and certificate.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();

use Ecert::Command;
use Ecert::PKI;
use Ecert::Says;
use Ecert::Store;
use Ecert::Test;

my $site = 'www.example.hk';
my $pki = Ecert::PKI->new;
my $me = getpwuid $>;

subtest 'a whole life' => \&life;
subtest 'who' => \&who;
subtest 'what fails is not written' => \&failures;
subtest 'broken lines' => \&broken;
subtest 'wrong usage' => \&usage;
done_testing;

sub entries ($store, @args) {
    return @{ ecert_json($store, 'log', @args)->{log} };
}

sub life {
    my $store = Ecert::Store->new->add_issuers($pki->cross);
    my @password = ('--password-file', password_file());
    my $dir = tmp();
    my $token = $store->put("$dir/fileauth.txt", 'code', 0644);

    ecert($store, 'new', $site, '--key', 'ec:P-256', '--name', 'example.hk');
    ecert($store, 'backup', $site, '--pending', '-o', "$dir/a.pfx", @password);
    my $cert = signed($pki, csr_of($store, $site),
        names => [$site, 'example.hk']);
    ecert($store, 'dcv', 'add', $site, $token);
    ecert($store, 'issuers', 'add', $pki->sub->file("$dir/sub.pem"));
    ecert($store, 'install', $site, $cert->file("$dir/leaf.pem"));
    ecert($store, 'backup', $site, '-o', "$dir/b.pfx", @password);
    ecert($store, 'dcv', 'remove', $site, 'fileauth.txt');
    my $second = $pki->leaf(names => [$site, 'example.hk']);
    $store->install($site, $second);
    ecert($store, 'rollback', $site, 1);
    ecert($store, 'new', 'shop.hk', '--key', 'ec:P-256');

    my @all = entries($store);
    my @own = grep { ($_->{site} // '') eq $site } @all;
    is_deeply [map { $_->{command} } @all], ['new', 'backup', 'csr', 'dcv add',
        'issuers add', 'install', 'backup', 'dcv remove', 'dcv remove',
        'rollback', 'new'], 'all that was done, in order';
    is_deeply [entries($store, $site)], \@own, 'of one site';
    is_deeply [map { $_->{site} } entries($store, 'shop.hk')], ['shop.hk'],
        'of another one';
    is scalar(grep { $_->{time} !~ /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/ } @all),
        0, 'each with its time';

    my ($new, $backup, $csr, $dcv, $install, $again) = @own;
    my ($pending) = @{ $new->{names} };
    is_deeply $new->{names}, [$site, 'example.hk'], 'the names';
    like $new->{key_sha256}, qr/^[0-9a-f]{64}$/, "the key's fingerprint";
    is $_->{key_sha256}, $new->{key_sha256}, "$_->{command}: the same key"
        for $backup, $csr, $install, $again;
    is $install->{certificate_sha256}, $cert->fingerprint,
        "the certificate's fingerprint";
    is $again->{certificate_sha256}, $cert->fingerprint, 'of the backup too';
    is $backup->{file}, "$dir/a.pfx", 'where the backup went';
    is $dcv->{file}, 'fileauth.txt', 'the validation file';
    is $own[-1]{generation}, 1, 'the generation';

    my ($status, $out) = parts($store, 'log');
    is $status, 0, 'as text';
    my $install_line = qr/^\S+Z  \Q$me\E +install +\Q$site\E$/m;
    like $out,
        qr/$install_line\n +generation 1, .*,\s+certificate [0-9A-F]{16}$/m,
        'with what matters';
    ok !(grep { length > 79 } split /\n/, $out), 'fits into a terminal';
    unlike +(parts($store, 'log', $site))[1], qr/shop\.hk/, 'of one site';
    is sprintf('%o', (stat $store->dir . '/log')[2] & 07777), '600', 'private';
}

sub who {
    my $store = Ecert::Store->new;
    ecert($store, 'new', $site, '--key', 'ec:P-256');
    {
        local $ENV{SUDO_USER} = 'chantaiman';
        ecert($store, 'csr', $site, '--no-backup');
        local $ENV{SUDO_USER} = '';
        ecert($store, 'csr', $site, '--no-backup');
    }
    my @all = entries($store);
    is $all[2]{user}, $all[0]{user}, 'an empty SUDO_USER is nobody';
    is $all[1]{no_backup}, JSON::PP::true, '--no-backup is told';
    SKIP: {
        skip 'only root may become somebody else', 4 if $> != 0;
        is $all[1]{user}, 'chantaiman', 'the one behind sudo';
        is $all[1]{as}, $me, 'and who he became';
        says($store, [['log'], 0, qr/^\S+Z  chantaiman as \Q$me\E  csr /m,
            qr/, without a backup$/m]);
    }
}

sub failures {
    my $store = Ecert::Store->new;
    says($store, [['log'], 0, qr/^Nothing was done yet\.$/m]);
    ecert($store, 'new', $site, '--key', 'ec:P-256');
    says($store, [['log', 'nosuch.hk'], 0,
        qr/\ANothing was done for nosuch\.hk\.\n\z/]);
    says($store,
        [['csr', $site], 1],
        [['install', $site, $pki->leaf->file(tmp() . '/x.pem')], 1],
        [['new', $site, '--country', 'HKG'], 1]);
    is_deeply [map { $_->{command} } entries($store)], ['new'],
        'only what was done';
}

# The disk was full, an editor was at it: the rest is told, and what comes next
# begins on a line of its own.
sub broken {
    my $store = Ecert::Store->new;
    ecert($store, 'new', $site, '--key', 'ec:P-256');
    my $good = slurp($store->dir . '/log');
    my $odd = '{"time":"x\u001b[31m","user":"\u202eevil","command":"a\nb",'
        . '"site":"' . $site . '","file":"/tmp/\u0007","k\u0007":"v"}';
    $store->put('log', "\n[1]\nnull\n{\"time\":\n$good\xff\xfe\n$odd\n"
        . substr($good, 0, 40));
    is scalar(my @read = entries($store)), 2, 'two can be read';
    my ($status, $out) = parts($store, 'log');
    is $status, 0, 'as text';
    unlike $out, qr/[^\x20-\x7e\n]/, 'nothing that disturbs a terminal';
    like $out, qr/\\x1b\[31m/, 'it is escaped';

    ecert($store, 'csr', $site, '--no-backup');
    is_deeply [map { $_->{command} } entries($store, $site)],
        ['new', "a\nb", 'csr'], 'the next one is not lost';
}

sub usage {
    my $store = Ecert::Store->new;
    says($store,
        [['log', $site, $site], 2, qr/^ecert log: one NAME at most/],
        [['log', 'a..b'], 1, qr/: name: /],
        [['log', '--all'], 2, qr/--all/]);
}
