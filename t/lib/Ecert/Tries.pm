package Ecert::Tries;

# Many tries of one scene (Ecert::Scenes), each in a copy of its folder, shared
# out among two processes.

use v5.36;

use Errno ();
use Exporter 'import';
use File::Path ();
use JSON::PP ();
use POSIX ();
use Test::More;
use Time::HiRes ();

use Ecert::Scenes;
use Ecert::Strace;
use Ecert::Test ();
use Ecert::Whole;

our @EXPORT = qw(scene_of tries again_and_again not_new untouched
    is_refused fresh spread with_errors);

my $processes = 2;

# A scene with its template, its calls (as Ecert::Strace lists them, or
# Ecert::Refuse), and what is old and new: facts before the command and after.
sub scene_of ($name, $how = 'Ecert::Strace') {
    my $scene = Ecert::Scenes->make($name);
    my $base = Ecert::Test::tmp() . '/' . $name =~ s/\W+/-/gr;
    $scene->{dir} = $scene->prepare("$base-old");
    $scene->{log} = Ecert::Test::slurp("$base-old/store/log") // '';
    $scene->{old} = Ecert::Whole::facts("$base-old");
    $scene->{files} = Ecert::Whole::files("$base-old");

    my $dir = copy($scene, "$base-new");
    my ($status, $out, @calls) = $how->calls(
        [map { "$dir/$_" } qw(store out in)], $scene->command($dir));
    die "$name: $status: $out" if $status != 0;
    $scene->{calls} = \@calls;
    $scene->{new} = Ecert::Whole::facts($dir);
    $scene->{changed} =
        grep { ($scene->{old}{$_} // '') ne ($scene->{new}{$_} // '') }
        keys %{ $scene->{old} }, keys %{ $scene->{new} };
    my @wrong = (Ecert::Whole::wrong($dir, $scene->{new}, $scene->{new},
        $scene->{log}), Ecert::Whole::leftovers($dir));
    die "$name, left alone: @wrong" if @wrong;
    File::Path::remove_tree($dir);
    return $scene;
}

# Of calls those of a kind ($kind->($call)) that was in none of the scenes
# before, and so many of the others.
sub fresh ($seen, $kind, $others, @calls) {
    my %new = map { ($_ => 1) } grep { !$seen->{ $kind->($_) }++ } @calls;
    my %keep = map { ($_ => 1) } spread($others, grep { !$new{$_} } @calls);
    return grep { $new{$_} || $keep{$_} } @calls;
}

# The call once with each error that can become of it ([pattern of its name,
# errors...] of the list); without ECERT_TEST_ALL with one, the next for each
# next $i.  ECERT_ERRORS: only these, by a regular expression.
sub with_errors ($call, $i, @errors) {
    my ($fits) = grep { $call->{name} =~ $_->[0] } @errors;
    my ($pattern, @names) = @$fits;
    @names = $names[$i % @names] if !$ENV{ECERT_TEST_ALL};
    my $wanted = $ENV{ECERT_ERRORS} // '.';
    return map { { %$call, error => $_ } } grep { /$wanted/ } @names;
}

# So many of a list, from all over it.
sub spread ($n, @list) {
    return @list if @list <= $n;
    $n = int $n;
    return map { $list[($_ + 0.5) * @list / $n] } 0 .. $n - 1;
}

sub copy ($scene, $to) {
    my ($status, $out) = Ecert::Test::run('cp', '-a', $scene->{dir}, $to);
    $status == 0 or die "cp: $out";
    return $to;
}

# Tries all points: $try->($scene, $dir, $point) in a copy of the scene's folder gives
# sentences about what is wrong.  One test; returns how many were wrong.
sub tries ($scene, $what, $points, $try) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $begin = Time::HiRes::time();
    my @children = map { _fork($scene, $points, $try, $_) }
        0 .. $processes - 1;
    my @wrong = map { _gather($_) } @children;
    my $took = Time::HiRes::time() - $begin;

    ok @$points && !@wrong, "$scene->{name}: $what";
    diag $_ for @wrong > 20 ? (@wrong[0 .. 19], 'and more') : @wrong;
    note sprintf '%s: %d points, %.1f s', $scene->{name}, scalar @$points,
        $took;
    return scalar @wrong;
}

sub _fork ($scene, $points, $try, $k) {
    pipe my $in, my $out or die "pipe: $!";
    my $pid = fork // die "fork: $!";
    if ($pid) {
        close $out;
        return { pid => $pid, in => $in };
    }

    close $in;
    my (@wrong, $dir);
    for (my $i = $k; $i < @$points; $i += $processes) {
        $dir //= copy($scene, "$scene->{dir}-$k-$i");
        my @new = eval { $try->($scene, $dir, $points->[$i]) };
        push @new, "died: $@" if $@;
        push @wrong, map { "$scene->{name}, "
            . Ecert::Strace->name($points->[$i]) . ": $_" } @new;
        next if untouched($scene, $dir);
        File::Path::remove_tree($dir) if !@new || !$ENV{ECERT_TEST_KEEP};
        $dir = undef;
    }
    print $out JSON::PP::encode_json([map { s{\Q$scene->{dir}\E-\d+-\d+/}{}gr }
        @wrong]);
    close $out;
    POSIX::_exit(0);
}

sub _gather ($child) {
    local $/;
    my $text = readline $child->{in};
    waitpid $child->{pid}, 0;
    my $wrong = Ecert::Test::quietly(
        sub { JSON::PP::decode_json($text // '') });
    return $wrong ? @$wrong : "the process of these tries died: $?";
}

# All is as before the command, to the last byte: there is nothing to look at,
# and what the same command does again is known.
sub untouched ($scene, $dir) {
    return Ecert::Whole::files($dir) eq $scene->{files};
}

# The same command again: it ends well, or says that all is done already; then
# all is new, and nothing is left behind.
sub again_and_again ($scene, $dir) {
    return if untouched($scene, $dir);
    my ($status, $out) = Ecert::Test::run('timeout', 30,
        $scene->command($dir));
    my @wrong = $status == 0 || _done_already($scene, $dir, $out)
        ? () : "again: $status: $out";
    return (@wrong, not_new($scene, $dir, $scene->{again}),
        Ecert::Whole::leftovers($dir));
}

# A backup is never written over; nothing was left to do if it was recorded.
sub _done_already ($scene, $dir, $out) {
    return $out =~ /^ecert: missing: /m if $scene->{once};
    my $recorded = Ecert::Test::slurp("$dir/store/sites/"
        . Ecert::Scenes->site . '/backups.json') // '';
    return $scene->{name} =~ /^backup/ && $out =~ /^ecert: exists: /
        && $recorded =~ m{"file": "\Q$dir\E/out/};
}

# What is not as the command leaves it; more: so many requests may be there
# beside its own.
sub not_new ($scene, $dir, $more = 0) {
    my @wrong = Ecert::Whole::differing($dir, $scene->{new});
    my @requests = grep { /^request \d+ is made, not nothing/ } @wrong;
    return grep { !/^request \d+ is made, not nothing/ } @wrong
        if @requests <= $more;
    return @wrong;
}

# What is wrong after a call was refused with this error (its name): a command
# that says it is done has done all of it; one that fails says so in one line,
# with the file and the system's reason, and leaves the old state or the new one.
sub is_refused ($scene, $dir, $error, $status, $out) {
    my @wrong = $status == 0 ? _is_done($scene, $dir, $out)
        : $status == 1 ? _is_told($dir, $error, $out)
        : "ends with $status: $out";
    if (!untouched($scene, $dir)) {
        push @wrong, Ecert::Whole::wrong($dir, $scene->{old}, $scene->{new},
            $scene->{log}), again_and_again($scene, $dir),
            Ecert::Whole::broken_pairs($dir);
    }
    return map { "$error: $_" } @wrong;
}

# It went another way, and all is as if nothing had been.  What comes last may
# be missing if that is said: the line in the log, the note that a request was
# handed out, and the removal of the request whose certificate is there, which
# the next command takes care of.
sub _is_done ($scene, $dir, $out) {
    my $warned = $out =~ /^ecert: warning: /m;
    my @wrong = map { "exit 0, but $_" }
        grep { !$warned || !/^request/ } not_new($scene, $dir);
    push @wrong, 'exit 0, without a word in the log nor a warning'
        if !$warned && length($scene->{log})
            == length(Ecert::Test::slurp("$dir/store/log") // '');
    return @wrong;
}

sub _is_told ($dir, $error, $out) {
    my @lines = grep { /^ecert: (?!warning)/ } split /\n/, $out;
    return 'exit 1, and says ' . @lines . " times why: $out" if @lines != 1;
    my $text = do { local $! = Errno->can($error)->(); "$!" };
    return () if $lines[0] =~ m{: /|\bmemory: }
        && $lines[0] =~ /\Q$text\E|not enough memory/;
    # The jail has a bound of its own.
    return () if $error eq 'ENOMEM' && $lines[0] =~ /: limits: /;
    return "does not say file and reason: $lines[0]";
}

1;
