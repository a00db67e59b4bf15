package Ecert::Terminal;

# A command at a terminal of its own, and somebody who types:
#
#   my $terminal = Ecert::Terminal->new([$ecert, 'backup', ...], %environment);
#   $terminal->waits_for(qr/Password for .*: $/) or die;
#   $terminal->types("secret\n");
#   my $status = $terminal->ends;      # exit status, 128 + n for a signal
#   $terminal->shown                   # all that was on the screen

use v5.36;

use POSIX ();

use Ecert::Test ();

# <asm-generic/ioctls.h>; the pty is made by hand, as Perl's core has no way.
my ($unlock, $number) = (0x40045431, 0x80045430);

sub new ($class, $command, %environment) {
    open my $master, '+<:raw', '/dev/ptmx' or die "/dev/ptmx: $!";
    my $n = pack 'i', 0;
    ioctl $master, $unlock, $n or die "unlock the pty: $!";
    ioctl $master, $number, $n or die "number of the pty: $!";
    my $name = '/dev/pts/' . unpack 'i', $n;
    # Kept open, so that its settings can be asked for.
    open my $slave, '+<:raw', $name or die "$name: $!";

    my $pid = fork // die "fork: $!";
    if (!$pid) {
        POSIX::setsid();
        # The first one that a session opens becomes its terminal.
        open my $tty, '+<', $name or POSIX::_exit(126);
        open STDIN, '<&', $tty;
        open STDOUT, '>&', $tty;
        open STDERR, '>&', $tty;
        @ENV{keys %environment} = values %environment;
        exec { $command->[0] } @$command or POSIX::_exit(127);
    }
    $master->blocking(0);
    return bless { master => $master, slave => $slave, pid => $pid,
        shown => '', seen => 0 }, $class;
}

sub _read ($terminal) {
    while (sysread $terminal->{master}, my $bytes, 4096) {
        $terminal->{shown} .= $bytes;
    }
}

sub shown ($terminal) {
    $terminal->_read;
    return $terminal->{shown};
}

# Whether this comes onto the screen, after what was waited for before.
sub waits_for ($terminal, $regex) {
    return Ecert::Test::wait_for(sub {
        my $new = substr $terminal->shown, $terminal->{seen};
        $new =~ $regex or return 0;
        $terminal->{seen} += $+[0];
        return 1;
    });
}

# Whether it shows what is typed.
sub echoes ($terminal) {
    my $termios = POSIX::Termios->new;
    $termios->getattr(fileno $terminal->{slave}) // die "termios: $!";
    return $termios->getlflag & POSIX::ECHO() ? 1 : 0;
}

sub types ($terminal, $text) {
    syswrite $terminal->{master}, $text;
}

sub ends ($terminal) {
    my $gone = Ecert::Test::wait_for(sub {
        $terminal->_read;
        waitpid($terminal->{pid}, POSIX::WNOHANG()) == $terminal->{pid};
    });
    my $status = $?;
    if (!$gone) {
        kill 'KILL', $terminal->{pid};
        waitpid $terminal->{pid}, 0;
        return 'does not end';
    }
    $terminal->_read;
    delete $terminal->{pid};
    return $status & 127 ? 128 + ($status & 127) : $status >> 8;
}

sub DESTROY ($terminal) {
    kill 'KILL', $terminal->{pid} if $terminal->{pid};
}

1;
