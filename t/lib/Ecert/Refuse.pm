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

# The first and the last call of each way, in order: { name, n (of all in its
# process), child, memory, at (the innermost return addresses of the way) },
# behind exit status and output.
sub calls ($class, $dirs, @command) {
    my $file = tmp() . "/asked.$$";
    my ($status, $out) = run('timeout', 120, 'env', "LD_PRELOAD=$library",
        "REFUSE_LIST=$file", @command);
    my $list = slurp($file) // '';
    unlink $file;
    my @calls = map { _calls($_) } unpack '(a72)*', $list;
    return ($status, $out, sort { $a->{child} <=> $b->{child}
        || $a->{n} <=> $b->{n} } @calls);
}

sub _calls ($record) {
    my ($name, $first, $last, $way, @at) = unpack 'Z16 V V Q V9', $record;
    my $child = pop @at;
    return map { { name => $name =~ s/^__(\w+)_chk$/$1/r, n => $_,
        child => $child, memory => $name =~ /^(?:m|c|re)alloc$/ ? 1 : 0,
        at => [grep { $_ } @at] } }
        $first == 0 ? () : $first == $last ? $first : ($first, $last);
}

# Runs it with this call refused: (exit status, 124 when it hung; output).
sub run_with ($class, $call, $errno, @command) {
    return run('timeout', 60, 'env', "LD_PRELOAD=$library", 'REFUSE='
        . "$call->{n} $errno" . ($call->{child} ? ' child' : ''), @command);
}

1;
