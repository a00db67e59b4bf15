package Ecert::Synced;

# Whether all that a command did is on the disk when it ends, and in an order
# that a power cut cannot turn round.  Out of its calls (Ecert::Strace->calls):
#
# - what is renamed or linked to a name that readers look at was synced after
#   its last write, a folder with all that is in it;
# - the folder that it came into was synced before anything else was put
#   anywhere, and before the end;
# - what is written in its place (a log) is synced before the end.
#
# Temporary names (Ecert::Strace->temporary) are nobody's until they are renamed.

use v5.36;

use Ecert::Strace;

# (Sentences about what is wrong, empty when all is well.)  Only below these
# folders; \%seen counts what was put in its place, and what was synced.
sub wrong ($class, $dirs, $seen, @calls) {
    my $disk = bless { dirs => $dirs, seen => $seen, written => {},
        changed => {}, wrong => [] }, $class;
    for my $call (@calls) {
        my $do = $class->can("_on_$call->{name}") or next;
        next if $call->{text} !~ /\) = \d/;
        $disk->$do($call->{text});
    }
    $disk->_settled('at the end');
    push @{ $disk->{wrong} }, map { "$_ was written, and not synced" }
        grep { !Ecert::Strace->temporary($_) } sort keys %{ $disk->{written} };
    return @{ $disk->{wrong} };
}

# --- what was called with

sub _paths ($text) {
    my @paths;
    my $at = '';
    while ($text =~ /\G[^"<]*?(?:(?:\d+|AT_FDCWD)<([^>]*)>|"([^"]*)")/gc) {
        my ($fd, $name) = ($1, $2);
        if (defined $fd) { $at = $fd }
        else { push @paths, $name =~ m{^/} ? $name : "$at/$name" }
    }
    return @paths;
}

sub _fd ($text) { return $text =~ /^\d+<([^>]*)>/ ? $1 : '' }

sub _split ($path) { return $path =~ m{^(.*)/([^/]+)$} }

sub _ours ($disk, $path) {
    return grep { $path eq $_ || index($path, "$_/") == 0 } @{ $disk->{dirs} };
}

# --- what is not on the disk yet

sub _wrote ($disk, $path) {
    $disk->{written}{$path} = 1 if $disk->_ours($path);
}

sub _came ($disk, $path) {
    my ($folder, $name) = _split($path);
    $disk->{changed}{$folder}{$name} = 1 if $disk->_ours($path);
}

sub _gone ($disk, $path) {
    my ($folder, $name) = _split($path);
    my $below = qr/^\Q$path\E(?:\/|$)/;
    delete $disk->{changed}{$folder}{$name};
    delete $disk->{$_}->@{ grep { /$below/ } keys %{ $disk->{$_} } }
        for qw(written changed);
}

sub _move ($disk, $old, $new) {
    my %late;
    for my $what (qw(written changed)) {
        my $all = $disk->{$what};
        $late{$what} = { map { ($new . substr $_, length $old) => $all->{$_} }
            grep { $_ eq $old || index($_, "$old/") == 0 } keys %$all };
    }
    $disk->_gone($old);
    $disk->{$_}->@{ keys $late{$_}->%* } = values $late{$_}->%*
        for keys %late;
}

# Names that readers look at, of folders that were not synced since.
sub _open ($disk, $below = '') {
    my $changed = $disk->{changed};
    return map { my $folder = $_; map { "$folder/$_" }
            sort keys %{ $changed->{$folder} } }
        grep { "$_/" =~ /^\Q$below\E/ } sort keys %$changed;
}

sub _settled ($disk, $when) {
    for my $path (grep { !Ecert::Strace->temporary($_) } $disk->_open) {
        push @{ $disk->{wrong} }, "the folder of $path is not synced $when";
        my ($folder, $name) = _split($path);
        delete $disk->{changed}{$folder}{$name};
    }
}

sub _put ($disk, $old, $new) {
    return if !$disk->_ours($new);
    if (!Ecert::Strace->temporary($new)) {
        $disk->{seen}{put}++;
        $disk->_settled("before $new is put in its place");
        my @late = (grep({ $_ eq $old || index($_, "$old/") == 0 }
            sort keys %{ $disk->{written} }), $disk->_open("$old/"));
        push @{ $disk->{wrong} },
            map { "$_ is put in its place ($new) before it is synced" } @late;
    }
    $disk->_gone($new);
    $disk->_move($old, $new);
    $disk->_came($_) for $new, grep { !Ecert::Strace->temporary($_) } $old;
}

# --- the calls

sub _on_openat ($disk, $text) {
    return if $text !~ /O_CREAT|O_TRUNC/;
    my ($path) = _paths($text);
    $disk->_wrote($path);
    $disk->_came($path) if $text =~ /O_CREAT/;
}

sub _on_write ($disk, $text) { $disk->_wrote(_fd($text)) }

sub _on_fsync ($disk, $text) {
    my $path = _fd($text);
    $disk->{seen}{synced}++ if $disk->_ours($path);
    delete $disk->{$_}{$path} for qw(written changed);
}

sub _on_renameat2 ($disk, $text) { $disk->_put((_paths($text))[0, 1]) }

sub _on_mkdirat ($disk, $text) { $disk->_came((_paths($text))[0]) }

# The link's own text is no path to look at.
sub _on_symlinkat ($disk, $text) { $disk->_came((_paths($text))[1]) }

sub _on_unlinkat ($disk, $text) {
    my ($path) = _paths($text);
    $disk->_gone($path);
    $disk->_came($path);
}

{
    no strict 'refs';
    *{"_on_$_"} = \&_on_openat for qw(open);
    *{"_on_$_"} = \&_on_write
        for qw(writev pwrite64 pwritev ftruncate fallocate);
    *{"_on_$_"} = \&_on_fsync for qw(fdatasync);
    *{"_on_$_"} = \&_on_renameat2 for qw(rename renameat link linkat);
    *{"_on_$_"} = \&_on_mkdirat for qw(mkdir);
    *{"_on_$_"} = \&_on_symlinkat for qw(symlink);
    *{"_on_$_"} = \&_on_unlinkat for qw(unlink rmdir);
}

1;
