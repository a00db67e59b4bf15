#!/usr/bin/perl

# Set-up: which packages auto/setup wants, and that make is quick and quiet and
# nobody else's Makefile is touched.  No server is needed.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Cwd ();

use Ecert::Test;

my $root = "$FindBin::Bin/..";
my $tree = tmp() . '/tree';
mkdir $tree or die "$tree: $!";
symlink "$root/$_", "$tree/$_" or die "$_: $!"
    for qw(auto src modules t docs config);

subtest 'packages' => \&packages;
subtest 'the Makefile of the folder' => \&makefile;
subtest 'make' => \&make;
subtest 'where tests build' => \&build_dir_of_tests;
done_testing;

sub in_tree ($command) {
    return run('sh', '-c', "cd $tree && $command");
}

sub spurt ($path, $text) {
    open my $out, '>', $path or die "$path: $!";
    print $out $text;
    close $out or die "$path: $!";
}

sub script ($path, $text) {
    spurt($path, "#!/bin/sh\n$text\n");
    chmod 0755, $path or die "$path: $!";
}

# What it would install where no package is there; of apt-get and others none
# is called.
sub wanted (@args) {
    my $bin = tmp() . '/bin';
    mkdir $bin;
    script("$bin/$_", 'exit 1') for qw(dpkg-query apt-get update-rc.d);
    script("$bin/id", 'echo 1000');
    my ($status, $out) = in_tree("PATH=$bin:\$PATH auto/setup @args");
    my ($list) = $out =~ /as root, please: apt-get install (.*)/;
    return { map { $_ => 1 } split ' ', $list // '' };
}

sub packages {
    my $nginx = qr/^nginx/;
    my $apache = qr/^apache2/;
    for my $kind ('', qw(build demo test valgrind bench analyse)) {
        my $all = wanted($kind);
        ok $all->{'nginx-dev'} && $all->{'apache2-dev'} && $all->{curl},
            "auto/setup $kind: both servers, and curl";
        for my $option (['--without-nginx', $kind], [$kind, '--without-nginx'])
        {
            my $some = wanted(@$option);
            is_deeply [sort keys %$some], [grep { !/$nginx/ } sort keys %$all],
                "@$option: all but nginx";
        }
        is_deeply [sort keys %{ wanted('--without-apache', $kind) }],
            [grep { !/$apache/ } sort keys %$all], 'the same of Apache';
        ok !(grep { /$nginx|$apache/ }
            keys %{ wanted('--without-apache', '--without-nginx', $kind) }),
            '... of both';
    }
    is +(in_tree('auto/setup --with-nginx'))[0], 1, 'no such option';
    is +(in_tree('auto/setup build demo'))[0], 1, 'two kinds';
}

# Of all that configure besides the one who builds.
sub makefile {
    my ($status, $out) = in_tree('auto/configure --without-nginx');
    is $status, 0, 'configured by hand' or return diag $out;
    my %before = map { $_ => slurp("$tree/$_") } qw(Makefile build/Makefile);

    ($status, $out) = in_tree('auto/configure --without-nginx'
        . ' --without-apache --without-makefile --builddir=build/other');
    is $status, 0, '--without-makefile' or diag $out;
    ok -s "$tree/build/other/Makefile", '... it has one of its own';
    is slurp("$tree/$_"), $before{$_}, "... and $_ is as it was"
        for sort keys %before;

    for my $script (glob "$root/auto/*") {
        my $text = slurp($script);
        next if $text !~ m{^#!/bin/sh} || $script =~ m{/configure$};
        $text =~ s/\\\n//g;
        my @calls = grep { !/^\s*#/ && m{\bauto/configure } }
            split /\n/, $text;
        is scalar(grep { !/--without-makefile .*--builddir=/ } @calls), 0,
            $script =~ s{.*/}{auto/}r . ' leaves both alone' if @calls;
    }
}

# The lines that it would run; what the one Makefile calls the other with.
sub jobs (@flags) {
    my ($status, $out) = in_tree("make -n @flags all");
    my ($line) = $out =~ /^(.*--no-print-directory.*)$/m;
    return join ' ', ($line // '') =~ /(-j\S*)/g;
}

sub make {
    chomp(my $n = `nproc`);
    is jobs(), "-j$n", 'a job for each processor';
    is jobs($_), '', "none is said after $_" for '-j1', '-j', '-j7';
    my ($status, $out) = in_tree('make -n V=0 all');
    like $out, qr{^printf '  %-7s %s\\n' CC src/ecert_err\.c$}m, 'a short line';
    ($status, $out) = in_tree('make -n V=1 all');
    unlike $out, qr/printf/, 'V=1: the commands alone';
    ($status, $out) = in_tree('make -ns all');
    unlike $out, qr/printf/, '-s: nothing is said';

    my $object = "$tree/build/src/ecert_addr.o";
    my $one = "make -f build/Makefile $object";
    is +(in_tree($one))[1], "  CC      src/ecert_addr.c\n",
        'one file, one line';
    unlink $object;
    is +(in_tree("$one -s"))[1], '', 'and none with -s';
    unlink $object;
    like +(in_tree("$one V=1"))[1], qr/^\S+ -c -std=.* src\/ecert_addr\.c$/,
        'V=1 shows the command';
}

sub build_dir_of_tests {
    my $here = Cwd::abs_path($tree);
    my $ask = 'unset ECERT_BUILD; . auto/build_dir; printf %s "$ECERT_BUILD"';
    is +(in_tree($ask))[1], "$here/build/test",
        'not where somebody has built by hand';
    is +(in_tree("kind=coverage; $ask"))[1], "$here/build/coverage",
        'each kind has its own';
    unlink "$tree/build/configure.log";
    is +(in_tree($ask))[1], "$here/build", 'else in build';
    spurt("$tree/build/configure.log",
        "auto/configure --without-makefile --builddir=$here/build\n");
    is +(in_tree($ask))[1], "$here/build", '... again';
}
