package Ecert::Refuse;

# The command with refuse.c loaded into it: what it asks the system and libc's
# memory for, and the same again with one of them refused.  Faster than strace,
# and it knows from where in the command a call comes; of what the kernel is
# asked by libc itself it sees nothing.
#
# Which calls are enough?  Two that are made by the same way through the
# command's own code (the return addresses in its executable) do the same work
# and are answered by the same lines.  So of all with the same name and way the
# first and the last stand for the others: in a loop, the one without anything
# before it and the one with everything.

use v5.36;

use Config ();

use Ecert::Test;

my $library;

# Why no test can run here, or undef.
sub missing ($class) {
    return undef if $library;
    # A sanitizer has its own malloc, and wants to be the first library.
    my ($known, $needed) = run('ldd', build_dir() . '/ecert');
    return 'built with a sanitizer' if $needed =~ /lib[a-z]+san\./;

    my $file = tmp() . '/refuse.so';
    my ($status, $out) = run('cc', '-std=gnu11', '-O2', '-Wall', '-Wextra',
        '-Werror', '-fPIC', '-shared', '-D_GNU_SOURCE', '-U_FORTIFY_SOURCE',
        '-o', $file, Ecert::Test::repository() . '/t/lib/refuse.c');
    $status == 0 or die "cc: $out";
    $library = $file;
    return undef;
}

# Every call, in order: { name, n (of all in its process), child, way, memory },
# behind exit status and output.
sub calls ($class, $dirs, @command) {
    my $file = tmp() . "/asked.$$";
    my ($status, $out) = run('timeout', 60, 'env', "LD_PRELOAD=$library",
        "REFUSE_LIST=$file", @command);
    my $list = slurp($file);
    unlink $file;
    return ($status, $out, map { _call(substr $list, 8 + 64 * $_, 64) }
        0 .. unpack('V', $list) - 1);
}

sub _call ($record) {
    my ($name, $n, $child, $way, @at) = unpack 'Z16 V V Q V8', $record;
    return { name => $name =~ s/^__(\w+)_chk$/$1/r, n => $n, child => $child,
        way => $way, memory => $name =~ /^(?:m|c|re)alloc$/ ? 1 : 0,
        at => [grep { $_ } @at] };
}

# The first and the last of each way.
sub points ($class, @calls) {
    my (%first, %last);
    for my $call (@calls) {
        my $like = "$call->{name} $call->{child} $call->{way}";
        $first{$like} //= $call;
        $last{$like} = $call;
    }
    my %n = map { ("$_->{child} $_->{n}" => $_) } values %first, values %last;
    return sort { $a->{child} <=> $b->{child} || $a->{n} <=> $b->{n} }
        values %n;
}

# Runs it with this call refused: (exit status, 124 when it hung; output).
sub run_with ($class, $call, $errno, @command) {
    return run('timeout', 30, 'env', "LD_PRELOAD=$library", 'REFUSE='
        . "$call->{n} $errno" . ($call->{child} ? ' child' : ''), @command);
}

1;
