package Ecert::Bench::Servers;

# The servers that are compared: ours, the stock server, and the stock server
# once more, with the same sites, keys and chains.
#
#   my $servers = Ecert::Bench::Servers->new('nginx',
#       sites => { name => leaf });
#   $servers->{ecert}, $servers->{stock}, $servers->{again}
#   $servers->{variable}     nginx that reads ssl_certificate $variable
#
# Of Ecert::Server's descriptions: workers, user, single, main, http, vhost
# ({ nginx, apache }: raw text in each vhost); besides: only (which of the
# four), wrap (a command before the server's, given its folder), more (further
# vhosts, given the kind of instance), prepare (called with all of it, before
# anything starts).

use v5.36;

use Exporter 'import';

use Ecert::PKI;
use Ecert::Server;
use Ecert::Store;
use Ecert::Test;

our @EXPORT = qw(pki leaf begin);

sub pki {
    state $pki = Ecert::PKI->new;
    return $pki;
}

sub leaf ($name, $key = 'P-256') {
    return pki->leaf(names => [$name], key => $key);
}

# What ecert serves behind a leaf.
sub chain { return [pki->sub, pki->cross] }

sub new ($class, $kind, %o) {
    my @which = @{ $o{only} // [qw(ecert stock again)] };
    my $servers = bless { kind => $kind, sites => $o{sites} }, $class;

    for my $which (@which) {
        my $server = $servers->_server($which, %o);
        $server->{wrap} = $o{wrap}->($server->dir) if $o{wrap};
        $servers->{$which} = $server;
    }
    $o{prepare}->($servers) if $o{prepare};
    return $servers;
}

sub store ($servers) { return $servers->{store} }

sub _store ($servers, $user) {
    my $store = $servers->{store} = Ecert::Store->new(owner => $user)
        ->add_issuers(@{ chain() }, pki->root);
    my $sites = $servers->{sites};
    $store->install($_, $sites->{$_}) for sort keys %$sites;
    return $store;
}

sub _server ($servers, $which, %o) {
    my $kind = $servers->{kind};
    my $ours = $which eq 'ecert';
    my @vhosts = map { $servers->_vhost($which, $_, $o{vhost}) }
        sort keys %{ $servers->{sites} };
    push @vhosts, $o{more}->($which) if $o{more};
    my %same = map { $_ => $o{$_} } grep { $o{$_} }
        qw(workers user single main http);
    return Ecert::Server->new($kind, ecert => $ours ? 1 : 0, %same,
        vhosts => \@vhosts,
        # as by default; the PKI names nobody to ask
        $ours ? (store => $servers->_store($o{user}),
            conf => { ecert_fetch => 'on' }) : ());
}

sub _vhost ($servers, $which, $name, $raw) {
    my %vhost = (names => [$name], %{ $raw // {} });
    my $leaf = $servers->{sites}{$name};
    return { %vhost, ecert => 'on' } if $which eq 'ecert';
    return { %vhost, cert => $leaf, chain => chain() }
        if $which ne 'variable';
    my $dir = $servers->_variable_files($name, $leaf);
    return { %vhost, nginx => join "\n        ",
        "ssl_certificate $dir/\$ssl_server_name.pem;",
        "ssl_certificate_key $dir/\$ssl_server_name.key;",
        $vhost{nginx} // () };
}

# Read by a worker in each handshake, so they are the worker's.
sub _variable_files ($servers, $name, $leaf) {
    my $dir = tmp() . '/variable';
    mkdir $dir;
    $leaf->file("$dir/$name.pem", @{ chain() });
    my $key = $leaf->key_file("$dir/$name.key");
    chown +(getpwnam 'www-data')[2, 3], $key if $> == 0;
    return $dir;
}

sub each ($servers) {
    return grep { $servers->{$_} } qw(ecert stock again variable);
}

sub start ($servers) {
    begin($servers->{$_}) for $servers->each;
    return $servers;
}

# As Ecert::Server's start; the log of a thousand sites is long.
sub begin ($server) {
    return if $server->try_start;
    my @log = split /\n/, $server->log;
    die join "\n", $server->kind . " did not start: $server->{said}",
        @log > 10 ? @log[-10 .. -1] : @log, '';
}

sub stop ($servers) {
    $servers->{$_}->stop for $servers->each;
}

# Dies unless all of them serve the same.
sub check ($servers) {
    require Ecert::Client;
    for my $name (sort keys %{ $servers->{sites} }) {
        my %served = map {
            (join ' ', Ecert::Client::served($servers->{$_}->port, $name)) => 1
        } $servers->each;
        die "$servers->{kind}: not the same is served for $name\n"
            if keys %served != 1 || $served{''};
    }
}

1;
