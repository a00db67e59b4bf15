# The program of auto/bench, which tells its arguments.

use v5.36;

# Patience: valgrind is slow, and so is a start with a thousand sites.
BEGIN { $ENV{ECERT_TEST_SLOW} //= 10 }

use Getopt::Long ();

use Ecert::Bench;
use Ecert::Test;

my %piece = (handshake => 'Handshake', swap => 'Swap', dcv => 'DCV',
    idle => 'Idle', start => 'Start');
my @order = qw(handshake swap dcv idle start);

my %o = (sites => '', callgrind => 1);
Getopt::Long::GetOptions(\%o, 'quick', 'callgrind!', 'json=s', 'doc=s',
    'sites=s', 'swaps=i') or exit 2;
for my $word (@ARGV) {
    $piece{$word} or die "auto/bench: there is no $word; there are: @order\n";
}
my %wanted = map { $_ => 1 } @ARGV ? @ARGV : @order;
$> == 0 or die "auto/bench: as root, please: it looks into the servers\n";

my $bench = Ecert::Bench->new(%o,
    sites => [$o{sites} ? split /,/, $o{sites} : ()]);
$bench->say(machine => Ecert::Bench::machine_lines(), '');

for my $name (grep { $wanted{$_} } @order) {
    my $class = "Ecert::Bench::$piece{$name}";
    eval "require $class; 1" or die $@;
    my $begin = time;
    say "## $name\n";
    $class->can('measure')->($bench, servers());
    printf "%s: %d s\n\n", $name, time - $begin;
}

$bench->document($o{doc}) if $o{doc};
my @missed = $bench->missed;
say "$_->{server}, $_->{case}: $_->{what}: $_->{goal}: missed" for @missed;
