package Ecert::Torture::Watching;

# How the agent learns of changes.

use v5.36;

use Errno ();
use File::Path ();
use List::Util qw(max);
use Time::HiRes ();

use Ecert::Life qw($site pki guard_and_worker);
use Ecert::Live ();
use Ecert::Process;
use Ecert::Test;
use Ecert::Torture::Faulty;

my $host = 'files.example.hk';
my ($soon, $polled) = ($Ecert::Torture::soon, $Ecert::Torture::polled);

# How a tool or an editor brings this content to its place; from is a file.
my %way = (
    link => sub ($from, $to) {
        link $from, "$to.link" or die "link: $!";
        rename "$to.link", $to or die "rename: $!";
    },
    'unlink and link' => sub ($from, $to) {
        unlink $to;
        link $from, $to or die "link: $!";
    },
    install => sub ($from, $to) { run('install', '-m', '600', $from, $to) },
    cp => sub ($from, $to) { run('cp', $from, $to) },
    'cp -al' => sub ($from, $to) { run('cp', '-al', '--force', $from, $to) },
    dd => sub ($from, $to) { run('dd', "if=$from", "of=$to", 'bs=64') },
    mv => sub ($from, $to) { run('mv', '-f', $from, $to) },
    'sed -i' => sub ($from, $to) {
        run('sed', '-i', '-e', "1r $from", '-e', '1,$d', $to);
    },
    vim => sub ($from, $to) {
        run('timeout', 20, tool('vim', 'vim.tiny'), '-u', 'NONE', '-n', '-es',
            '-c', "%!cat $from", '-c', 'wq!', $to);
    },
    # A key of one size and second with the one before is the same to it.
    rsync => sub ($from, $to) { run('rsync', '-aI', $from, $to) },
    'rsync in place' => sub ($from, $to) {
        run('rsync', '-aI', '--inplace', $from, $to);
    },
);

return [
    { name => 'overflow', ci => 1, run => sub ($t) { overflow($t) },
        what => 'more events than the queue takes' },
    { name => 'no-watches', run => sub ($t) { no_watches($t) },
        what => 'the kernel has no watches left: polling, one warning' },
    { name => 'data-swap', ci => 1, run => sub ($t) { data_swap($t) },
        what => "Kubernetes' ..data swapped, 100 times" },
    { name => 'ways', ci => 1, run => sub ($t) { ways($t) },
        what => 'hard link over, sed -i, vim, rsync, install, cp, dd' },
    { name => 'moved-away', ci => 1, run => sub ($t) { moved_away($t) },
        what => "the site's folder moved away and made again" },
    { name => 'same-stat', ci => 1, run => sub ($t) { same_stat($t) },
        what => 'other content with the same size and time' },
    { name => 'modes', run => sub ($t) { modes($t) },
        what => 'wrong modes, then right ones' },
    { name => 'writes', ci => 1, run => sub ($t) { writes($t) },
        what => '50 writes a second to one site' },
    { name => 'all-at-once', ci => 1, run => sub ($t) { all_at_once($t) },
        what => 'a thousand sites change in one second' },
    { name => 'unmounted', run => sub ($t) { unmounted($t) },
        what => "the store's file system goes and comes" },
    { name => 'mapped', run => sub ($t) { mapped($t) },
        what => 'a write through a mapping (mmap)' },
];

# A site whose files lie outside of the store: { cert, key, dir, vhost }.
sub outside ($t) {
    my $dir = tmp() . "/$t->{name}-$t->{case}{name}";
    mkdir $dir or die "$dir: $!";
    return { dir => $dir, cert => "$dir/tls.crt", key => "$dir/tls.key",
        vhost => { names => [$host], directives => {
            ecert_certificate => "$dir/tls.crt",
            ecert_certificate_key => "$dir/tls.key" } } };
}

sub in_place ($file, $bytes) {
    open my $out, '>:raw', $file or die "$file: $!";
    print $out $bytes;
    close $out or die "$file: $!";
}

sub both ($s, $leaf) {
    in_place($s->{key}, $leaf->key_pem);
    in_place($s->{cert}, $leaf->pem);
}

# The agent stands still while more happens to one site than the kernel keeps
# for it; so the other site's change is told by nothing but the overflow.
sub overflow ($t) {
    $t->begin;
    my $limit = slurp('/proc/sys/fs/inotify/max_queued_events') || 16384;
    my $dir = $t->store->site_dir($Ecert::Torture::calm);
    for (1 .. $t->times(1, 10)) {
        my (undef, $worker) = guard_and_worker($t->server);
        kill 'STOP', $worker;
        # Two names in turn, since equal events in a row count as one.
        for my $i (1 .. $limit / 2 + 100) {
            for my $name ("$dir/.a", "$dir/.b") {
                open my $out, '>', $name or die "$name: $!";
                close $out;
            }
        }
        unlink "$dir/.a", "$dir/.b";
        my $leaf = $t->install;
        kill 'CONT', $worker;
        $t->goes_live($leaf, 'after an overflow', $site, 'recovered');
    }
    $t->renew('and it hears again');
    $t->not_told('an overflow', $_) for $site, $Ecert::Torture::calm;
    $t->end;
}

# Without watches the agent looks every 30 seconds.
sub no_watches ($t) {
    my $faulty = Ecert::Torture::Faulty->new
        or $t->cannot('no compiler');
    $faulty->set(inotify => Errno::ENOSPC());
    $t->begin(agent => $faulty->agent);
    my @warnings = grep { / watch: / } split /\n/, $t->server->log;
    is scalar @warnings, 1, 'one warning' or diag join "\n", @warnings;
    like $warnings[0] // '', qr/warn.*; ./, 'with what to do';

    my $leaf = $t->install;
    $t->goes_live($leaf, 'found by looking', $site, 'polled', $polled);
    is scalar(grep { / watch: / } split /\n/, $t->server->log), 1,
        'not said again';
    $faulty->set(inotify => 0);
    # What is looked at once more is watched again.
    $leaf = $t->install;
    $t->goes_live($leaf, 'found by looking', $site, 'polled', $polled);
    $t->renew('then watched again', $site);
    $t->end;
}

sub data_swap ($t) {
    my $s = outside($t);
    my $n = 0;
    my $put = sub ($leaf) {
        my $dir = "$s->{dir}/..data_" . ++$n;
        mkdir $dir or die "$dir: $!";
        both({ cert => "$dir/tls.crt", key => "$dir/tls.key" }, $leaf);
        symlink "..data_$n", "$s->{dir}/..new" or die "symlink: $!";
        rename "$s->{dir}/..new", "$s->{dir}/..data" or die "rename: $!";
        File::Path::remove_tree("$s->{dir}/..data_" . ($n - 1));
    };
    $put->($t->leaf($host));
    symlink "..data/$_", "$s->{dir}/$_" for qw(tls.crt tls.key);
    $t->begin(vhosts => [$s->{vhost}]);

    for my $i (1 .. $t->times(40, 100)) {
        my $leaf = $t->leaf($host);
        $put->($leaf);
        # Some follow each other without a pause.
        $t->goes_live($leaf, "swap $i", $host) if $i % 4;
    }
    my $leaf = $t->leaf($host);
    $put->($leaf);
    $t->goes_live($leaf, 'the last one', $host);
    $t->not_told('swaps', $host);
    $t->end;
}

# The first of these commands that is there.
sub tool (@names) {
    for my $name (@names) {
        return $name if grep { -x "$_/$name" } qw(/usr/bin /bin);
    }
    return;
}

# The ways that can be gone here.
sub ways_here ($t) {
    my %tool = (vim => tool('vim', 'vim.tiny'), rsync => tool('rsync'));
    my @ways = grep { !/^(vim|rsync)/ || $tool{$1} } sort keys %way;
    for my $name (sort keys %tool) {
        $t->remark($tool{$name} ? "with $tool{$name}" : "without $name");
        SKIP: { skip "no $name", 1 if !$tool{$name} }
    }
    return @ways;
}

sub ways ($t) {
    my $s = outside($t);
    both($s, $t->leaf($host));
    $t->begin(vhosts => [$s->{vhost}]);
    my @ways = ways_here($t);
    for (1 .. $t->times(1, 10)) {
        for my $way (@ways) {
            my $leaf = $t->leaf($host);
            $leaf->key_file("$s->{dir}.key");
            $leaf->file("$s->{dir}.crt");
            $way{$way}->("$s->{dir}.key", $s->{key});
            $way{$way}->("$s->{dir}.crt", $s->{cert});
            $t->goes_live($leaf, $way, $host);
            unlink "$s->{dir}.key", "$s->{dir}.crt";
        }
    }
    # On a slow machine key and certificate come more than two seconds apart.
    my @told = Ecert::Live::complaints($t->server, $host);
    is_deeply [grep { !/key-mismatch|truncated|empty/ } @told], [],
        'nothing but what is torn was told';
    $t->end;
}

sub moved_away ($t) {
    $t->begin;
    my $dir = $t->store->site_dir($site);
    for my $i (1 .. $t->times(5, 50)) {
        my $old = $t->{good}{$site};
        rename $dir, "$dir.away" or die "$dir: $!";
        ok $t->serves($old), "$i: moved away: still served";
        my $leaf = $t->install;
        $t->goes_live($leaf, "$i: made again", $site, 'recovered');
        $t->renew("$i: and heard");
        File::Path::remove_tree("$dir.away");
    }
    $t->end;
}

# Only the time of the last change of the inode tells.
sub same_stat ($t) {
    my $s = outside($t);
    my $size = 2000;
    my $put = sub ($leaf) {
        for (['key', $leaf->key_pem], ['cert', $leaf->pem]) {
            my ($file, $bytes) = @$_;
            in_place($s->{$file}, $bytes . "\n" x ($size - length $bytes));
            utime 1_700_000_000, 1_700_000_000, $s->{$file};
        }
    };
    $put->($t->leaf($host));
    $t->begin(vhosts => [$s->{vhost}]);
    for my $i (1 .. $t->times(10, 100)) {
        my $leaf = $t->leaf($host);
        $put->($leaf);
        $t->goes_live($leaf, "change $i", $host);
    }
    $t->not_told('such changes', $host);
    $t->end;
}

sub modes ($t) {
    my $s = outside($t);
    both($s, $t->leaf($host));
    $t->begin(vhosts => [$s->{vhost}]);
    for my $i (1 .. $t->times(1, 5)) {
        $t->server->mark;
        my $leaf = $t->leaf($host);
        chmod 0666, $s->{key};
        both($s, $leaf);
        $t->told('unsafe-path', $s->{key}, 'a key that others can write',
            $host);
        chmod 0600, $s->{key};
        $t->goes_live($leaf, 'made right', $host, 'recovered');
        $t->server->mark;
        $leaf = $t->leaf($host);
        chmod 0777, $s->{dir};
        both($s, $leaf);
        $t->told('unsafe-path', $s->{cert}, 'a folder that others can write',
            $host);
        chmod 0755, $s->{dir};
        $t->goes_live($leaf, 'made right', $host, 'recovered');
    }
    $t->end;
}

# The files change faster than they settle; the others must not wait for them.
sub writes ($t) {
    my $s = outside($t);
    my @keys = map { pki->key($_ % 2 ? 'P-256' : 'P-384') } 1 .. 8;
    both($s, $t->leaf($host));
    $t->begin(vhosts => [$s->{vhost}]);
    my ($before, $begin) = (cpu($t), Time::HiRes::time());
    my $end = $begin + $t->times(4, 120);
    my ($n, $leaf, %other) = (0);
    while (Time::HiRes::time() < $end) {
        $leaf = $t->leaf($host, key => $keys[$n++ % @keys]);
        both($s, $leaf);
        another($t, \%other) if $n % 5 == 0;
        my $ahead = $begin + $n / 50 - Time::HiRes::time();
        Time::HiRes::sleep($ahead) if $ahead > 0;
    }
    my $seconds = Time::HiRes::time() - $begin;
    $t->figure('agent', 100 * (cpu($t) - $before) / $seconds, '% cpu');
    $t->figure('written', $n / $seconds, 'a second');
    cmp_ok $n / $seconds, '>=', 25, 'fast enough to be a fault';
    $t->goes_live($leaf, 'the last one', $host, 'settled');
    wait_for(sub { !$other{leaf} || another($t, \%other) }, 5);
    ok $other{live} && !$other{leaf} && $other{longest} < patience(5),
        'the other site did not wait' or diag $other{longest};
    $t->not_told('writes', $host);
    $t->end;
}

# The other site is renewed, again when that was seen; nobody waits for it.
sub another ($t, $other) {
    my $now = Time::HiRes::time();
    if (!$other->{leaf}) {
        @$other{qw(leaf since)} = ($t->install, $now);
    } elsif ($t->serves($other->{leaf})) {
        $other->{live}++;
        $other->{longest} = max $other->{longest} // 0, $now - $other->{since};
        $t->figure('other', $now - $other->{since});
        delete $other->{leaf};
    }
    return !$other->{leaf};
}

# Seconds of processor time of the agent's worker.
sub cpu ($t) {
    my (undef, $worker) = guard_and_worker($t->server);
    my @stat = split ' ', (slurp("/proc/$worker/stat") // '') =~ s/.*\)//sr;
    return ($stat[11] + $stat[12]) / 100;
}

sub all_at_once ($t) {
    my @names = map { sprintf 's%04d.example.hk', $_ }
        1 .. $t->times(150, 1000);
    my $key = pki->key('P-256');
    $t->begin(sites => \@names);
    for my $round (1 .. $t->times(1, 3)) {
        my %leaf = map { $_ => $t->leaf($_, key => $key) } @names;
        my $begin = Time::HiRes::time();
        $t->store->install($_, $leaf{$_}) for @names;
        note sprintf 'written in %.1f s', Time::HiRes::time() - $begin;
        my @late;
        ok wait_for(sub {
            @late = grep { !$t->serves($leaf{$_}, $_) } @late ? @late : @names;
            return !@late;
        }, $t->times($soon, 25)), "$round: all are live"
            or diag scalar(@late) . ' are not';
        $t->figure('all live', Time::HiRes::time() - $begin);
        $t->renew("$round: and one more");
    }
    my @told = grep { /site s\d+\./ && !/notice\]/ }
        split /\n/, $t->server->log;
    is_deeply \@told, [], 'nothing to complain about';
    $t->end;
}

# The store is a file system of its own; without it the folder is empty.
sub unmounted ($t) {
    my $dir = tmp() . "/$t->{name}-mounted";
    mkdir $dir;
    my ($status) = run('mount', '-t', 'tmpfs', '-o', 'size=8m,mode=0755',
        'ecert-test', $dir);
    $t->cannot('nothing can be mounted') if $status != 0;
    $t->{store} = Ecert::Store->new(dir => $dir)
        ->add_issuers(pki->sub, pki->ev, pki->cross);
    eval { gone_and_back($t, $dir); 1 } or fail 'it came to its end' or diag $@;
    run('umount', '-l', $dir);
}

sub gone_and_back ($t, $dir) {
    $t->begin;
    $t->server->mark;
    run('umount', '-l', $dir);
    ok $t->server->wait_log(qr/site \Q$site\E: [a-z-]+: .*; ./, 40),
        'unmounted: told';
    $t->stays('unmounted');
    Time::HiRes::sleep(3);
    my @told = Ecert::Live::complaints($t->server, $site);
    is scalar @told, 1, 'in one line' or diag join "\n", @told;
    run('mount', '-t', 'tmpfs', '-o', 'size=8m,mode=0755', 'ecert-test', $dir);
    mkdir "$dir/$_" for qw(issuers sites dcv);
    $t->store->add_issuers(pki->sub, pki->ev, pki->cross);
    my $calm = $t->install($Ecert::Torture::calm);
    my $leaf = $t->install;
    $t->goes_live($leaf, 'mounted again', $site, 'recovered', $polled);
    $t->goes_live($calm, 'the other site, too', $Ecert::Torture::calm,
        'recovered', $polled);
    $t->renew('it hears again');
    $t->end(in_order => 0);
}

sub mapped ($t) {
    my $s = outside($t);
    my $program = tmp() . '/mapped';
    my ($status, $out) = run($ENV{CC} || 'cc', '-o', $program,
        Ecert::Test::repository() . '/t/torture/mapped.c');
    $t->cannot('no compiler') if $status != 0;
    my $first = $t->leaf($host, key => 'P-256');
    both($s, $first);
    # Room for what may be longer.
    in_place($s->{cert}, $first->pem . "\n" x 100);
    $t->begin(vhosts => [$s->{vhost}]);
    $t->goes_live($first, 'at first', $host);

    my $new = $t->leaf($host, key => $first->key);
    ($status, $out) = run($program, $new->file("$s->{dir}.new"), $s->{cert});
    is $status, 0, 'written by mmap' or diag $out;
    $t->goes_live($new, 'live', $host);
    $t->end;
}
