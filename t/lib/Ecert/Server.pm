package Ecert::Server;

# A real web server on loopback ports, made from one description that both
# servers understand:
#
#   my $server = Ecert::Server->new('nginx', store => $store, vhosts => [
#       { names => ['www.example.hk'], listen => 'https', ecert => 'on' },
#       { names => ['www.example.hk'], listen => 'http',
#         nginx => 'return 301 https://$host$request_uri;',
#         apache => 'Redirect permanent / https://www.example.hk/' },
#   ]);
#   $server->start;
#
# A vhost has: names (none: the nameless one), listen (labels of ports, each
# on a free port; those that begin with "https" speak TLS, those that end
# with "-quic" QUIC, in nginx), ecert (on, off or
# a site's name), directives ({ ecert_dcv => 'off' }: ours, in nginx's words),
# cert (an Ecert::Cert to serve in the stock way), chain (with cert: the
# certificates behind it, when not the whole way to the root), client_ca (an
# Ecert::Cert; client certificates are required), nginx and apache (raw text).
#
# A server has: vhosts, store, conf (our directives beside the vhosts), main
# and http ({ nginx => raw, apache => raw }), user (all runs under it; needs
# root), single (no master process: master_process off, -X), foreground,
# mpm (apache), workers (processes), ecert => 0 (our module is not loaded),
# address (to listen on; the tests always ask 127.0.0.1), build, agent, wrap
# (a command that the server's own is given to: valgrind).

use v5.36;

use IO::Socket::INET;
use Test::More ();

use Ecert::Process;
use Ecert::Test;

my @started;

sub new ($class, $kind, %o) {
    if ($class eq __PACKAGE__) {
        $class = $kind eq 'nginx' ? 'Ecert::Nginx' : 'Ecert::Apache';
        eval "require $class; 1" or die $@;
    }
    state $n = 0;
    my $server = bless {
        ecert => 1, build => build_dir(), conf => {}, main => {}, http => {},
        vhosts => [], ports => {}, mark => 0, workers => 2,
        address => '127.0.0.1', %o,
        kind => $kind, dir => tmp() . "/$kind" . $n++,
    }, $class;

    mkdir $server->{dir} or die "$server->{dir}: $!";
    $server->_own($server->{dir});
    $server->write_config;
    return $server;
}

sub kind ($server) { return $server->{kind} }
sub dir ($server) { return $server->{dir} }
sub error_log ($server) { return "$server->{dir}/error.log" }
sub agent ($server) { return $server->{agent} // "$server->{build}/ecert" }

# The number of the port with this label.
sub port ($server, $label = 'https') {
    return $server->{ports}{$label} //= _free_port();
}

# A port outside of the range that the kernel hands out by itself.
sub _free_port {
    state %given;
    for (1 .. 1000) {
        my $port = 10000 + int rand 22000;
        next if $given{$port};
        my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
            LocalPort => $port, Listen => 1) or next;
        $given{$port} = 1;
        return $port;
    }
    die 'no free port';
}

# --- configuration

# Writes the configuration, after a change of the description given here.
sub write_config ($server, %change) {
    @$server{keys %change} = values %change;
    my $i = 0;
    $server->_prepare_vhost($_, $i++) for @{ $server->{vhosts} };
    $server->write("$server->{kind}.conf", $server->config_text);
}

sub _prepare_vhost ($server, $vhost, $i) {
    my $dir = "$server->{dir}/vhost$i";
    $vhost->{names} //= [];
    $vhost->{listen} //= 'https';
    $vhost->{labels} = ref $vhost->{listen}
        ? $vhost->{listen} : [$vhost->{listen}];
    $vhost->{tls} = $vhost->{labels}[0] =~ /^https/;

    mkdir $dir;
    mkdir "$dir/www";
    $vhost->{dir} = $dir;
    $vhost->{root} = "$dir/www";
    $server->write("vhost$i/www/index.html",
        ($vhost->{names}[0] // 'nameless') . "\n");
    if (my $cert = $vhost->{cert}) {
        $cert->file("$dir/cert.pem", @{ $vhost->{chain} // [$cert->chain] });
        $server->_own($cert->key_file("$dir/key.pem"));
    }
    $vhost->{client_ca}->file("$dir/client-ca.pem") if $vhost->{client_ca};
}

# Puts a file into the folder of the server; used for the site's own files:
# $server->write('vhost0/www/a.txt', 'text').
sub write ($server, $name, $bytes) {
    my $path = "$server->{dir}/$name";
    my ($dir) = $path =~ m{(.*)/};
    File::Path::make_path($dir);
    open my $out, '>:raw', "$path.new" or die "$path: $!";
    print $out $bytes;
    close $out or die "$path: $!";
    rename "$path.new", $path or die "$path: $!";
    return $path;
}

# Our directives of a vhost, or those that stand beside the vhosts.
sub ecert_lines ($server, $vhost = undef) {
    my @lines;
    if ($vhost) {
        push @lines, ['ecert', $vhost->{ecert}] if defined $vhost->{ecert};
        push @lines, _pairs($vhost->{directives});
    } elsif ($server->{ecert}) {
        push @lines, ['ecert_store', $server->{store}->dir]
            if $server->{store};
        # Nothing here may reach beyond this machine unless a test allows it.
        push @lines, ['ecert_agent', $server->agent],
            _pairs({ ecert_fetch => 'off', %{ $server->{conf} // {} } });
    }
    return map { $server->directive(@$_) } @lines;
}

sub _pairs ($hash) {
    return map { [$_, ref $hash->{$_} ? @{ $hash->{$_} } : $hash->{$_}] }
        sort keys %{ $hash // {} };
}

# Values as both servers' parsers want them.
sub quoted ($server, @values) {
    return join ' ', map {
        /^[^\s;{}"'\\#\$]+$/ ? $_ : '"' . s/(["\\])/\\$1/gr . '"'
    } @values;
}

# --- life

sub start ($server) {
    $server->try_start and return $server;
    die "$server->{kind} did not start: $server->{said}\n" . $server->log;
}

# 1 when all ports listen, 0 when it left; what it printed is in said.
sub try_start ($server) {
    push @started, $server if !grep { $_ == $server } @started;
    unlink $server->pid_file;
    my $out = "$server->{dir}/start.out";
    my $child = $server->_spawn($out, @{ $server->{wrap} // [] },
        $server->command);

    if ($server->{single} || $server->{foreground}) {
        $server->{child} = $child;
    } else {
        waitpid $child, 0;
        $server->{said} = slurp($out);
        return 0 if $?;
    }
    my $up = wait_for(sub {
        return -1 if $server->{child}
            && waitpid($server->{child}, POSIX::WNOHANG()) != 0;
        return $server->_read_pid && $server->listens && $server->is_staffed;
    }, 20);
    $server->{said} = slurp($out);
    return $up && $up != -1 ? 1 : 0;
}

# Takes over a server that somebody else started with our configuration.
sub adopt ($server) {
    push @started, $server if !grep { $_ == $server } @started;
    return wait_for(sub {
        $server->_read_pid && $server->listens && $server->is_staffed;
    }, 20);
}

# Starts a command as the server's user.
sub _spawn ($server, $out, @command) {
    my $pid = fork // die "fork: $!";
    return $pid if $pid;

    open STDIN, '<', '/dev/null';
    open STDOUT, '>', $out;
    open STDERR, '>&', \*STDOUT;
    $SIG{PIPE} = $SIG{INT} = $SIG{TERM} = $SIG{HUP} = 'DEFAULT';
    $ENV{LD_PRELOAD} = $ENV{ECERT_TEST_PRELOAD} if $ENV{ECERT_TEST_PRELOAD};
    $server->_become_user;
    exec { $command[0] } @command or print STDERR "$command[0]: $!\n";
    POSIX::_exit(127);
}

sub _become_user ($server) {
    return if !$server->{user} || $> != 0;
    my ($uid, $gid) = (getpwnam $server->{user})[2, 3];
    $( = $gid;
    $) = "$gid $gid";
    POSIX::setuid($uid);
    $> == $uid or POSIX::_exit(126);
}

sub _own ($server, $path) {
    return if !$server->{user} || $> != 0;
    chown +(getpwnam $server->{user})[2, 3], $path;
}

# (exit status, output) of nginx -t or apache2 -t.
sub configtest ($server) {
    my $out = "$server->{dir}/configtest.out";
    waitpid $server->_spawn($out, $server->command('-t')), 0;
    return ($? & 127 ? 128 + ($? & 127) : $? >> 8, slurp($out));
}

sub _read_pid ($server) {
    my ($pid) = (slurp($server->pid_file) // '') =~ /^(\d+)\n/;
    $server->{pid} = $pid if $pid && kill 0, $pid;
    return $pid;
}

sub pid ($server) { return $server->{pid} }
sub alive ($server) { return Ecert::Process::alive($server->{pid}) }

# Whether each port takes connections.
sub listens ($server) {
    my $ports = $server->{ports};
    for my $port (map { $ports->{$_} } grep { !/-quic$/ } keys %$ports) {
        IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port,
            Timeout => 1) or return 0;
    }
    return 1;
}

# The workers (without those that are on their way out) and the agents.
sub workers ($server) {
    return ($server->{pid}) if $server->{single};
    my %agent = map { $_ => 1 } $server->agents;
    return grep { !$agent{$_} && $server->is_worker($_) }
        Ecert::Process::children($server->{pid});
}

# Whether as many workers as configured are there.
sub is_staffed ($server) {
    return $server->workers >= ($server->{single} ? 1 : $server->{workers});
}

# Both processes of each agent that writes to this server's error log.
sub agents ($server) {
    return grep { Ecert::Process::comm($_) ne 'ecert-keeper' }
        Ecert::Process::find('ecert', $server->error_log);
}

# The processes that bring the fetchers of its agents back.
sub keepers ($server) {
    return grep { Ecert::Process::comm($_) eq 'ecert-keeper' }
        Ecert::Process::find('ecert', $server->error_log);
}

sub signal ($server, $signal) {
    kill $signal, $server->{pid} or die "kill $signal $server->{pid}: $!";
}

# Stops it and waits until it, its workers and its agents are gone; false
# when an agent stayed behind.
sub stop ($server, $signal = 'TERM') {
    return 1 if !$server->alive;
    my @all = ($server->{pid}, $server->workers);
    $server->signal($signal);
    return $server->wait_gone(@all);
}

sub wait_gone ($server, @pids) {
    wait_for(sub { $server->_reap; !grep { Ecert::Process::alive($_) } @pids })
        or kill 'KILL', @pids;
    my $clean = wait_for(sub { !$server->agents }, 5);
    kill 'KILL', $server->agents if !$clean;
    delete $server->{child};
    return $clean ? 1 : 0;
}

sub _reap ($server) {
    waitpid $server->{child}, POSIX::WNOHANG() if $server->{child};
}

sub restart ($server) {
    $server->stop;
    return $server->start;
}

# Reload (graceful) and wait until only new workers are there.
sub reload ($server) {
    my %old = map { $_ => 1 } $server->workers;
    $server->signal($server->reload_signal);
    return wait_for(sub {
        return $server->is_staffed && !grep { $old{$_} } $server->workers;
    }, 20);
}

sub stop_all ($class) {
    for my $server (@started) {
        # A master that an upgrade left behind, with its workers and agents.
        kill 'QUIT', grep { Ecert::Process::is_of($_, $server->{dir}) }
            @{ $server->{masters} // [] };
        quietly(sub { $server->stop }) // 1
            or Test::More::diag("$server->{kind}: an agent stayed behind");
        kill 'KILL', $server->agents;
    }
    return if Test::More->builder->is_passing;
    for my $server (@started) {
        my @lines = grep { !/\[(?:\w+:)?(?:info|debug)\]/ } split /\n/,
            $server->log(0);
        splice @lines, 0, -20;
        Test::More::diag("$server->{kind}: $_") for @lines;
    }
}

# --- error log

# From here on log and wait_log look only at what is new.
sub mark ($server) { $server->{mark} = -s $server->error_log || 0 }

# Whole lines: one that is just being written can be read in part.
sub log ($server, $from = $server->{mark}) {
    my $text = slurp($server->error_log) // '';
    $text = substr $text, $from if $from <= length $text;
    return substr $text, 0, 1 + rindex $text, "\n";
}

# Waits for a line; returns it.
sub wait_log ($server, $regex, $deadline = 10) {
    return wait_for(sub {
        my ($line) = grep { $_ =~ $regex } split /\n/, $server->log;
        return $line;
    }, $deadline);
}

1;
