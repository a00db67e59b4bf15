package Ecert::Strace;

# The command under strace: which system calls it makes, and the same again
# with one of them killed or refused.
#
# Which calls are enough?  A process that is killed between two calls has done
# what the calls before did, and nothing else that outlives it.  So a kill is,
# for the store, the same as a kill at the next call that can change the store:
# one run for each of those, killed as it enters the call, and one for the first
# call behind the last of them are all kills that there are.  (fsync and flock
# change nothing that outlives a killed process.)  A call that is refused is
# another matter: what was to be read may be missing, too.
#
# strace kills on entry, before the call does anything, and gives an error in
# the place of the call.  It counts the calls of each process by itself.

use v5.36;

use POSIX ();

use Ecert::Test ();

my $changing = join '|', qw(mkdir(?:at)? rename(?:at2?)? unlink(?:at)? rmdir
    symlink(?:at)? link(?:at)? f?chmod(?:at)? f?chown(?:at)? f?truncate
    fallocate);

# Why no test can run here, or undef.
sub missing ($class) {
    my ($status, $out) = Ecert::Test::run('strace', '-qq', '-o', '/dev/null',
        '-e', 'inject=getppid:error=EIO:when=1', 'true');
    return $status == 0 ? undef : 'strace cannot be used: ' . $out =~ s/\n/ /gr;
}

# Every call, in order: { name, n (it is the nth of this name in its process),
# child (of a process that the first one made), alone (no child makes as many
# of this name), text, ours (it names one of these folders), changes,
# hidden (it changes only what has a temporary name), commits (syncs or locks) },
# behind exit status and output.
sub calls ($class, $dirs, @command) {
    my $file = Ecert::Test::tmp() . "/calls.$$";
    my ($status, $out) = Ecert::Test::run('timeout', 60, 'strace', '-f', '-y',
        '-qq', '-s', 0, '-o', $file, @command);
    open my $in, '<', $file or die "$file: $!: $out";
    my (@calls, %count, $first);
    while (my $line = readline $in) {
        my ($pid, $name, $text) = $line =~ /^(\d+)\s+(\w+)\((.*)/ or next;
        $first //= $pid;
        next if $name eq 'execve' || $name eq 'exit_group';
        my $call = { name => $name, n => ++$count{$pid}{$name},
            child => $pid != $first ? 1 : 0, text => $text };
        $call->{ours} = grep { index($text, $_) >= 0 } @$dirs;
        $call->{changes} = _changes($call);
        $call->{hidden} = $call->{changes} && _hidden($call);
        $call->{commits} = $call->{ours} && $name =~ /^f(?:data)?sync|^flock/;
        push @calls, $call;
    }
    unlink $file;
    for my $call (@calls) {
        $call->{alone} = !grep { $_ ne $first
            && ($count{$_}{$call->{name}} // 0) >= $call->{n} } keys %count;
    }
    return ($status, $out, @calls);
}

sub _changes ($call) {
    my ($name, $text) = @$call{qw(name text)};
    return 0 if !$call->{ours} || $text =~ / = -1 /;
    return $text =~ /O_CREAT|O_TRUNC/ if $name eq 'openat' || $name eq 'open';
    return 1 if $name =~ /^p?writev?(?:64)?$/;
    # Files and folders are made with these modes.
    return 0 if $name eq 'fchmod' && $text =~ /, 0[67]00\)/;
    return $name =~ /^(?:$changing)$/;
}

my $temporary = qr/\.(?:stage-[0-9a-f]{8}|[^\/"<>]+\.ecert-\w{8})(?![^\/"<>])/;

sub _hidden ($call) {
    return $call->{name} !~ /^(?:rename|link)/
        && $call->{text} =~ m{[/"]$temporary};
}

# A path that no reader looks at: it has a temporary name, or is below one.
sub temporary ($class, $path) { return $path =~ m{/$temporary} }

# Of what is done to temporary names in a row the first and the last call: in
# between nothing comes that anybody looks for.
sub sparse ($class, @points) {
    return map { $points[$_] } grep { !$points[$_]{hidden} || $_ == 0
            || $_ == $#points || !$points[$_ - 1]{hidden}
            || !$points[$_ + 1]{hidden} } 0 .. $#points;
}

# What it does to which kind of file: the same in each scene.
sub kind ($class, $call) {
    return "$call->{name} " . $call->{text} =~ s/ = -?\d.*//r
        =~ s{/[^"<> ]*?/(?=(?:store|out|in)\b)}{}gr
        =~ s/\d+(?=<)//gr =~ s/\b[0-9a-f]{8}\b/X/gr =~ s/\b\d+\b/N/gr;
}

# The points of a kill: every call that changes something, and the one behind.
sub kill_points ($class, @calls) {
    my @mine = grep { !$_->{child} } @calls;
    my ($last) = grep { $mine[$_]{changes} } reverse 0 .. $#mine;
    die 'the command changes nothing' if !defined $last;
    return (grep({ $_->{changes} } @mine), $mine[$last + 1] // ());
}

# Runs it with what is injected ("signal=KILL", "error=EIO") at this call:
# (exit status, 137 after a kill, 124 when it hung; output).
sub run ($class, $call, $what, @command) {
    # strace's shortcut, which follows children, can give errors but not kill.
    my @how = $what =~ /^error/ && ($call->{child} || $call->{alone})
        ? ('-f', '--seccomp-bpf') : $call->{child} ? '-f' : ();
    return Ecert::Test::run('timeout', 30, 'strace', '-qq', '-o', '/dev/null',
        @how,
        '-e', "trace=$call->{name}",
        '-e', "inject=$call->{name}:$what:when=$call->{n}", @command);
}

sub name ($class, $call) {
    return "$call->{name} $call->{n}" . ($call->{child} ? ' of a child' : '');
}

1;
