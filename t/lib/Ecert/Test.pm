package Ecert::Test;

# What every t/*.t begins with: Test::More, the list of servers to run
# against, a temporary folder, and waiting for a condition instead of a while.

use v5.36;

use Cwd ();
use Exporter 'import';
use File::Basename ();
use File::Path ();
use File::Temp ();
use List::Util ();
use POSIX ();
use Test::More;
use Time::HiRes ();

our @EXPORT = (
    (grep { !/^\$/ } @Test::More::EXPORT),
    qw(servers tmp wait_for took patience build_dir test_data run slurp quietly
        faketime preloaded command_at),
);

my $root = Cwd::abs_path(File::Basename::dirname(__FILE__) . '/../../..');
my $owner = $$;
my $tmp;

# Times are multiplied by this under valgrind and the like.
my $slow = $ENV{ECERT_TEST_SLOW} || 1;

$| = 1;
umask 022;
$SIG{PIPE} = 'IGNORE';
for my $signal (qw(INT TERM HUP)) {
    $SIG{$signal} = sub { exit 1 if $$ == $owner; POSIX::_exit(1) };
}

# The servers that this run is about: both, or what ECERT_SERVERS names.
sub servers {
    my @known = qw(nginx apache);
    my @wanted = split /[\s,]+/, $ENV{ECERT_SERVERS} || "@known";
    for my $name (@wanted) {
        grep { $_ eq $name } @known
            or BAIL_OUT("ECERT_SERVERS: $name is none of: @known");
    }
    return @wanted;
}

sub repository { return $root }

# The process that runs the test; children that it forks must not clean up.
sub owner { return $owner }

# Where the modules and the executable were built.
sub build_dir { return Cwd::abs_path($ENV{ECERT_BUILD} || "$root/build") }

# A path in the folder of test data, or undef where there is none.
sub test_data ($name) {
    my $file = ($ENV{ECERT_TEST_DATA} || "$root/../shared/data") . "/$name";
    return -e $file ? Cwd::abs_path($file) : undef;
}

# This test's own folder.  Workers pass through it, so it is open to read.
sub tmp {
    return $tmp if $tmp;
    $tmp = File::Temp::tempdir('ecert-test-XXXXXX', TMPDIR => 1);
    chmod 0755, $tmp;
    return $tmp;
}

# What so many seconds of an idle machine are on this one, which may run
# something slower, or be busy with other things, too.
sub patience ($seconds) {
    state $cpus = () = (slurp('/proc/cpuinfo') // '') =~ /^processor\b/mg;
    my ($load) = (slurp('/proc/loadavg') // '') =~ /^([\d.]+)/;
    return $seconds * $slow * List::Util::max(1, ($load // 0) / ($cpus || 1));
}

# Asks again and again until the answer is true, and returns it; the last
# false answer when the deadline (seconds) has passed.
sub wait_for ($ask, $deadline = 10) {
    my $end = Time::HiRes::time() + patience($deadline);
    while (1) {
        my $answer = $ask->();
        return $answer if $answer || Time::HiRes::time() > $end;
        Time::HiRes::sleep(0.01);
    }
}

# Seconds until it comes true, or undef after the deadline.
sub took ($ask, $deadline = 10) {
    my $begin = Time::HiRes::time();
    return wait_for($ask, $deadline) ? Time::HiRes::time() - $begin : undef;
}

# Runs a command without a shell: (exit status, output and errors together).
# The output goes through a file, because a daemon may keep a pipe open.
sub run (@command) {
    my $out = File::Temp->new(DIR => tmp());
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        open STDIN, '<', '/dev/null';
        open STDOUT, '>&', $out;
        open STDERR, '>&', $out;
        exec { $command[0] } @command or print "$command[0]: $!\n";
        POSIX::_exit(127);
    }
    waitpid $pid, 0;
    my $status = $? & 127 ? 128 + ($? & 127) : $? >> 8;
    return ($status, slurp($out->filename));
}

sub slurp ($file) {
    open my $in, '<:raw', $file or return undef;
    local $/;
    return scalar readline($in) // '';
}

# The library of another clock, where it is installed.
sub faketime {
    state @found = grep { -e } glob '/usr/lib/*/faketime/libfaketime.so.1';
    return $found[0];
}

# LD_PRELOAD with this library.  Sanitizers want to be first.
sub preloaded ($library) {
    return join ':', grep { length } $ENV{ECERT_TEST_PRELOAD} // '', $library;
}

# An executable that runs the command with libfaketime, and with what else is
# set: `FAKETIME='+0 x100'`.  Files keep their times.
sub command_at ($set) {
    state $n = 0;
    my $file = tmp() . '/command-at' . $n++;
    my $preload = preloaded(faketime());
    open my $out, '>', $file or die "$file: $!";
    print $out <<"END";
#!/bin/sh
export LD_PRELOAD=$preload NO_FAKE_STAT=1 $set
exec @{[ build_dir() ]}/ecert "\$@"
END
    close $out;
    chmod 0755, $file;
    return $file;
}

# For checks that must not end the test: the value, or undef after a die.
sub quietly ($ask) {
    local $@;
    return eval { $ask->() };
}

END {
    my $status = $?;
    if ($$ == $owner) {
        Ecert::Server->stop_all if Ecert::Server->can('stop_all');
        File::Path::remove_tree($tmp)
            if $tmp && !$ENV{ECERT_TEST_KEEP};
        print "# kept: $tmp\n" if $tmp && $ENV{ECERT_TEST_KEEP};
    }
    $? = $status;
}

1;
