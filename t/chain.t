#!/usr/bin/perl

# What is served behind a leaf, out of what lies there, and why: twins, dead
# and denied elements, the cross-certificate's policy, another catalogue.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use File::Path ();
use JSON::PP ();

use Ecert::Client;
use Ecert::Command;
use Ecert::Live;
use Ecert::PKI;
use Ecert::Server;
use Ecert::Store;
use Ecert::Test;

my $day = 86400;
my $pki = Ecert::PKI->new;
my ($root, $cross_root, $cross) = ($pki->root, $pki->cross_root, $pki->cross);
my ($sub, $sub_old, $ev, $ev_old) = map { $pki->$_ } qw(sub sub_old ev ev_old);
my $dead = $pki->cross(not_after => time - $day);
my $early = $pki->cross(not_before => time + $day);
my $stranger = $pki->stranger;
my $strange_sub = $pki->issue(subject => [[CN => 'Stranger Sub']], ca => 1,
    issuer => $stranger, not_before => time - $day, not_after => time + $day);

my %sha1 = (digest => 'sha1', not_before => time - 60);
my $sub_sha1 = $pki->issue(subject => $sub->{subject_list}, key => $sub->key,
    issuer => $root, not_after => time + $day, ca => 1, eku => 'serverAuth',
    %sha1);
my $cross_sha1 = $pki->cross(%sha1);

# Name, issuer of the leaf, what lies there, what is served behind the leaf;
# why: [certificate => reason word], conf: directives, only: the one root with
# which clients verify it (else both), told: the one line in the log.
my @rows = (
    { name => 'sub', issuer => $sub, there => [$sub, $cross],
        served => [$sub, $cross], why => [$sub => 'taken', $cross => 'taken'] },
    { name => 'old-sub-dropped-in', issuer => $sub,
        there => [$sub_old, $sub, $cross], served => [$sub, $cross],
        why => [$sub_old => 'no-server-auth'] },
    { name => 'old-sub-alone', issuer => $sub_old,
        there => [$sub_old, $cross], served => [$sub_old, $cross],
        why => [$sub_old => 'taken'] },
    { name => 'ev-twin', issuer => $ev,
        there => [$sub, $sub_old, $ev_old, $cross, $ev],
        served => [$ev, $cross],
        why => [$ev_old => 'no-server-auth', $sub => 'unrelated'] },
    { name => 'all-in-any-order', issuer => $sub, served => [$sub, $cross],
        there => [$cross_root, $cross, $root, $ev, $sub, $sub_old, $cross,
            $strange_sub, $stranger, $sub],
        why => [$root => 'root', $cross_root => 'root',
            $strange_sub => 'unrelated'] },
    { name => 'dead-cross', issuer => $sub, there => [$sub, $dead, $root],
        served => [$sub], why => [$dead => 'expired'], only => 'root' },
    { name => 'dead-and-living-cross', issuer => $sub,
        there => [$dead, $cross, $sub], served => [$sub, $cross],
        why => [$dead => 'expired', $cross => 'taken'] },
    { name => 'early-cross', issuer => $sub, there => [$sub, $early, $root],
        served => [$sub], why => [$early => 'not-yet-valid'],
        only => 'root' },
    { name => 'no-cross', issuer => $sub, there => [$sub, $root],
        served => [$sub], only => 'root' },
    { name => 'off', issuer => $sub, there => [$sub, $cross, $root],
        conf => [ecert_cross_certificate => 'off'], served => [$sub],
        why => [$cross => 'cross-off'], only => 'root' },
    { name => 'until-today', issuer => $sub, there => [$sub, $cross, $root],
        conf => [ecert_cross_certificate => 'until=' . date(0)],
        served => [$sub, $cross] },
    { name => 'until-yesterday', issuer => $sub,
        there => [$sub, $cross, $root],
        conf => [ecert_cross_certificate => 'until=' . date(-1)],
        served => [$sub], why => [$cross => 'cross-past'], only => 'root' },
    { name => 'catalogue-past', issuer => $sub, there => [$sub, $cross, $root],
        conf => [ecert_catalogue => catalogue('past',
            entry($cross, 'cross', useful_until => date(-1)))],
        served => [$sub], why => [$cross => 'cross-past'], only => 'root' },
    { name => 'catalogue-today', issuer => $sub,
        there => [$sub, $cross, $root],
        conf => [ecert_catalogue => catalogue('today',
            entry($cross, 'cross', useful_until => date(0)))],
        served => [$sub, $cross] },
    { name => 'on-beats-catalogue', issuer => $sub,
        there => [$sub, $cross, $root],
        conf => [ecert_catalogue => catalogue('past',
            entry($cross, 'cross', useful_until => date(-1))),
            ecert_cross_certificate => 'on'],
        served => [$sub, $cross] },
    { name => 'on-but-dead', issuer => $sub, there => [$sub, $dead, $root],
        conf => [ecert_cross_certificate => 'on'], served => [$sub],
        why => [$dead => 'expired'], only => 'root' },
    { name => 'deny-list', issuer => $sub,
        there => [$sub, $sub_old, $cross, $root],
        conf => [ecert_catalogue => catalogue('deny',
            entry($sub, 'sub', status => 'denied', reason => 'a test'))],
        served => [$sub_old, $cross], why => [$sub => 'denied'] },
    { name => 'denied-cross', issuer => $sub, there => [$cross, $sub, $root],
        conf => [ecert_catalogue => catalogue('no-cross',
            entry($cross, 'cross', status => 'denied', reason => 'a test'))],
        served => [$sub], why => [$cross => 'denied'], only => 'root' },
    { name => 'sha1-twin', issuer => $sub, there => [$sub_sha1, $sub, $cross],
        served => [$sub, $cross], why => [$sub_sha1 => 'too-weak'] },
    { name => 'sha1-cross', issuer => $sub, there => [$cross_sha1, $sub, $root],
        served => [$sub], why => [$cross_sha1 => 'too-weak'], only => 'root',
        told => qr/: signature: .*left out: .*ca md too weak at security level/ },
    { name => 'incomplete', issuer => $sub, there => [$strange_sub],
        served => [], why => [$strange_sub => 'unrelated'], only => '' },
);

for my $kind (servers()) {
    subtest $kind => sub {
        my $server = server_for($kind);
        subtest $_->{name} => sub { row($server, $_) } for @rows;
        old_sub_dropped_in($server);
    };
    subtest "$kind, beside the vhosts" => sub { outside($kind) };
    subtest "$kind, its security level" => sub { level_3($kind) };
}
done_testing;

sub host ($row) { return "$row->{name}.example.hk" }

# One vhost for each row, with a folder of its own.
sub server_for ($kind) {
    my @vhosts;
    for my $row (@rows) {
        push @vhosts, { names => [host($row)], directives => {
            files_of($row, "$kind-$row->{name}"), @{ $row->{conf} // [] } } };
    }
    return Ecert::Server->new($kind, store => Ecert::Store->new,
        vhosts => \@vhosts)->start;
}

sub files_of ($row, $name) {
    my $dir = tmp() . "/$name";
    my $n = 0;
    File::Path::make_path("$dir/issuers");
    my $leaf = $row->{leaf} //= $pki->leaf(names => [host($row)],
        issuer => $row->{issuer});
    $_->file(sprintf '%s/issuers/%02d.pem', $dir, $n++) for @{ $row->{there} };
    return (
        ecert_certificate => $leaf->file("$dir/certificate.pem"),
        ecert_certificate_key => $leaf->key_file("$dir/key.pem"),
        ecert_issuers => "$dir/issuers",
    );
}

sub row ($server, $row) {
    serves($server, host($row), [$row->{leaf}, @{ $row->{served} }],
        'what is served');
    for my $root (qw(root cross_root)) {
        my $answer = handshake($server->port, name => host($row),
            roots => $pki->$root->file(tmp() . "/$root.pem"));
        is $answer->{verified}, ($row->{only} // $root) eq $root ? 1 : 0,
            "verified by a client that has only the $root"
            or diag $answer->{verify_error};
    }
    my $status = status_of($server, host($row));
    my $why = considered($status);
    my @why = @{ $row->{why} // [] };
    while (my ($cert, $word) = splice @why, 0, 2) {
        is $why->{ $cert->fingerprint }, $word, $cert->cn . ": $word";
    }
    my @told = complaints($server, host($row));
    if ($row->{name} eq 'incomplete') {
        like "@told", qr/: chain-incomplete: /, 'the log says so';
    } else {
        $row->{told} ? like "@told", $row->{told}, 'the log says so'
            : is_deeply \@told, [], 'nothing to complain about';
        ok $status->{complete}, 'status: complete';
    }
}

sub old_sub_dropped_in ($server) {
    my ($row) = grep { $_->{name} eq 'sub' } @rows;
    my $dir = tmp() . '/' . $server->kind . '-sub/issuers';

    $sub_old->file("$dir/zz.pem");
    ok wait_for(sub {
        considered(status_of($server, host($row)))->{ $sub_old->fingerprint };
    }, 15), 'an old Sub CA is dropped in and seen';
    serves($server, host($row), [$row->{leaf}, $sub, $cross],
        'and left unserved');
    unlink "$dir/00.pem", "$dir/01.pem";
    becomes($server, host($row), [$row->{leaf}, $sub_old],
        'only when it is the last one it is better than nothing');
    $sub->file("$dir/00.pem");
    becomes($server, host($row), [$row->{leaf}, $sub],
        'the new one comes back');
    is_deeply [complaints($server, host($row))], [],
        'nothing to complain about, also while the files were being written';
}

# The level above the vhosts, and a vhost that says otherwise.
sub outside ($kind) {
    my $leaf = $pki->leaf(names => ['*.example.hk']);
    my $dir = tmp() . "/$kind-outside";
    mkdir $dir;
    my %files = (
        ecert_certificate => $leaf->file("$dir/certificate.pem"),
        ecert_certificate_key => $leaf->key_file("$dir/key.pem"));
    my $server = Ecert::Server->new($kind, store => Ecert::Store->new,
        conf => {
            ecert_issuers => [map { $_->file("$dir/" . $_->fingerprint) }
                $sub, $sub_old, $cross, $root],
            ecert_cross_certificate => 'off',
            ecert_catalogue => catalogue('deny',
                entry($sub, 'sub', status => 'denied')),
        },
        vhosts => [
            { names => ['a.example.hk'], directives => \%files },
            { names => ['b.example.hk'],
                directives => { %files, ecert_cross_certificate => 'auto' } },
            { names => ['c.example.hk'], directives => { %files,
                ecert_catalogue => catalogue('none') } },
        ])->start;

    serves($server, 'a.example.hk', [$leaf, $sub_old], 'as said there');
    serves($server, 'b.example.hk', [$leaf, $sub_old, $cross],
        'a vhost with its own policy');
    serves($server, 'c.example.hk', [$leaf, $sub],
        'a vhost with its own catalogue');
}

# 128 bits: EC P-256 and RSA-3072, but not RSA-2048.
sub level_3 ($kind) {
    my $store = Ecert::Store->new;
    my $site = 'www.example.hk';
    my $good = $pki->leaf;
    my @ciphers = ('"DEFAULT:@SECLEVEL=3"');
    $store->add_issuers($sub, $cross);
    $store->install($site, $good);
    my $server = Ecert::Server->new($kind, store => $store, vhosts => [
        { names => [$site], directives => { ecert => $site },
            nginx => "ssl_ciphers @ciphers;",
            apache => "SSLCipherSuite @ciphers" }])->start;

    serves($server, $site, [$good, $sub, $cross], 'what it takes');
    is status_of($server, $site)->{security_level}, 3, 'status: the level';
    is +(ecert($store, 'check', $site))[0], 0, 'check: in order';
    $server->mark;
    $store->install($site, $pki->leaf(key => 'RSA-2048'));
    ok $server->wait_log(qr/key-type: .*ee key too small at security level 3/),
        'what it would refuse is told';
    serves($server, $site, [$good, $sub, $cross], 'and replaces nothing');
    my ($status, $out) = ecert($store, 'check', $site);
    is $status, 1, 'check: the same';
    like $out, qr/key too small at security level 3/, 'for the same reason';
    $server->stop;
    is +(ecert($store, 'check', $site))[0], 0,
        "check, without a server: by the library's default";
}

# A day in UTC as YYYY-MM-DD, so many days from today.
sub date ($days) {
    return POSIX::strftime('%Y-%m-%d', gmtime(time + $days * $day));
}

sub entry ($cert, $role, %more) {
    return { id => lc substr($cert->fingerprint, 0, 8), role => $role,
        name => $cert->cn, sha256 => $cert->fingerprint, status => 'current',
        %more };
}

sub catalogue ($name, @entries) {
    my $file = tmp() . "/$name.json";
    return $file if -e $file;
    open my $out, '>', $file or die "$file: $!";
    print $out JSON::PP::encode_json({ schema => 'ecert-ca', version => 1,
        updated => date(0), name => 'Test', entries => \@entries });
    close $out;
    return $file;
}
