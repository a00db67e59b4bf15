#!/usr/bin/perl

# What all commands have in common: help, usage, exit codes, colours, widths,
# JSON, and that they wait for each other.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Fcntl ();
use JSON::PP ();

use Ecert::Command;
use Ecert::PKI;
use Ecert::Says;
use Ecert::Store;
use Ecert::Test;

my $site = 'www.example.hk';
my $escape = qr/\x1b\[/;
my $empty = Ecert::Store->new;
my @all = (parts($empty, '--help'))[1] =~ /^  ([a-z]+(?: [a-z]+)?)  +\S/mg;
my %known = map { $_ => 1 } @all;

# The fewest words that each wants; those that are not here want none.
my %wants = ((map { $_ => 1 } 'new', 'csr', 'dcv remove', 'dcv sectigo',
    'dcv mail', 'install', 'issuers add', 'issuers remove', 'restore',
    'rollback', 'chain'), 'dcv add' => 2, 'dcv dns' => 2, backup => 1,
    agent => 1);

subtest 'the table' => \&table;
subtest 'help' => \&help;
subtest 'wrong usage' => \&usage;
subtest 'unknown commands' => \&unknown;
subtest 'no store' => \&no_store;
subtest 'JSON' => \&json;
subtest 'colours' => \&colours;
subtest 'fifty names in 79 columns' => \&widths;
subtest 'a key that takes its time' => \&slow_key;
subtest 'one after the other' => \&serialised;
subtest 'passwords' => \&passwords;
subtest 'what is pasted' => \&pasted;
subtest 'URLs in place of names' => \&urls;
subtest 'without root' => \&without_root;
subtest 'servers that cannot be asked' => \&hidden_servers;
done_testing;

sub table {
    is_deeply [grep { !$known{$_} } 'new', 'csr', 'dcv add', 'dcv list',
        'dcv remove', 'dcv sectigo', 'dcv dns', 'dcv mail', 'install',
        'issuers add', 'issuers list', 'issuers remove', 'backup', 'restore',
        'rollback', 'status', 'check', 'chain', 'log', 'calendar'], [],
        'all are told of';
    my ($status, $out, $err) = parts($empty, '--help');
    is "$status$err", '0', 'ecert --help';
    is_deeply [too_wide($out)], [], 'it fits into a terminal';
    like $out, qr/^Exit code: 0 done, 1 refused or failed, 2 wrong usage\.$/m,
        'exit codes';
}

sub help {
    for my $command (@all) {
        my ($status, $out, $err) = parts($empty, split(/ /, $command),
            '--help');
        is "$status$err", '0', "ecert $command --help";
        like $out, qr/^Usage: ecert \Q$command\E /, 'how it is called';
        like $out, qr/^Exit code: 0 /m, 'exit codes';
        is_deeply [too_wide($out)], [], 'it fits into a terminal';
        my ($example) = $out =~ /^Example: (ecert .*)/m;
        like $example, qr/^ecert \Q$command\E(?: |$)/, 'an example of it';
        my ($options) = $out =~ /\n\n((?:  .*\n)+)/;
        my %has = map { $_ => 1 } $options =~ /(--[a-z-]+)/g;
        is_deeply [grep { !$has{$_} } $example =~ /(--[a-z-]+)/g], [],
            'with options that it has';
    }
}

sub usage {
    for my $command (@all) {
        my @words = split / /, $command;
        says($empty, [[@words, '--no-such'], 2, qr/^ecert $command: .*--no-s/]);
        says($empty, [[@words], 2, qr/^ecert \Q$command\E: .*; see ecert/])
            if $wants{$command};
        my $n = $wants{$command} // 0;
        next if $n < 2;
        says($empty, [[@words, ('x') x ($n - 1)], 2, qr/; see ecert $command/]);
    }
    says($empty,
        [['backup', $site], 2, qr/NAME and -o FILE are wanted/],
        [['new', $site, '--name'], 2, qr/'--name' requires an argument/],
        [['csr', $site, '--request', '-1'], 2, qr/"-1" is no number/],
        [['rollback', $site, 'zero'], 2, qr/"zero" is no number/],
        [['rollback', $site, '1', '2'], 2, qr/NAME is wanted, and N at most/]);
}

sub unknown {
    says($empty,
        [[], 2, qr/^Usage: ecert COMMAND/],
        [['statsu'], 2,
            qr/\Aecert: there is no command "statsu"\nSee ecert --help\.\n\z/],
        [['dc'], 2, qr/there is no command "dc"/],
        [['dcv'], 2, qr/^ecert dcv: which of these\?\n  ecert dcv add  /,
            qr/^  ecert dcv mail  /m, [qr/issuers|^Usage/m]],
        [['dcv', '--help'], 0, qr/^  ecert dcv add /m],
        [['dcv', 'chekc'], 2, qr/\Aecert dcv: there is no command "chekc"; /,
            qr/; there are: add, list, remove, sectigo, dns, mail, check\n\z/],
        [['issuers', 'delete', 'x'], 2, qr/^ecert issuers: .* "delete"; there/,
            qr/: add, list, remove, update\n\z/],
        [['dcv add', $site], 2],
        [["new\e[31m"], 2, [$escape]], [['dcv', "ad\e[31m"], 2, [$escape]]);
}

sub no_store {
    my $none = tmp() . '/no/store';
    my $why = qr/^ecert: missing: \Q$none\E: .*; there is no store yet: ecert new /;
    says($none, map { [$_, 1, $why, qr/ makes it, or say --store DIR\n\z/] }
        ['status'], ['check'], ['calendar'], ['dcv', 'remove', $site],
        ['issuers', 'remove', 'x']);
    ok !-e $none, 'and none is made';
}

sub json {
    my $store = filled();
    for my $args (['status'], ['status', $site], ['check'], ['dcv', 'list'],
        ['issuers', 'list'], ['log'], ['log', $site], ['calendar']) {
        my ($status, $out, $err) = parts($store, @$args, '--json');
        my $top = quietly(sub { JSON::PP->new->utf8->decode($out) });
        is "$top->{schema} $top->{version}", 'ecert-status 1', "@$args --json"
            or diag $err;
        is $top->{store}, $store->dir, 'of the store';
        unlike +(on_terminal($store, @$args, '--json'))[1], $escape,
            'never in colour';
    }
}

# A site with a certificate, a request that waits and validation files, of n
# names.
sub filled ($n = 2) {
    my $pki = Ecert::PKI->new;
    my $store = Ecert::Store->new->add_issuers($pki->sub, $pki->cross);
    my @names = ($site, map { "host$_.example.hk" } 2 .. $n);
    my @more = map { ('--name', $_) } @names[1 .. $#names];
    ecert($store, 'new', $site, '--key', 'ec:P-256', @more, '--org',
        '香港測試有限公司');
    my $cert = signed($pki, csr_of($store, $site, '--no-backup'),
        names => \@names);
    ecert($store, 'install', $site, $cert->file(tmp() . '/filled.pem'));
    ecert($store, 'new', $site);
    ecert($store, 'dcv', 'add', $site,
        $store->put(tmp() . '/fileauth.txt', 'code', 0644));
    return $store;
}

sub colours {
    my $store = filled();
    my @shown = (['status', $site], ['calendar'], ['issuers', 'list'],
        ['csr', $site]);
    for my $args (@shown) {
        local $ENV{TERM} = 'xterm';
        delete local $ENV{NO_COLOR};
        like +(on_terminal($store, @$args))[1], $escape,
            "ecert @$args: in colour on a terminal";
        my ($status, $out, $err) = parts($store, @$args);
        unlike "$out$err", $escape, 'not elsewhere';
        my $plain = (on_terminal($store, @$args))[1] =~ s/\x1b\[\d*m//gr;
        for (['NO_COLOR', '1'], ['TERM', 'dumb'], ['TERM', '']) {
            local $ENV{ $_->[0] } = $_->[1];
            is +(on_terminal($store, @$args))[1], $plain,
                "$_->[0]=$_->[1]: the same words without";
        }
        local $ENV{NO_COLOR} = '';
        like +(on_terminal($store, @$args))[1], $escape,
            'an empty NO_COLOR does not count';
    }
}

# Lines wider than a terminal.  What is to be copied is never broken: URLs,
# paths, and the commands that are proposed.
sub too_wide ($text) {
    utf8::decode($text);
    my $dir = tmp();
    $text =~ s{\Q$dir\E/store\d+}{/var/lib/ecert}g;
    return grep { (tr/\x{2e80}-\x{ffff}// + length) > 79 && !m{\S{48}} }
        split /\n/, $text;
}

sub widths {
    my $store = filled(50);
    my $dir = tmp();
    my $token = $store->put("$dir/fileauth.txt", "\xef\xbb\xbfnew-code", 0644);
    my @password = ('--password-file', password_file());
    for my $args (['new', $site], ['csr', $site, '--no-backup'],
        ['dcv', 'add', $site, $token], ['dcv', 'list'],
        ['dcv', 'dns', $site, 'code'], ['dcv', 'sectigo', $site],
        ['backup', $site, '--pending', '-o', "$dir/w.pfx", @password],
        ['backup', $site, '-o', "$dir/v.pfx", @password],
        ['install', $site, "$dir/filled.pem"], ['rollback', $site],
        ['issuers', 'list'], ['log'], ['log', $site], ['calendar'],
        ['calendar', '--subscription-until', '2031-01-01'],
        ['status', $site], ['status'], ['dcv', 'remove', $site]) {
        my ($status, $out, $err) = parts($store, @$args);
        is_deeply [too_wide("$out$err" =~ s/^ecert: .*\n//mgr)], [],
            "ecert @$args";
    }
}

sub slow_key {
    my $store = Ecert::Store->new;
    my @args = ('new', $site, '--key', 'rsa:4096');
    like +(on_terminal($store, @args))[1], qr/making the key \.*\r\x1b\[K/,
        'a terminal shows that it works, then wipes it away';
    {
        local $ENV{TERM} = 'dumb';
        my ($status, $out) = on_terminal($store, @args);
        like $out, qr/making the key \.*\n/, 'a dumb one too';
        unlike $out, $escape, 'with a line of its own';
    }
    my ($status, $out, $err) = parts($store, @args);
    is "$status$err", '0', 'nothing of it in a pipe';
    unlike $out, qr/making/, 'nor among the output';
}

# The lock is held by us: the command says that it waits, and goes on.
sub serialised {
    my $store = Ecert::Store->new;
    local $ENV{ECERT_STORE} = $store->dir;
    my $said = tmp() . '/said';
    opendir my $dir, $store->dir or die $!;
    open my $lock, '<', $store->dir or die $!;
    flock $lock, Fcntl::LOCK_EX or die "flock: $!";
    my $pid = fork // die $!;
    if (!$pid) {
        close $lock;
        open STDERR, '>', $said;
        open STDOUT, '>', '/dev/null';
        exec build_dir() . '/ecert', 'new', $site, '--key', 'ec:P-256';
    }
    ok wait_for(sub { (slurp($said) // '') =~ /^ecert: another command is / }),
        'it says that it waits';
    ok !-e $store->site_dir($site), 'and does';
    close $lock;
    waitpid $pid, 0;
    is $?, 0, 'then it does its work';
    ok -e $store->site_dir($site) . '/pending/1/key.pem', 'all of it';
}

# From a prompt, a file or a descriptor; never where others could read them.
# Blanks and quotes that come along, and stay where they belong to the value.
sub pasted {
    my $store = Ecert::Store->new;
    my ($left, $right, $nbsp) = ("\xe2\x80\x9c", "\xe2\x80\x9d", "\xc2\xa0");
    my ($status, $out, $err) = parts($store, 'new', "$nbsp$left$site$right ",
        '--org', "$nbsp\"Lucky\" Ltd ", '--name', "'example.hk'",
        '--key', ' ec:P-256', '--unit', "\xe3\x80\x80IT\xe2\x80\x8b");
    is $status, 0, 'new' or diag $err;
    my ($file) = glob $store->site_dir($site) . '/pending/1/request.json';
    my $json = JSON::PP->new->decode(slurp($file));
    is_deeply $json->{names}, [$site, 'example.hk'], '... its names';
    is $json->{site}{subject}{organization}, '"Lucky" Ltd',
        '... quotes of the value stay';
    is $json->{site}{subject}{unit}, 'IT', '... its unit';

    my $pasted = "\"$site\"$nbsp";
    for my $command (['csr', '--no-backup'], ['dcv list'], ['dcv mail'],
        ['log'], ['calendar'], ['check'], ['status'], ['rollback'],
        ['dcv sectigo', '--unique', '" 123 "'],
        ['backup', '--pending', '-o', tmp() . '/pasted.pfx',
            '--password-file', password_file()])
    {
        my ($name, @more) = @$command;
        (undef, $out, $err) = parts($store, split(/ /, $name), $pasted, @more);
        unlike "$out$err", qr/\bname: |no-site/, $name;
    }
    for my $code ('20261130-abc ', "$nbsp 20261130-abc", '"20261130-abc"',
        "${left}20261130-abc$right", "\xe2\x80\x9820261130-abc\xe2\x80\x99")
    {
        (undef, $out) = parts($store, 'dcv', 'dns', $site, $code);
        like $out, qr/ TXT "20261130-abc"$/m, 'dcv dns';
    }
    for my $none (' ', '""', "$left$nbsp$right") {
        ($status, undef, $err) = parts($store, 'dcv', 'dns', $site, $none);
        is $status, 2, 'no code';
        like $err, qr/CODE is empty/, '... why';
    }
    (undef, undef, $err) = parts($store, 'install', $pasted, '/nowhere.pem');
    like $err, qr{missing: /nowhere\.pem: }, 'install: the site is known';
    (undef, undef, $err) = parts($store, 'restore', ' /nowhere.pfx');
    like $err, qr{missing: \x20/nowhere\.pfx: }, 'paths are taken as they are';
}

sub urls {
    my $store = Ecert::Store->new;
    my $say = 'NAME is a host name, not a URL; say';
    ecert($store, 'new', $site, '--key', 'ec:P-256');
    for my $url ("https://$site/login", "http://$site:8080", "$site:443",
        "$site/")
    {
        for my $command (['csr'], ['dcv list'], ['dcv add', 'f'],
            ['dcv dns', 'c'], ['dcv mail'], ['dcv remove'], ['dcv check'],
            ['dcv sectigo'], ['install', tmp() . '/none'], ['rollback'],
            ['log'], ['status'], ['check'], ['calendar'], ['new'],
            ['backup', '-o', tmp() . '/url.pfx'])
        {
            my ($name, @more) = @$command;
            my ($status, $out, $err) = parts($store, split(/ /, $name), $url,
                @more);
            isnt $status, 0, "$name $url";
            like "$out$err", qr/\bname: .*(?:URL|colon).*; $say \Q$site\E$/m,
                '... what to say';
        }
        (undef, undef, my $err) = parts($store, 'verify', $url);
        like $err, qr/give HOST\[:PORT\], (?:not an address|without a path)/,
            "verify $url" if $url =~ m{/};
    }
}

sub passwords {
    my $store = filled();
    my $pfx = tmp() . '/password.pfx';
    local $ENV{ECERT_PASSWORD} = 'geheim';
    local $ENV{PASSWORD} = 'geheim';
    for my $command (['backup', $site, '-o', $pfx], ['restore', $pfx],
        ['install', $site, $pfx], ['issuers', 'add', $pfx]) {
        says($store, [[@$command, '--password', 'geheim'], 2,
            qr/'--password'|ambiguous|unrecognized/]);
    }
    my ($status, $out) = run('setsid', '-w', build_dir() . '/ecert', 'backup',
        '--store', $store->dir, $site, '-o', $pfx);
    is $status, 1, 'no terminal, no password';
    like $out, qr/: no-password: .*with --password-file FILE$/m, 'what to do';
    ok !-e $pfx, 'and no file';
}

# Who may not read a store is told who may: with the rights that a server needs
# given away, keys would lie open.
sub without_root {
    my $store = filled();
    my $file = tmp() . '/filled.pem';
    chmod 0700, $store->dir;
    my $above = tmp() . '/of-root';
    mkdir $above, 0755;
    for ([$store->dir, 'status'], [$store->dir, 'log'],
        [$store->dir, 'calendar'], [$store->dir, 'csr', $site],
        [$store->dir, 'new', $site], [$store->dir, 'install', $site, $file],
        [$store->dir, 'check'], [$store->dir, 'check', $site],
        [$store->dir, 'dcv', 'list'], ["$above/store", 'new', $site]) {
        my ($dir, @args) = @$_;
        my $command = join ' ', $args[0], $args[0] eq 'dcv' ? $args[1] : ();
        my ($status, $out) = as_nobody(@args, '--store', $dir);
        is $status, 1, "ecert @args";
        like $out, qr/denied\); call it as root: sudo ecert $command \.\.\., or/,
            'by root';
        unlike $out, qr/let the user that starts the server|ecert_store/,
            'nothing else is to be changed';
    }
    my ($status, $out) = ecert($store, 'check', '--certificate', '/none',
        '--key', '/none');
    unlike $out, qr/sudo/, 'root is not told of root';
}

# A request needs no server: that they cannot be asked is told, once.
sub hidden_servers {
    my $store = Ecert::Store->new(owner => 'nobody');
    mkdir $store->dir . '/run';
    chmod 0, $store->dir . '/run';
    my ($status, $out) = as_nobody('new', $site, '--key', 'ec:P-256',
        '--store', $store->dir);
    is $status, 0, 'ecert new';
    like $out, qr/^  next: Back up/m, 'the next step';
    is scalar(() = $out =~ m{^ecert: unreadable: \S+/run: }mg), 1, 'told once';

    my $cert = signed(Ecert::PKI->new,
        slurp($store->site_dir($site) . '/pending/1/request.csr'));
    ($status, $out) = as_nobody('install', $site, '--timeout', 1, '--store',
        $store->dir, $cert->file(tmp() . '/hidden.pem'));
    is $status, 1, 'ecert install --wait: nobody knows whether it is served';
    like $out, qr/: not-served: /, 'which is said';
    is scalar(() = $out =~ m{^ecert: unreadable: \S+/run: }mg), 1, 'told once';
}

sub as_nobody (@args) {
    return run('setpriv', '--reuid=nobody', '--clear-groups',
        '--regid=' . (getpwnam 'nobody')[3], build_dir() . '/ecert', @args);
}
