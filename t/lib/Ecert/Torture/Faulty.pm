package Ecert::Torture::Faulty;

# Calls that fail at a word: t/torture/faulty.c, preloaded into a server or
# its agent, and the numbers that it obeys.
#
#   my $faulty = Ecert::Torture::Faulty->new;
#   $t->begin(agent => $faulty->agent);
#   $faulty->set(inotify => 28);

use v5.36;

use Errno ();

use Ecert::Test;

my @numbers = qw(inotify fork poison nth failed most);

# Nothing when there is no compiler.
sub new ($class) {
    state $library = _build();
    return if !$library;
    state $n = 0;
    my $file = tmp() . '/faulty' . $n++;
    open my $out, '>:raw', $file or die "$file: $!";
    chmod 0666, $file;
    print $out pack 'L*', (0) x @numbers;
    close $out or die "$file: $!";
    return bless { file => $file, library => $library }, $class;
}

sub _build {
    my $library = tmp() . '/faulty.so';
    my ($status, $out) = run($ENV{CC} || 'cc', '-shared', '-fPIC', '-O1',
        '-D_GNU_SOURCE', '-o', $library,
        Ecert::Test::repository() . '/t/torture/faulty.c', '-ldl');
    diag $out if $status != 0;
    return $status == 0 ? $library : undef;
}

sub library ($faulty) { return $faulty->{library} }
sub file ($faulty) { return $faulty->{file} }

# The environment of a server whose workers are to obey.
sub environment ($faulty) {
    return (ECERT_FAULTY => $faulty->{file},
        ECERT_TEST_PRELOAD => preloaded($faulty->{library}));
}

# An executable that runs the agent so that it obeys.
sub agent ($faulty) {
    return agent_script("ECERT_FAULTY=$faulty->{file} "
        . 'LD_PRELOAD=' . preloaded($faulty->{library}));
}

# An agent with something before it: variables, or commands that end in &&.
sub agent_script ($before) {
    state $n = 0;
    my $file = tmp() . '/agent' . $n++;
    open my $out, '>', $file or die "$file: $!";
    print $out "#!/bin/sh\n$before exec ", build_dir(), "/ecert \"\$@\"\n";
    close $out or die "$file: $!";
    chmod 0755, $file;
    return $file;
}

sub set ($faulty, %numbers) {
    open my $io, '+<:raw', $faulty->{file} or die "$faulty->{file}: $!";
    for my $i (grep { exists $numbers{ $numbers[$_] } } 0 .. $#numbers) {
        sysseek $io, 4 * $i, 0;
        syswrite $io, pack 'L', $numbers{ $numbers[$i] };
    }
    close $io;
}

sub get ($faulty, $name) {
    my @values = unpack 'L*', slurp($faulty->{file});
    my ($i) = grep { $numbers[$_] eq $name } 0 .. $#numbers;
    return $values[$i];
}

1;
