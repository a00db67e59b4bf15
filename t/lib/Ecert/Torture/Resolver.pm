package Ecert::Torture::Resolver;

# A name server on loopback that takes its time, for one server and its agent:
# in a mount namespace of theirs, where /etc/resolv.conf names it.
#
#   my $names = Ecert::Torture::Resolver->new('slow.example.hk' => 4);
#   $t->begin(wrap => [$names->wrap]);
#
# It knows the names that it is given, at 127.0.0.1, and answers after so many
# seconds; others are unknown, at once.

use v5.36;

use IO::Socket::INET;
use POSIX ();
use Time::HiRes ();

use Ecert::Test;

# Of this process alone.
my $address = sprintf '127.53.%d.%d', $$ >> 8 & 255, $$ & 127 | 1;

# Nothing where that cannot be had.
sub new ($class, %seconds) {
    state $n = 0;
    my $socket = IO::Socket::INET->new(Proto => 'udp',
        LocalAddr => $address, LocalPort => 53) or return;
    (run('unshare', '--mount', 'true'))[0] == 0 or return;
    my $names = bless { seconds => \%seconds, owner => $$,
        file => tmp() . '/resolv' . $n++ }, $class;
    open my $out, '>', $names->{file} or die "$names->{file}: $!";
    print $out "nameserver $address\n";
    close $out or die "$names->{file}: $!";
    my $parent = $$;
    $names->{pid} = fork // die "fork: $!";
    return $names if $names->{pid};
    $names->_answer($socket, $parent);
    POSIX::_exit(0);
}

# What goes before the server's command.
sub wrap ($names) {
    return ('unshare', '--mount', 'sh', '-c',
        'mount --bind "$0" /etc/resolv.conf && exec "$@"', $names->{file});
}

# Answers wait in the order in which they are due.
sub _answer ($names, $socket, $parent) {
    my @due;
    while (getppid == $parent) {
        vec(my $in = '', fileno $socket, 1) = 1;
        my $ready = select $in, undef, undef, 0.05;
        if ($ready > 0 && (my $from = $socket->recv(my $query, 512))) {
            my ($answer, $seconds) = $names->_reply($query);
            push @due, [Time::HiRes::time() + $seconds, $answer, $from];
        }
        my $now = Time::HiRes::time();
        $socket->send($_->[1], 0, $_->[2]) for grep { $_->[0] <= $now } @due;
        @due = grep { $_->[0] > $now } @due;
    }
}

# (answer, seconds until it is sent).  Only for IPv4 there is an address.
sub _reply ($names, $query) {
    my ($id, $question) = (substr($query, 0, 2), substr $query, 12);
    my ($labels) = $question =~ /^(.*?)\0/s;
    $question = substr $question, 0, length($labels) + 5;
    my $type = unpack 'x' . (length($labels) + 1) . ' n', $question;
    my $seconds = $names->{seconds}{ lc join '.', unpack '(C/a)*', $labels };
    my $found = defined $seconds && $type == 1;
    my $header = pack 'n5', defined $seconds ? 0x8180 : 0x8183, 1,
        $found ? 1 : 0, 0, 0;
    my $record = $found
        ? pack 'n3 N n C4', 0xc00c, 1, 1, 1, 4, 127, 0, 0, 1 : '';
    return ("$id$header$question$record", $seconds // 0);
}

sub DESTROY ($names) {
    return if $$ != $names->{owner};
    local $?;
    kill 'KILL', $names->{pid};
    waitpid $names->{pid}, 0;
}

1;
