package Ecert::Bench::Change;

# One change of a site's certificate, in the way of each server: ours by the
# rename of a link; the stock one by two renames and the signal that
# `nginx -s reload` and `apachectl graceful` send (which test the configuration
# first; that is not counted).

use v5.36;

use Ecert::Bench::Servers;
use Ecert::Bench::Tools;
use Ecert::Client;
use Ecert::Process;
use Ecert::Test;

my %number = (HUP => 1, USR1 => 10);

# A new certificate of the i-th site is put in place; the client shakes hands
# until it is served.  What until_served tells.
sub changed ($servers, $which, $site, $i = 0) {
    my ($leaf, %how) = _prepared($servers, $which, $site, $i);
    return until_served($servers->{$which}->port,
        $leaf->file(tmp() . '/change.pem'), name => $site, %how);
}

# The same without a client until it is done: then comes one handshake, with
# the new certificate.  So that what the server uses is used for the change.
sub changed_alone ($servers, $which, $site, $i = 0) {
    my $server = $servers->{$which};
    my ($leaf, %how) = _prepared($servers, $which, $site, $i);
    $server->mark;
    my @before = Ecert::Process::children($server->pid);
    for my $pair (@{ $how{renames} }) {
        rename $pair->[0], $pair->[1] or die "$pair->[0]: $!\n";
    }
    $server->signal($server->reload_signal) if $how{signal};
    $which eq 'ecert' ? _published($server, $leaf)
        : _replaced($server, @before);
    my ($now) = served($server->port, $site);
    ($now // '') eq $leaf->fingerprint or die "$which: not served\n";
}

sub _published ($server, $leaf) {
    my $print = substr $leaf->fingerprint, 0, 16;
    $server->wait_log(qr/: live: .*\b$print\b/) or die "not published\n";
}

# All of the workers from before are gone.
sub _replaced ($server, @before) {
    my %before = map { $_ => 1 } @before;
    wait_for(sub {
        my @now = Ecert::Process::children($server->pid);
        return $server->is_staffed && !grep { $before{$_} } @now;
    }, 30) or die "the old workers stay\n";
}

sub _prepared ($servers, $which, $site, $i) {
    my $leaf = leaf($site);
    return ($leaf, $which eq 'ecert' ? _ours($servers->store, $site, $leaf)
        : _stock($servers->{$which}, $i, $leaf));
}

sub _ours ($store, $site, $leaf) {
    my $n = $store->install($site, $leaf, current => 0);
    my $link = $store->site_dir($site) . '/current';
    symlink "generations/$n", "$link.next" or die "$link.next: $!";
    return renames => [["$link.next", $link]];
}

sub _stock ($server, $i, $leaf) {
    my $dir = $server->dir . "/vhost$i";
    $leaf->file("$dir/cert.next", @{ Ecert::Bench::Servers::chain() });
    $leaf->key_file("$dir/key.next");
    return renames => [["$dir/cert.next", "$dir/cert.pem"],
            ["$dir/key.next", "$dir/key.pem"]],
        signal => [$server->pid, $number{ $server->reload_signal }];
}

# Waits until those workers are gone that a reload has sent home.
sub settled ($server) {
    wait_for(sub {
        my @children = Ecert::Process::children($server->pid);
        return $server->is_staffed && @children <= $server->{workers};
    }, 30);
}

1;
