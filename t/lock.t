#!/usr/bin/perl

# One command at a time changes a store: whoever comes meanwhile waits, says so,
# and goes on when the other has ended, also when it was killed.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Fcntl qw(:DEFAULT :flock);
use POSIX ();

use Ecert::Process;
use Ecert::Scenes;
use Ecert::Strace;
use Ecert::Test;
use Ecert::Tries;
use Ecert::Whole;

my $site = Ecert::Scenes->site;
my $n = 0;

subtest 'the holder is killed' => \&killed_holder;
subtest 'many at once' => \&at_once;
subtest 'install and rollback at once' => \&to_and_fro;
done_testing;

# Starts a command: { pid, out }.
sub start (@command) {
    my $out = tmp() . '/started' . $n++;
    my $pid = fork // die "fork: $!";
    return { pid => $pid, out => $out } if $pid;

    open STDIN, '<', '/dev/null';
    open STDOUT, '>', $out;
    open STDERR, '>&', \*STDOUT;
    exec { $command[0] } @command or POSIX::_exit(127);
}

sub ended ($started) {
    my $gone = wait_for(
        sub { waitpid($started->{pid}, POSIX::WNOHANG()) != 0 }, 30);
    my $status = $?;
    return $gone ? $status : 'it hangs';
}

sub is_locked ($store) {
    sysopen my $dir, $store, O_RDONLY | O_DIRECTORY or die "$store: $!";
    return !flock $dir, LOCK_EX | LOCK_NB;
}

sub killed_holder {
    my $missing = Ecert::Strace->missing;
    plan skip_all => $missing if $missing;
    my $scene = scene_of('rollback');
    my $dir = Ecert::Tries::copy($scene, tmp() . '/held');

    # In the midst of the swap, when its record is there.
    my $holder = start('strace', '-qq', '-o', '/dev/null', '-e',
        'inject=symlinkat:delay_enter=60s:when=1', $scene->command($dir));
    ok wait_for(sub { -e "$dir/store/sites/$site/.swap.json" }),
        'one has begun';
    ok is_locked("$dir/store"), 'it has the lock';
    my $next = start($scene->command($dir));
    ok wait_for(sub { (slurp($next->{out}) // '') =~ /waiting for it/ }),
        'the next one waits and says so';
    is waitpid($next->{pid}, POSIX::WNOHANG()), 0, 'it does wait';

    # While strace stops it, it does not even die.
    kill 'KILL', Ecert::Process::children($holder->{pid}), $holder->{pid};
    is ended($holder), 9, 'the holder is killed';
    is ended($next), 0, 'the next one goes on';
    is_deeply [not_new($scene, $dir)], [], 'it did its work';
    is_deeply [Ecert::Whole::leftovers($dir)], [], 'and tidied up';
}

sub at_once {
    my $scene = Ecert::Scenes->make('new, renewal');
    my $dir = $scene->prepare(tmp() . '/many');
    my @all = map { start($scene->command($dir)) } 1 .. 6;
    is_deeply [map { ended($_) } @all], [(0) x 6], 'all end well';
    my $facts = Ecert::Whole::facts($dir);
    is scalar(grep { /^request / } keys %$facts), 6, 'six requests';
    is_deeply [Ecert::Whole::broken_pairs($dir)], [], 'each whole';
    my @log = split /\n/, slurp("$dir/store/log");
    is scalar(grep { /"command":"new"/ } @log), 7, 'each in the log';
}

# From the same state to two others: what comes out is one of them.
sub to_and_fro {
    my $scene = Ecert::Scenes->make('restore');
    my $dir = $scene->prepare(tmp() . '/fro');
    is ended(start($scene->command($dir))), 0, 'two generations';
    my %like;
    for my $generation (2, 1) {
        is ended(start($scene->arguments($dir, 'rollback', $site,
            $generation))), 0, "generation $generation";
        my $facts = Ecert::Whole::facts($dir);
        $like{"$facts->{current} $facts->{names}"} = 1;
    }
    is scalar keys %like, 2, 'they differ in the names';
    for my $round (1 .. 5) {
        my @both = map { start($scene->arguments($dir, 'rollback', $site, $_)) }
            $round % 2 ? (1, 2) : (2, 1);
        is_deeply [map { ended($_) } @both], [0, 0], "$round: both end well";
        my $facts = Ecert::Whole::facts($dir);
        ok $like{"$facts->{current} $facts->{names}"},
            "$round: the one or the other";
    }
    is_deeply [Ecert::Whole::leftovers($dir)], [], 'nothing left';
}
