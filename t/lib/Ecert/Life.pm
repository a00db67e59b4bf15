package Ecert::Life;

# What the tests of the agent's life have in common: a server with one site
# that has its certificate, the two processes of the agent, and the proof that
# a change still goes live.

use v5.36;

use Exporter 'import';

use Ecert::Client;
use Ecert::PKI;
use Ecert::Process;
use Ecert::Server;
use Ecert::Store;
use Ecert::Test;

our @EXPORT = qw($site pki store_with site_server serves is_served swaps
    guard_and_worker one_pair no_agents status);

# The agent's /proc files are closed to its own user, too.
plan skip_all => 'only root can look at the agent' if $> != 0;

our $site = 'www.example.hk';

# Seconds: for a slow machine that does other things, too.
my $patience = 15;

sub pki {
    state $pki = Ecert::PKI->new;
    return $pki;
}

# A store with the issuers and a certificate for each site.
sub store_with (@sites) {
    my %o = ref $sites[0] ? %{ shift @sites } : ();
    my $store = Ecert::Store->new(%o)->add_issuers(pki->sub, pki->cross);
    $store->install($_, pki->leaf(names => [$_])) for @sites;
    return $store;
}

# (server, store): not started.
sub site_server ($kind, %o) {
    my $store = delete $o{store} // store_with({ owner => $o{user} }, $site);
    my $server = Ecert::Server->new($kind, store => $store,
        vhosts => [{ names => [$site], ecert => 'on' }], %o);
    return ($server, $store);
}

# The fingerprint of the leaf that is served, "placeholder", or '' without an
# answer.
sub serves ($server, $name = $site) {
    my $answer = handshake($server->port, name => $name);
    my ($leaf) = @{ $answer->{certs} };
    return !$answer->{ok} || !$leaf ? ''
        : $leaf->is_self_signed ? 'placeholder' : $leaf->fingerprint;
}

# This certificate, in all of a few handshakes: several workers have it.
sub is_served ($server, $cert, $what, $name = $site) {
    my $ok = wait_for(sub {
        !grep { serves($server, $name) ne $cert->fingerprint } 1 .. 4;
    }, $patience);
    return ok $ok, $what;
}

# Installs a new certificate and sees it go live.
sub swaps ($server, $store, $what, $name = $site) {
    my $leaf = pki->leaf(names => [$name]);
    $store->install($name, $leaf);
    return is_served($server, $leaf, $what, $name);
}

# (guard, worker): the worker is the guard's child.
sub guard_and_worker ($server) {
    my @agents = $server->agents;
    my %agent = map { $_ => 1 } @agents;
    my ($worker) = grep { $agent{ Ecert::Process::parent($_) // 0 } } @agents;
    my ($guard) = grep { $_ != ($worker // 0) } @agents;
    return ($guard, $worker);
}

# Exactly two processes, and none of those given here.
sub one_pair ($server, $what, @not) {
    my %not = map { $_ => 1 } @not;
    my $ok = wait_for(sub {
        my @agents = $server->agents;
        return @agents == 2 && !grep { $not{$_} } @agents;
    }, $patience);
    ok $ok, $what or diag "agents: @{[$server->agents]}";
    return $ok;
}

sub no_agents ($server, $what) {
    return ok wait_for(sub { !$server->agents }, $patience), $what;
}

# (exit status, output) of `ecert status`.
sub status ($server, @more) {
    return run($server->{build} . '/ecert', 'status', '--store',
        $server->{store}->dir, @more);
}

1;
