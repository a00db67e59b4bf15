package Ecert::Says;

# Tables of what the command says: arguments, exit code, messages; at another
# time, and on a terminal.

use v5.36;

use Exporter 'import';
use File::Temp ();
use POSIX ();

use Ecert::Test;

our @EXPORT = qw(says parts at_time on_terminal quoted request_text day_of);

my $ecert = build_dir() . '/ecert';

# Each row: [[arguments], exit code, patterns...].  All of them are looked for
# in output and errors together; one in a list of its own must not be there.
sub says ($store, @rows) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    for (@rows) {
        my ($args, $code, @patterns) = @$_;
        my ($status, $out, $err) = parts($store, @$args);
        my $what = join ' ', 'ecert', map { s/\n.*/.../sr } @$args;
        is $status, $code, "$what: exit code $code" or diag $out, $err;
        for my $pattern (@patterns) {
            ref $pattern eq 'ARRAY'
                ? unlike "$err$out", $pattern->[0], 'this is not said'
                : like "$err$out", $pattern, 'it says so';
        }
    }
}

# (exit code, standard output, standard error); input => a file for standard
# input, as the first element in a hash.
sub parts ($store, @args) {
    my %o = ref $args[0] ? %{ shift @args } : ();
    my @files = map { tmp() . "/$_" } qw(stdout stderr);
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        $ENV{ECERT_STORE} = ref $store ? $store->dir : $store;
        open STDIN, '<', $o{input} // '/dev/null';
        open STDOUT, '>', $files[0];
        open STDERR, '>', $files[1];
        exec { $ecert } $ecert, @args or POSIX::_exit(127);
    }
    waitpid $pid, 0;
    my $status = $? & 127 ? 128 + ($? & 127) : $? >> 8;
    return ($status, map { slurp($_) } @files);
}

# Runs the code with the command's clock at this time (UTC), as in
# '2028-03-14 12:00:00'.  Returns nothing, without running it, where there is
# no libfaketime.
sub at_time ($when, $code) {
    return if !faketime();
    local $ENV{LD_PRELOAD} = preloaded(faketime());
    local $ENV{FAKETIME} = "@ $when" =~ s/^@ /@/r;
    local $ENV{FAKETIME_DONT_FAKE_MONOTONIC} = 1;
    local $ENV{TZ} = 'UTC';
    $code->();
    return 1;
}

sub quoted ($word) { return q(') . $word =~ s/'/'\\''/gr . q(') }

# What a terminal shows: (exit code, all of it), through a pseudo-terminal.
sub on_terminal ($store, @args) {
    local $ENV{ECERT_STORE} = ref $store ? $store->dir : $store;
    local $ENV{TERM} = $ENV{TERM} // 'xterm';
    my ($status, $out) = run('script', '-qec',
        join(' ', map { quoted($_) } $ecert, @args), '/dev/null');
    return ($status, $out =~ s/\r\n/\n/gr);
}

# The request as OpenSSL reads it.
sub request_text ($pem) {
    my $file = File::Temp->new(DIR => tmp());
    print $file $pem;
    close $file;
    my ($status, $out) = run('openssl', 'req', '-in', $file->filename,
        '-noout', '-verify', '-text', '-nameopt', 'utf8,show_type,esc_ctrl');
    return $status == 0 ? $out : "openssl req: $out";
}

# A day as the command writes it.
sub day_of ($time) { return POSIX::strftime('%Y-%m-%d', gmtime $time) }

1;
