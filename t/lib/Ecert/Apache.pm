package Ecert::Apache;

# The half of Ecert::Server that is Apache httpd's alone.

use v5.36;

use parent 'Ecert::Server';

use Ecert::Process;
use Ecert::Test;

my $apache = $ENV{ECERT_APACHE} || '/usr/sbin/apache2';
my $modules = $ENV{ECERT_APACHE_MODULES} || '/usr/lib/apache2/modules';

# In an order in which each finds what it needs.
my @modules = qw(
    authn_core authn_file authz_core authz_host authz_user auth_basic alias
    deflate dir env expires filter headers mime proxy proxy_http remoteip
    rewrite
    setenvif socache_shmcb ssl http2 substitute status unixd log_config
);

# Words that are not written with one capital letter.
my %word = (ecert => 'ECert', dcv => 'DCV');

sub version { return (run($apache, '-v'))[1] =~ m{(Apache/\S+)} ? $1 : '' }
sub pid_file ($server) { return "$server->{dir}/apache.pid" }
sub reload_signal { return 'USR1' }

# One that has not yet changed its user is still on its way.
sub is_worker ($server, $pid) {
    return $> != 0 || (Ecert::Process::uids($pid))[0];
}

sub command ($server, @more) {
    return ($apache, '-d', $server->{dir}, '-f', "$server->{dir}/apache.conf",
        $server->{single} && !@more ? '-X'
            : $server->{foreground} && !@more ? '-DFOREGROUND' : (),
        @more);
}

# ecert_certificate_key => ECertCertificateKey
sub directive ($server, $name, @values) {
    $name = join '', map { $word{$_} // ucfirst } split /_/, $name;
    return join ' ', $name, $server->quoted(@values);
}

sub config_text ($server) {
    my $dir = $server->{dir};
    my $mpm = $server->{mpm} // 'event';
    my $load = join "\n", map { "LoadModule ${_}_module $modules/mod_$_.so" }
        "mpm_$mpm", grep { -e "$modules/mod_$_.so" } @modules;
    my $listen = join "\n", map { "Listen $server->{address}:$_" }
        $server->_ports;
    my $main = join "\n", map { $_ // () }
        $server->{ecert}
            ? "LoadModule ecert_module $server->{build}/mod_ecert.so" : undef,
        $> == 0 && !$server->{user} ? "User www-data\nGroup www-data" : undef,
        $server->{main}{apache}, $server->ecert_lines, $server->{http}{apache};
    my $size = $server->_size($mpm eq 'prefork');
    my $vhosts = join '', map { $server->_vhost($_) } @{ $server->{vhosts} };

    return <<"END";
$load
ServerName localhost
DefaultRuntimeDir $dir
PidFile $dir/apache.pid
ErrorLog $dir/error.log
LogLevel info
LogFormat "%h %t \\"%r\\" %>s" common
CustomLog $dir/access.log common
$size
MaxKeepAliveRequests 0
KeepAliveTimeout 15
TypesConfig /dev/null
AddType text/html .html
AddType text/plain .txt
DirectoryIndex index.html
DocumentRoot $dir
SSLSessionCache shmcb:$dir/sessions(512000)
SSLProtocol -all +TLSv1.2 +TLSv1.3
$listen
<Directory $dir>
    AllowOverride All
    Require all granted
</Directory>
$main
$vhosts
END
}

# As many processes under load as without; room for those that a graceful
# restart leaves behind.
sub _size ($server, $prefork) {
    my $n = $server->{workers};
    my $threads = $prefork ? 1 : 32;
    my $kind = $prefork ? 'Servers' : 'Threads';
    my $all = $n * $threads;
    return join "\n", "StartServers $n", 'ServerLimit ' . 4 * $n,
        $prefork ? () : "ThreadsPerChild $threads",
        "MaxRequestWorkers $all", "MinSpare$kind 1", "MaxSpare$kind $all";
}

sub _ports ($server) {
    my %seen;
    return grep { !$seen{$_}++ } map { $server->port($_) }
        map { @{ $_->{labels} } } @{ $server->{vhosts} };
}

sub _vhost ($server, $vhost) {
    my ($name, @alias) = @{ $vhost->{names} };
    my @lines = ("DocumentRoot $vhost->{root}");

    unshift @lines, "ServerAlias @alias" if @alias;
    unshift @lines, "ServerName $name" if defined $name;
    if ($vhost->{tls}) {
        push @lines, 'SSLEngine on';
        push @lines, 'Protocols h2 http/1.1'
            if ($server->{mpm} // 'event') ne 'prefork';
    }
    push @lines, "SSLCertificateFile $vhost->{dir}/cert.pem",
        "SSLCertificateKeyFile $vhost->{dir}/key.pem" if $vhost->{cert};
    push @lines, "SSLCACertificateFile $vhost->{dir}/client-ca.pem",
        'SSLVerifyClient require', 'SSLVerifyDepth 2' if $vhost->{client_ca};
    push @lines, $server->ecert_lines($vhost), $vhost->{apache} // ();

    my $on = join ' ', map { "$server->{address}:" . $server->port($_) }
        @{ $vhost->{labels} };
    return join '', "<VirtualHost $on>\n", map({ "    $_\n" } @lines),
        "</VirtualHost>\n";
}

1;
