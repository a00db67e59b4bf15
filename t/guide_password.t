#!/usr/bin/perl

# Passwords that are typed at a terminal: asked for twice, never shown, and the
# terminal is as before, whatever happens.  No server is needed.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Command;
use Ecert::Store;
use Ecert::Terminal;
use Ecert::Test;

my $site = 'www.example.hk';
my $password = 'correct horse battery';
my $store = Ecert::Store->new;
my $n = 0;

is +(ecert($store, 'new', $site))[0], 0, 'a request';
subtest 'typed twice' => \&twice;
subtest 'differing ones' => \&differing;
subtest 'refused ones, then a good one' => \&refused_first;
subtest 'none' => \&none;
subtest 'given up' => \&given_up;
subtest 'given up at once' => \&at_once;
subtest 'suspended' => \&suspended;
subtest 'restore' => \&restore;
subtest 'without a terminal' => \&no_terminal;
done_testing;

sub at_terminal (@args) {
    return Ecert::Terminal->new([build_dir() . '/ecert', @args],
        ECERT_STORE => $store->dir);
}

sub backup () {
    my $pfx = tmp() . '/typed' . $n++ . '.pfx';
    return ($pfx, at_terminal('backup', $site, '--pending', '-o', $pfx));
}

# What is typed after this prompt is not shown.
sub answers ($terminal, $prompt, $text) {
    ok $terminal->waits_for($prompt), "asks: $prompt"
        or diag $terminal->shown;
    ok !$terminal->echoes, 'what is typed now is not shown';
    $terminal->types($text);
}

sub nothing_shown ($terminal, @secrets) {
    ok $terminal->echoes, 'then the terminal shows again what is typed';
    unlike $terminal->shown, qr/\Q$_/, 'the screen does not show it'
        for @secrets;
}

sub opens ($pfx, $password) {
    return (run('openssl', 'pkcs12', '-in', $pfx, '-nodes', '-passin',
        "pass:$password"))[0] == 0;
}

sub twice () {
    my ($pfx, $terminal) = backup();
    answers($terminal, qr/Password for \Q$pfx\E: $/, "$password\n");
    answers($terminal, qr/The same again for \Q$pfx\E: $/, "$password\n");
    is $terminal->ends, 0, 'done' or diag $terminal->shown;
    nothing_shown($terminal, $password);
    ok opens($pfx, $password), 'OpenSSL opens the file with it';
    ok !opens($pfx, "$password "), 'and not with another one';
}

sub differing () {
    my ($pfx, $terminal) = backup();
    for my $try (1 .. 3) {
        answers($terminal, qr/Password for .*: $/, "$password\n");
        answers($terminal, qr/The same again .*: $/, "battery staple\n");
    }
    is $terminal->ends, 1, 'refused after three tries';
    like $terminal->shown,
        qr/no-password: .*\(the two passwords differ\); try again/, 'why';
    is scalar(() = $terminal->shown =~ /^Not taken: the two passwords differ/mg),
        2, 'and after each of the others, too';
    nothing_shown($terminal, $password, 'battery staple');
    ok !-e $pfx, 'and no file is made';
}

# Each kind of refusal is one try, and the third one may be right.
sub refused_first () {
    my ($pfx, $terminal) = backup();
    answers($terminal, qr/Password for .*: $/, "\xa4\xa4\xa4\xe5 battery\n");
    ok $terminal->waits_for(qr/^Not taken: it is not UTF-8/m), 'Big5 is refused';
    answers($terminal, qr/Password for .*: $/, "seven77\n");
    ok $terminal->waits_for(qr/^Not taken: it has 7 characters, 8 are/m),
        'a short one, too';
    answers($terminal, qr/Password for .*: $/, "$password\n");
    answers($terminal, qr/The same again .*: $/, "$password\n");
    is $terminal->ends, 0, 'then a good one is taken' or diag $terminal->shown;
    ok opens($pfx, $password), 'it opens the file';
    nothing_shown($terminal, $password, 'seven77');
}

sub none () {
    my ($pfx, $terminal) = backup();
    answers($terminal, qr/Password for .*: $/, "\n") for 1 .. 3;
    is $terminal->ends, 1, 'an empty one is refused';
    like $terminal->shown, qr/no-password: .*it may not be empty/, 'why';
    ok !-e $pfx, 'and no file is made';

    ($pfx, $terminal) = backup();
    answers($terminal, qr/Password for .*: $/, "\x04");
    is $terminal->ends, 1, 'an end of the input ends it at once';
    like $terminal->shown, qr/no-password: .*none was typed/, 'why';
    nothing_shown($terminal);
}

sub given_up () {
    for my $prompts (1, 2) {
        my ($pfx, $terminal) = backup();
        answers($terminal, qr/Password for .*: $/, "$password\n")
            if $prompts == 2;
        answers($terminal, qr/(?:Password|again) for .*: $/, "corr\x03");
        is $terminal->ends, 130, "Ctrl-C at prompt $prompts ends it";
        nothing_shown($terminal, 'corr');
        ok !-e $pfx, 'and no file is made';
    }
}

# Between the prompt and the reading, too: so often that one comes there.
sub at_once () {
    my %ended;
    for (1 .. 40) {
        my ($pfx, $terminal) = backup();
        1 until $terminal->shown =~ /Password for .*: $/;
        $terminal->types("\x03");
        $ended{ $terminal->ends }++;
        last if $ended{'does not end'};
    }
    is_deeply \%ended, { 130 => 40 }, 'Ctrl-C with the prompt ends it';
}

# Nobody is there to wake it up, so that it is back at once.
sub suspended () {
    my ($pfx, $terminal) = backup();
    answers($terminal, qr/Password for .*: $/, "corr\x1a");
    answers($terminal, qr/Password for .*: $/, "$password\n");
    answers($terminal, qr/The same again .*: $/, "$password\n");
    is $terminal->ends, 0, 'it asks again' or diag $terminal->shown;
    nothing_shown($terminal, 'corr');
    ok opens($pfx, $password), 'what was typed before does not count';
}

sub restore () {
    my $new = Ecert::Store->new;
    my $pfx = tmp() . '/typed0.pfx';
    my @restore = ('restore', $pfx, '--store', $new->dir);

    my $terminal = at_terminal(@restore);
    answers($terminal, qr/Password of \Q$pfx\E: $/, "wrong\n") for 1 .. 3;
    is $terminal->ends, 1, 'three wrong passwords';
    like $terminal->shown, qr/password: .*use the password that was given/,
        'its words';
    nothing_shown($terminal, 'wrong');

    $terminal = at_terminal(@restore);
    answers($terminal, qr/Password of .*: $/, "wrong\n") for 1 .. 2;
    answers($terminal, qr/Password of .*: $/, "$password\n");
    is $terminal->ends, 0, 'the third one is right' or diag $terminal->shown;
    nothing_shown($terminal, $password);

    $terminal = at_terminal(@restore);
    answers($terminal, qr/Password of .*: $/, "$password\n");
    is $terminal->ends, 0, 'the right one' or diag $terminal->shown;
    is scalar(() = $terminal->shown =~ /Password/g), 1, 'it is asked for once';
}

sub no_terminal () {
    my $pfx = tmp() . '/none.pfx';
    my ($status, $out) = run('setsid', '--wait', 'env',
        'ECERT_STORE=' . $store->dir, build_dir() . '/ecert', 'backup', $site,
        '--pending', '-o', $pfx);
    is $status, 1, 'refused';
    like $out, qr/no-password: .*no terminal.*--password-file FILE/,
        'and what to do';
    ok !-e $pfx, 'and no file is made';
}
