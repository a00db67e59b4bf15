package Ecert::Bench::Change;

# One change of a site's certificate, in the way of each server: ours by the
# rename of a link; the stock one by two renames and the signal that
# `nginx -s reload` and `apachectl graceful` send (which test the configuration
# first; that is not counted).

use v5.36;

use Ecert::Bench::Servers;
use Ecert::Bench::Tools;
use Ecert::Process;
use Ecert::Test;

my %number = (HUP => 1, USR1 => 10);

# changed($servers, $which, $site, $i): prepares a new certificate of the i-th
# site, puts it in place and waits until it is served; what until_served tells.
sub changed ($servers, $which, $site, $i = 0) {
    my $server = $servers->{$which};
    my $leaf = leaf($site);
    my $file = $leaf->file(tmp() . '/change.pem');
    my %how = $which eq 'ecert' ? _ours($servers->store, $site, $leaf)
        : _stock($server, $i, $leaf);
    return until_served($server->port, $file, name => $site, %how);
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
