#!/usr/bin/perl

# Who may do what: an attacker with the workers' user reaches neither keys nor
# the snapshot nor the agent; the agent has given up all but reading.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Life;
use Ecert::Process;
use Ecert::Server;
use Ecert::Test;

plan skip_all => 'setpriv is not here' if (run('setpriv', '--version'))[0] != 0;

for my $kind (servers()) {
    subtest $kind => sub {
        my $store = Ecert::Store->new;
        File::Path::remove_tree($store->dir);
        my ($server) = site_server($kind, store => $store);
        $server->start;
        modes($store);
        swaps($server, $store, 'a certificate is live');

        workers_view($server);
        attacker($server, $store);
        agents_rights($server);
        no_secret_outside($server, $store);
    };
}
done_testing;

sub mode ($path) { return sprintf '%04o', (stat $path)[2] & 07777 }

# What we made by ourselves, before anybody else put anything there.
sub modes ($store) {
    my %want = ('' => '0700', sites => '0700', run => '0700',
        placeholder => '0700', issuers => '0755', dcv => '0755');
    my %have = map { $_ => mode($store->dir . "/$_") } keys %want;
    is_deeply \%have, \%want, 'the modes of a store that the agent made';

    my @files = map { glob $store->dir . "/$_/*" } qw(run placeholder);
    is_deeply [grep { mode($_) ne '0600' } @files], [], 'all in it is 0600';
    cmp_ok @files, '>', 0, 'and there is something';
    $store->add_issuers(pki->sub, pki->cross);
}

sub snapshot_maps ($pid) {
    return grep { m{/memfd:ecert-snapshot} }
        split /\n/, slurp("/proc/$pid/maps") // '';
}

sub workers_view ($server) {
    for my $pid ($server->workers) {
        my %fd = Ecert::Process::descriptors($pid);
        is_deeply [grep { ($_ // '') =~ /memfd:ecert/ } values %fd], [],
            "worker $pid: no descriptor of our memory";
        my @maps = snapshot_maps($pid);
        is scalar(@maps), 1, 'the snapshot is there once';
        like $maps[0], qr/^\S+ r--s /, 'to be read only';
    }
}

# Tries as www-data: "what path"; says what worked.
sub attempts { return <<'END' }
use Socket;
my %try = (
    read => sub { open my $in, '<', $_[0] or return; sysread $in, my $b, 1 },
    write => sub { open my $io, '+<', $_[0] },
    list => sub { opendir my $dir, $_[0] or return;
        grep { defined readlink "$_[0]/$_" } readdir $dir },
    connect => sub { socket my $s, PF_UNIX, SOCK_STREAM, 0;
        connect $s, pack_sockaddr_un($_[0]) },
);
for (@ARGV) {
    my ($what, $path) = split / /, $_, 2;
    print "$_\n" if $try{$what}->($path);
}
END

sub as_www_data (@attempts) {
    my ($status, $out) = run('setpriv', '--reuid=www-data', '--regid=www-data',
        '--clear-groups', $^X, '-e', attempts(), @attempts);
    return $out;
}

sub of_process ($pid) {
    my ($range) = (snapshot_maps($pid))[0] =~ /^(\S+)/
        if snapshot_maps($pid);
    return (map({ "list /proc/$pid/$_" } qw(fd map_files)),
        map({ "read /proc/$pid/$_" } qw(environ maps)),
        map({ "write $_" } "/proc/$pid/mem",
            defined $range ? "/proc/$pid/map_files/$range" : ()));
}

sub attacker ($server, $store) {
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        exec 'setpriv', '--reuid=www-data', '--regid=www-data',
            '--clear-groups', 'sleep', 60 or POSIX::_exit(127);
    }
    wait_for(sub { Ecert::Process::command($pid) =~ /^sleep/ });
    like as_www_data(of_process($pid)),
        qr{^list /proc/$pid/fd\n.*write /proc/$pid/mem$}ms,
        'an ordinary process of www-data is open to www-data';
    kill 'KILL', $pid;
    waitpid $pid, 0;

    for my $pid ($server->workers, $server->agents) {
        is as_www_data(of_process($pid)), '', "process $pid is not";
    }
    my $dir = $store->dir;
    my @files = (glob("$dir/run/*"), glob("$dir/placeholder/*"),
        map { $store->site_dir($site) . "/current/$_" }
            qw(key.pem certificate.pem));
    is as_www_data(map { ("read $_", "write $_", "connect $_") } @files), '',
        'nothing in the store is open to www-data';

    # Even where a path led there: the peer's user is asked.
    chmod 0755, $dir, "$dir/run";
    chmod 0666, glob "$dir/run/*";
    my ($exit, $said) = run('setpriv', '--reuid=www-data', '--regid=www-data',
        '--clear-groups', "$server->{build}/ecert", 'status', '--store', $dir);
    unlike $said, qr/^  $site$|valid/m, 'the status socket answers root only';
    chmod 0600, glob "$dir/run/*";
    chmod 0700, $dir, "$dir/run";
}


sub agents_rights ($server) {
    for my $pid ($server->agents) {
        my $status = slurp("/proc/$pid/status");
        # CAP_DAC_READ_SEARCH; CAP_DAC_OVERRIDE sleeps until a log is rotated.
        my %most = (Eff => 1 << 2, Prm => 1 << 2 | 1 << 1, Inh => 0, Amb => 0);
        for my $set (sort keys %most) {
            my ($have) = $status =~ /^Cap$set:\s*(\S+)/m;
            is hex($have) & ~$most{$set}, 0, "agent $pid: Cap$set";
        }
        like $status, qr/^NoNewPrivs:\s*1$/m, 'no new privileges';
        like slurp("/proc/$pid/limits"), qr/^Max core file size\s+0\s+0\s/m,
            'no core dump';
        my %fd = Ecert::Process::descriptors($pid);
        is_deeply [grep { ($_ // '') =~ /^\/memfd|\.pem/ } values %fd], [],
            'no file or memory is open';
        SKIP: {
            skip 'no network namespaces here', 1
                if (run('unshare', '-n', 'true'))[0] != 0;
            isnt readlink "/proc/$pid/ns/net", readlink '/proc/self/ns/net',
                'no network';
        }
    }
}

# A key that is refused says a good deal, but nothing of itself.
sub no_secret_outside ($server, $store) {
    my $leaf = pki->leaf(names => [$site], key => 'RSA-2048');
    my @lines = grep { !/-/ } split /\n/, $leaf->key_pem;
    my $text = $leaf->key_pem =~ s/^(.{64}\n){3}//mr;

    $store->install($site, $leaf);
    is_served($server, $leaf, 'an RSA key is live');
    $server->mark;
    $store->put($store->site_dir($site) . '/current/key.pem', $text);
    ok $server->wait_log(qr{/key\.pem: }, 15), 'a damaged key is refused';

    for my $pid ($server->pid, $server->workers, $server->agents) {
        my $outside = join '', map { slurp("/proc/$pid/$_") // '' }
            qw(cmdline environ);
        ok !holds($outside, @lines), "process $pid: no key in its arguments";
    }
    my ($exit, $said) = status($server, '--json');
    ok !holds($said, @lines), 'nor in the status';
    ok !holds($server->log(0), @lines), 'nor in the error log';
}

sub holds ($text, @lines) {
    return 1 if $text =~ /-----BEGIN/;
    return scalar grep { length > 15 && index($text, $_) >= 0 } @lines;
}
