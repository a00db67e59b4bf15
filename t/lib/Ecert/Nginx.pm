package Ecert::Nginx;

# The half of Ecert::Server that is nginx's alone.

use v5.36;

use parent 'Ecert::Server';

use Ecert::Process;
use Ecert::Test;

my $nginx = $ENV{ECERT_NGINX} || '/usr/sbin/nginx';

sub version { return (run($nginx, '-v'))[1] =~ m{(nginx/\S+)} ? $1 : '' }

# Whether it was built with this option.
sub has ($option) { return (run($nginx, '-V'))[1] =~ /\Q$option\E(?![\w-])/ }

# Whether http2 is a directive of its own.
sub _http2_on {
    state $yes = version() =~ m{/([\d.]+)} && 'version'->parse("v$1") >= v1.25.1;
    return $yes;
}

sub pid_file ($server) { return "$server->{dir}/nginx.pid" }
sub reload_signal { return 'HUP' }

sub command ($server, @more) {
    return ($nginx, '-p', "$server->{dir}/", '-e', $server->error_log,
        '-c', "$server->{dir}/nginx.conf", @more);
}

sub is_worker ($server, $pid) {
    my $command = Ecert::Process::command($pid);
    return $command =~ /worker process/ && $command !~ /shutting down/;
}

sub directive ($server, $name, @values) {
    return join(' ', $name, $server->quoted(@values)) . ';';
}

sub config_text ($server) {
    my $dir = $server->{dir};
    my $main = join "\n",
        $server->{ecert}
            ? "load_module $server->{build}/ngx_http_ecert_module.so;" : (),
        $> == 0 && !$server->{user} ? 'user www-data;' : (),
        # What is preloaded is needed by the next binary, too.
        $ENV{ECERT_TEST_PRELOAD} ? map({ "env $_;" }
            qw(LD_PRELOAD ASAN_OPTIONS UBSAN_OPTIONS)) : (),
        $server->{single} ? 'master_process off; daemon off;' : (),
        $server->{foreground} ? 'daemon off;' : (),
        $server->{main}{nginx} // ();
    my $http = join "\n    ", map { $_ // () }
        $server->ecert_lines, $server->{http}{nginx};
    my $vhosts = join '', map { $server->_vhost($_) } @{ $server->{vhosts} };
    my $temp = join "\n    ", map { "${_}_temp_path $dir/temp_$_;" }
        qw(client_body proxy fastcgi uwsgi scgi);

    return <<"END";
$main
worker_processes $server->{workers};
pid $dir/nginx.pid;
error_log $dir/error.log info;
events { worker_connections 1024; }
http {
    access_log $dir/access.log;
    $temp
    types { text/html html; text/plain txt; }
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache shared:ecert_test:1m;
    keepalive_requests 1000000;
    server_names_hash_bucket_size 256;
    $http
$vhosts}
END
}

sub _vhost ($server, $vhost) {
    my @lines = (map({ $server->_listen($vhost, $_) } @{ $vhost->{labels} }),
        'server_name ' . $server->quoted(@{ $vhost->{names} }
            ? @{ $vhost->{names} } : '') . ';',
        "root $vhost->{root};");

    push @lines, 'http2 on;' if $vhost->{tls} && _http2_on();
    push @lines, "ssl_certificate $vhost->{dir}/cert.pem;",
        "ssl_certificate_key $vhost->{dir}/key.pem;" if $vhost->{cert};
    push @lines, "ssl_client_certificate $vhost->{dir}/client-ca.pem;",
        'ssl_verify_client on;' if $vhost->{client_ca};
    push @lines, $server->ecert_lines($vhost), $vhost->{nginx} // ();
    return join '', "    server {\n", map({ "        $_\n" } @lines), "    }\n";
}

sub _listen ($server, $vhost, $label) {
    my $ssl = $label !~ /^https/ ? ''
        : $label =~ /-quic$/ ? ' quic'
        : _http2_on() ? ' ssl' : ' ssl http2';
    return "listen $server->{address}:" . $server->port($label) . "$ssl;";
}

# Binary upgrade: a new master beside the old one.  Returns the old one's pid.
sub upgrade_begin ($server) {
    my $old = $server->{pid};
    push @{ $server->{masters} }, $old;
    $server->signal('USR2');
    wait_for(sub {
        -e $server->pid_file . '.oldbin' && $server->_read_pid
            && $server->{pid} != $old && $server->workers;
    }, 20) or die "no new master\n" . $server->log;
    return $old;
}

# The whole of it: then the old master leaves.
sub upgrade ($server) {
    my $old = $server->upgrade_begin;
    kill 'QUIT', $old;
    return wait_for(sub { !Ecert::Process::alive($old) }, 20);
}

1;
