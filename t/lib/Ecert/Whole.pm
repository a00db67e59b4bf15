package Ecert::Whole;

# What a store has to be at any moment, whatever was killed or refused: the old
# state or the new one, each certificate with its own key, every key out of
# reach of others, nothing of before lost.
#
#   my $facts = Ecert::Whole::facts($dir);     # of a scene's folder
#   my @wrong = Ecert::Whole::wrong($dir, $old, $new);
#   my @left = Ecert::Whole::leftovers($dir);
#   my $same = Ecert::Whole::files($dir) eq Ecert::Whole::files($other);
#
# Each answer of wrong and leftovers is a list of sentences, empty when all is well.

use v5.36;

use Digest::SHA ();
use File::Find ();
use JSON::PP ();
use Net::SSLeay;

use Ecert::Cert;
use Ecert::Command;
use Ecert::Scenes;
use Ecert::Test;

my $json = JSON::PP->new->utf8->canonical->allow_nonref;

sub _entries ($dir) {
    opendir my $in, $dir or return;
    return sort grep { !/^\./ } readdir $in;
}

sub _digest (@bytes) { return Digest::SHA::sha256_hex(join "\0", @bytes) }

sub _read_json ($file) {
    my $text = slurp($file) // return undef;
    return quietly(sub { $json->decode($text) });
}

# { what => state }: all that is to be old or new.
sub facts ($dir) {
    my $store = "$dir/store";
    my $home = "$store/sites/" . Ecert::Scenes->site;
    my $site = _read_json("$home/site.json");
    my %facts;

    $facts{current} = readlink "$home/current" if -l "$home/current";
    $facts{names} = $json->encode($site->{names}) if $site && $site->{names};
    $facts{site} = $json->encode({ %$site, names => undef }) if $site;
    for my $n (_entries("$home/generations")) {
        # generation.json tells when it was made.
        $facts{"generation $n"} = _digest(map {
            slurp("$home/generations/$n/$_") // '' }
            qw(certificate.pem chain.pem key.pem));
    }
    for my $n (_entries("$home/pending")) {
        my $request = _read_json("$home/pending/$n/request.json");
        $facts{"request $n"} = $request->{printed} ? 'handed out' : 'made';
    }
    $facts{"issuers/$_"} = slurp("$store/issuers/$_")
        for _entries("$store/issuers");
    for my $host (_entries("$store/dcv")) {
        $facts{"dcv/$host/$_"} = slurp("$store/dcv/$host/$_")
            for _entries("$store/dcv/$host");
    }
    $facts{"out/$_"} = 'there' for _entries("$dir/out");
    return \%facts;
}

# The facts that are neither the old nor the new ones.
sub mixed ($dir, $old, $new) {
    my $now = facts($dir);
    my %all = map { $_ => 1 } keys %$old, keys %$new, keys %$now;
    my @wrong;
    for my $what (sort keys %all) {
        my $is = $now->{$what} // 'nothing';
        next if $is eq ($old->{$what} // 'nothing')
            || $is eq ($new->{$what} // 'nothing')
            || $what eq 'names' && _is_between($is, $old, $new);
        push @wrong, "$what is neither old nor new: $is";
    }
    return @wrong;
}

# While the link is swapped a site has to cover what both certificates do.
sub _is_between ($is, $old, $new) {
    my %n = map { $_ => 1 } @{ $json->decode($new->{names} // '[]') };
    return $is eq $json->encode(
        [grep { $n{$_} } @{ $json->decode($old->{names} // '[]') }]);
}

# The facts that are not those of another state.
sub differing ($dir, $wanted) {
    my $now = facts($dir);
    my %all = map { $_ => 1 } keys %$wanted, keys %$now;
    return map { "$_ is " . ($now->{$_} // 'nothing') . ', not '
            . ($wanted->{$_} // 'nothing') }
        grep { ($now->{$_} // '') ne ($wanted->{$_} // '') } sort keys %all;
}

# --- pairs

sub _belong ($x509, $key_file) {
    my $ctx = Net::SSLeay::CTX_new();
    my $ok = Net::SSLeay::CTX_use_certificate($ctx, $x509) == 1
        && Net::SSLeay::CTX_use_PrivateKey_file($ctx, $key_file,
            Net::SSLeay::FILETYPE_PEM()) == 1;
    Net::SSLeay::CTX_free($ctx);
    1 while Net::SSLeay::ERR_get_error();
    return $ok;
}

sub _pem ($file, $read) {
    my $bio = Net::SSLeay::BIO_new_file($file, 'r') or return undef;
    my $handle = $read->($bio);
    Net::SSLeay::BIO_free($bio);
    return $handle;
}

sub _request_pair ($dir) {
    return 1 if !-e "$dir/request.csr" && -s "$dir/key.pem";
    my $csr = _pem("$dir/request.csr", \&Net::SSLeay::PEM_read_bio_X509_REQ)
        or return 0;
    my $key = _pem("$dir/key.pem", \&Net::SSLeay::PEM_read_bio_PrivateKey)
        or return 0;
    return Net::SSLeay::X509_REQ_verify($csr, $key) == 1;
}

# Generations and requests that have not all that belongs to one.
sub broken_pairs ($dir) {
    my $home = "$dir/store/sites/" . Ecert::Scenes->site;
    my @wrong;
    for my $n (_entries("$home/generations")) {
        my $at = "$home/generations/$n";
        my $leaf = _pem("$at/certificate.pem",
            \&Net::SSLeay::PEM_read_bio_X509);
        push @wrong, "generation $n is no pair"
            if !$leaf || !_belong($leaf, "$at/key.pem");
        push @wrong, "generation $n is not described"
            if !_read_json("$at/generation.json");
    }
    for my $n (_entries("$home/pending")) {
        push @wrong, "request $n is not whole"
            if !_request_pair("$home/pending/$n")
            || !_read_json("$home/pending/$n/request.json");
    }
    return @wrong;
}

# --- keys

# A file that holds a key: as text, or a PFX, also under a name of its own
# while it is being written.
sub _holds_key ($file) {
    return 1 if $file =~ /\.pfx(?:\.|\z)/;
    return (slurp($file) // '') =~ /PRIVATE KEY/;
}

# Files with keys that others could read, and folders that they could enter.
sub readable_keys ($dir) {
    my @wrong;
    File::Find::find({ no_chdir => 1, wanted => sub {
        my $mode = (lstat)[2] & 07777;
        if (-d _ && m{/sites(?:/|$)} && $mode & 077) {
            push @wrong, sprintf '%s has mode %04o', $_, $mode;
        } elsif (-f _ && $mode & 077 && _holds_key($_)) {
            push @wrong, sprintf '%s holds a key and has mode %04o', $_, $mode;
        }
    } }, grep { -e } "$dir/store", "$dir/out");
    return @wrong;
}

# A backup under its own name opens, and has all in it.
sub broken_backups ($dir) {
    my @wrong;
    for my $file (_entries("$dir/out")) {
        my ($status, $out) = run('openssl', 'pkcs12', '-in', "$dir/out/$file",
            '-passin', "file:$dir/in/password", '-nodes');
        my $certificates = () = $out =~ /BEGIN CERTIFICATE/g;
        my $wanted = $file =~ /^key/ ? 0 : 3; # with Sub CA and root
        push @wrong, "$file: " . substr $out, 0, 100 if $status != 0;
        push @wrong, "$file has no key" if $out !~ /PRIVATE KEY/;
        push @wrong, "$file has $certificates certificates"
            if $certificates != $wanted;
    }
    return @wrong;
}

# --- logs

# What was written before is there still; a line that was cut off may follow.
sub lost_log ($dir, $before) {
    my $log = slurp("$dir/store/log") // '';
    return 'the log lost something'
        if substr($log, 0, length $before) ne $before;
    my @bad = grep { !quietly(sub { $json->decode($_) }) } split /\n/, $log;
    return @bad > 1 ? 'the log has several lines that are none' : ();
}

# --- the product's own opinion

# ecert check and ecert status work, and know a certificate that is there.
# They say the same to the same files, of which each process asks once.
sub refused ($dir) {
    state %said;
    my $files = _listing($dir);
    return @{ $said{$files} //= [_refused($dir)] };
}

# All that those commands look at; of what is hidden only that it is there.
sub _listing ($dir) {
    my $facts = facts($dir);
    my %list = map { ("$_=$facts->{$_}" => 1) } keys %$facts;
    File::Find::find({ no_chdir => 1, wanted => sub {
        my $mode = (lstat)[2];
        my $path = substr($_, length $dir) =~ s{/\.[^/]*.*}{/.}r;
        $list{"$path $mode"} = 1;
    } }, grep { -e } "$dir/store");
    return join "\n", $dir =~ s/-\d+-\d+$//r, sort keys %list;
}

sub _refused ($dir) {
    my $site = Ecert::Scenes->site;
    my $home = "$dir/store/sites/$site";
    my @wrong;
    my ($status, $out) = ecert("$dir/store", 'check', $site);
    my $wanted = -l "$home/current" ? 0 : 1;
    push @wrong, "ecert check ends with $status: $out" if $status != $wanted;
    if (-d "$dir/store/sites") {
        my ($code, $text) = ecert("$dir/store", 'status', '--json', $site);
        push @wrong, "ecert status: $code: $text"
            if $code > 1 || -d $home && $text !~ /^\{.*"progress"/s;
    }
    return @wrong;
}

# All files and folders with their modes and bytes, as one digest.
sub files ($dir) {
    my @all;
    File::Find::find({ no_chdir => 1, wanted => sub {
        my $mode = (lstat)[2];
        push @all, substr($_, length $dir), $mode, -l _ ? readlink
            : -f _ ? slurp($_) : ();
    } }, $dir);
    return _digest(sort @all);
}

# --- all of it

# What must not be so, even in the moment after a kill.
sub wrong ($dir, $old, $new, $log) {
    return (mixed($dir, $old, $new), broken_pairs($dir), readable_keys($dir),
        broken_backups($dir), lost_log($dir, $log), refused($dir));
}

# What a command that came to its end must not leave behind.
sub leftovers ($dir) {
    my @left;
    File::Find::find({ no_chdir => 1, wanted => sub {
        return if !m{/(\.[^/]+)$} || $1 eq '.aside';
        push @left, "left behind: $_"
            if !m{/dcv/[^/]+/\.[^/]+\.(?:json|saved)$};
    } }, grep { -e } "$dir/store", "$dir/out");
    my $home = "$dir/store/sites/" . Ecert::Scenes->site;
    my $key = slurp("$home/current/key.pem") // return @left;
    for my $n (_entries("$home/pending")) {
        push @left, "request $n has the key of the current certificate"
            if (slurp("$home/pending/$n/key.pem") // '') eq $key;
    }
    return @left;
}

1;
