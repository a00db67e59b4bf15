#!/usr/bin/perl

# Owners and modes of keys and of the folders on their way: what others could
# change is refused, with a message that names it and the remedy; and once the
# remedy is applied, the certificate goes live.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Life;
use Ecert::Server;
use Ecert::Store;
use Ecert::Test;

my ($uid, $gid) = (getpwnam 'www-data')[2, 3];

# [what, how, what the message names, how it is mended]; in a certificate's
# folder $d with its key.  Without a message it has to be served.
my @cases = (
    ['key 0600', sub ($d) { chmod 0600, "$d/key.pem" }],
    ['key 0400', sub ($d) { chmod 0400, "$d/key.pem" }],
    ['key 0640', sub ($d) { chmod 0640, "$d/key.pem" }],
    ['key 0640, a group of its own', sub ($d) {
        chmod 0640, "$d/key.pem";
        chown 0, $gid, "$d/key.pem";
    }],
    ['key writable by its group', sub ($d) { chmod 0660, "$d/key.pem" },
        qr{key\.pem: .*mode 0660.*chmod go-w \S+/key\.pem},
        sub ($d) { chmod 0600, "$d/key.pem" }],
    ['key writable by all', sub ($d) { chmod 0666, "$d/key.pem" },
        qr{key\.pem: .*mode 0666.*chmod go-w \S+/key\.pem},
        sub ($d) { chmod 0600, "$d/key.pem" }],
    ["somebody else's key", sub ($d) { chown $uid, 0, "$d/key.pem" },
        qr{key\.pem: .*belongs to uid $uid .*chown root \S+/key\.pem},
        sub ($d) { chown 0, 0, "$d/key.pem" }],
    ['certificate writable by all', sub ($d) {
        chmod 0666, "$d/certificate.pem";
    }, qr{certificate\.pem: .*mode 0666.*chmod go-w \S+/certificate\.pem},
        sub ($d) { chmod 0644, "$d/certificate.pem" }],
    ['folder writable by all', sub ($d) { chmod 0777, $d },
        qr{the folder \S+/generations/\d+ .*mode 0777.*chmod go-w \S+/\d+},
        sub ($d) { chmod 0700, $d }],
    ['folder writable by its group', sub ($d) { chmod 0770, $d },
        qr{the folder \S+/generations/\d+ .*mode 0770.*chmod go-w \S+/\d+},
        sub ($d) { chmod 0700, $d }],
    ["somebody else's folder", sub ($d) { chown $uid, 0, $d },
        qr{the folder \S+ belongs to uid $uid .*chown root \S+/\d+},
        sub ($d) { chown 0, 0, $d }],
    ['key as a link into a folder of www-data', sub ($d) {
        foreign_link($d);
    }, qr{key\.pem: .*folder \S+/foreign\d* belongs to uid $uid .*chown root},
        sub ($d) { chown 0, 0, readlink("$d/key.pem") =~ s{/[^/]+$}{}r }],
    ['key as a link to a safe place', sub ($d) {
        rename "$d/key.pem", "$d/../../moved.$$.pem";
        symlink "../../moved.$$.pem", "$d/key.pem";
    }],
);

for my $kind (servers()) {
    subtest $kind => sub {
        my ($server, $store) = site_server($kind);
        $server->start;
        one($server, $store, @$_) for @cases;
        whole_store($server, $store);
    };
}
done_testing;

# The key's new folder, that of an attacker, is beside the store.
sub foreign_link ($d) {
    state $n = 0;
    my $foreign = tmp() . '/foreign' . $n++;
    mkdir $foreign or die "$foreign: $!";
    rename "$d/key.pem", "$foreign/key.pem" or die "$foreign: $!";
    chown $uid, $gid, $foreign;
    symlink "$foreign/key.pem", "$d/key.pem" or die "$d: $!";
}

sub one ($server, $store, $what, $how, $message = undef, $mend = undef) {
    my $leaf = pki->leaf(names => [$site]);
    my $before = serves($server);
    my $n = $store->install($site, $leaf, current => 0);
    my $dir = $store->site_dir($site) . "/generations/$n";

    $how->($dir);
    $server->mark;
    $store->current($site, $n);
    if ($message) {
        my $line = $server->wait_log(qr/site \Q$site\E: unsafe-path: /, 15);
        like $line // '', $message, "$what: refused";
        is serves($server), $before, "$what: the last one stays served";
        $mend->($dir);
        is_served($server, $leaf, "$what: mended, and live");
    } else {
        is_served($server, $leaf, "$what: served");
        unlike $server->log, qr/unsafe-path/, "$what: no complaint";
    }
}

# Not even a good certificate is taken from a store that others can change.
sub whole_store ($server, $store) {
    my $before = serves($server);
    my $leaf = pki->leaf(names => [$site]);

    $server->mark;
    chmod 0777, $store->dir;
    $store->install($site, $leaf);
    my $line = $server->wait_log(qr/unsafe-path: /, 15) // '';
    like $line, qr{the folder \Q@{[$store->dir]}\E .*chmod go-w},
        'a store that all can write: refused';
    is serves($server), $before, 'the last one stays served';
    chmod 0700, $store->dir;
    is_served($server, $leaf, 'mended, and live');
}
