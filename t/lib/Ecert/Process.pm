package Ecert::Process;

# What /proc tells about processes.

use v5.36;

# A process that waits to be reaped is not alive.
sub alive ($pid) {
    my ($state) = _stat($pid // 0);
    return defined $state && $state !~ /[ZX]/;
}

sub parent ($pid) { return (_stat($pid))[1] }

# Tells it from another one that has its number by now.
sub born ($pid) { return (_stat($pid))[2] }

sub children ($parent) {
    return grep {
        my ($state, $ppid) = _stat($_);
        defined $ppid && $ppid == $parent && $state !~ /[ZX]/;
    } _all();
}

# Processes of an executable of this name whose standard error is this file.
sub find ($name, $log) {
    return grep {
        (readlink("/proc/$_/exe") // '') =~ m{/\Q$name\E(?: \(deleted\))?$}
            && (readlink("/proc/$_/fd/2") // '') eq $log
            && alive($_);
    } _all();
}

# The name that it gave itself.
sub comm ($pid) {
    open my $in, '<', "/proc/$pid/comm" or return '';
    return (readline($in) // '') =~ s/\n//r;
}

sub command ($pid) {
    open my $in, '<', "/proc/$pid/cmdline" or return '';
    local $/;
    return (readline($in) // '') =~ tr/\0/ /r;
}

# Whether its command line names this folder: it may be another one by now.
sub is_of ($pid, $dir) { return index(command($pid), "$dir/") >= 0 }

# (real uid, effective uid, saved uid, file system uid)
sub uids ($pid) {
    open my $in, '<', "/proc/$pid/status" or return;
    my ($line) = grep { /^Uid:/ } readline $in;
    return ($line // '') =~ /(\d+)/g;
}

sub descriptors ($pid) {
    opendir my $dir, "/proc/$pid/fd" or return;
    return map { $_ => readlink "/proc/$pid/fd/$_" }
        grep { /^\d/ } readdir $dir;
}

sub _all {
    opendir my $dir, '/proc' or die "/proc: $!";
    return grep { /^\d+$/ } readdir $dir;
}

# (state, parent, when it began)
sub _stat ($pid) {
    open my $in, '<', "/proc/$pid/stat" or return;
    return (readline($in) // '')
        =~ /^\d+ \(.*\) (\S) (\d+)(?: \S+){17} (\d+)/;
}

1;
