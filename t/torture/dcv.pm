package Ecert::Torture::Dcv;

# Validation files that come, change and go while they are asked for.

use v5.36;

use POSIX ();
use Time::HiRes ();

use Ecert::Client;
use Ecert::DCV;
use Ecert::Life qw($site pki);
use Ecert::Test;

my @plain = (vhosts => [{ names => [$site], listen => 'http' }]);

return [
    { name => 'dcv-replaced', ci => 1, run => sub ($t) { replaced($t) },
        what => 'a validation file is replaced and removed under load' },
    { name => 'dcv-bad', ci => 1, run => sub ($t) { bad($t) },
        what => 'validation files: empty, 1 MB, binary, expired' },
    { name => 'dcv-many', ci => 1, run => sub ($t) { many($t) },
        what => '10,000 validation files' },
];

sub ask ($t, $file = 'fileauth.txt') {
    return get($t->server->port('http'), $site, "$prefix/$file");
}

# Asks until it is killed; writes "status body" of each answer into a file.
sub asker ($t, $out) {
    my $parent = $$;
    my $pid = fork // die "fork: $!";
    return $pid if $pid;
    open my $log, '>', $out or POSIX::_exit(1);
    $log->autoflush(1);
    while (getppid == $parent) {
        my $answer = ask($t);
        print $log "$answer->{status} ",
            $answer->{status} == 200 ? $answer->{body} : $answer->{error}, "\n";
        Time::HiRes::sleep(0.01);
    }
    POSIX::_exit(0);
}

# Each body tells its number at both ends.
sub body ($n) { return "$n " . 'x' x (100 + 3000 * ($n % 20)) . " $n" }

sub is_whole ($text) {
    my ($first, $last) = $text =~ /^(\d+) x+ (\d+)$/;
    return defined $first && $first == $last ? $first : undef;
}

sub replaced ($t) {
    $t->begin(@plain);
    my $out = tmp() . "/$t->{name}-asked";
    $t->store->put_token($site, 'fileauth.txt', body(0));
    ok wait_for(sub { ask($t)->{status} == 200 }), 'answered';
    my @askers = map { asker($t, "$out$_") } 1, 2;
    for my $n (1 .. $t->times(40, 1000)) {
        $t->store->put_token($site, 'fileauth.txt', body($n));
        next if $n % 3;
        my $took = took(sub { ask($t)->{body} eq body($n) });
        defined $took or fail "$n: never answered";
        $t->figure('answered', $took);
        $t->install if $n % 30 == 0;
    }
    kill 'KILL', @askers;
    waitpid $_, 0 for @askers;
    in_order($_) for map { slurp("$out$_") } 1, 2;

    $t->store->remove_token($site, 'fileauth.txt');
    ok wait_for(sub { ask($t)->{status} == 404 }), 'removed: not answered';
    $t->end;
}

# What was answered: whole bodies, none older than the one before.
sub in_order ($text) {
    my ($last, @wrong) = (-1);
    for my $line (split /\n/, $text =~ s/[^\n]*\z//r) {
        my ($status, $body) = $line =~ /^(\d+) (.*)$/;
        my $n = $status == 200 ? is_whole($body) : undef;
        push @wrong, substr $line, 0, 80 if !defined $n || $n < $last;
        $last = $n // $last;
    }
    is_deeply [@wrong ? @wrong[0 .. ($#wrong < 4 ? $#wrong : 4)] : ()], [],
        'each answer whole, and in order';
    cmp_ok $last, '>', 0, 'they saw changes';
}

sub bad ($t) {
    $t->begin(@plain);
    my $dir = $t->store->dir . "/dcv/$site";
    $t->store->put_token($site, 'fileauth.txt', 'good');
    ok wait_for(sub { ask($t)->{body} eq 'good' }), 'a good one';

    my $binary = join '', map { chr } 0 .. 255;
    for (['empty.txt', ''], ['large.txt', 'x' x 1_000_000]) {
        my ($file, $bytes) = @$_;
        $t->server->mark;
        $t->store->put_token($site, $file, $bytes);
        ok $t->server->wait_log(qr/validation-file.*\Q$dir\E\/$file.*; .
            |\Q$dir\E\/$file: .*; ./x, 15), "$file: told";
        is ask($t, $file)->{status}, 404, "$file: not answered";
        is ask($t)->{body}, 'good', "$file: the good one is";
        $t->store->put_token($site, $file, "$file, mended");
        my $took = took(sub { ask($t, $file)->{body} eq "$file, mended" });
        ok defined $took, "$file: mended";
        $t->figure('recovered', $took);
    }
    $t->store->put_token($site, 'binary.txt', $binary);
    ok wait_for(sub { ask($t, 'binary.txt')->{body} eq $binary }),
        'binary: as it is';
    $t->store->put_token($site, 'old.txt', 'old', days => 31);
    $t->renew('meanwhile a certificate');
    is ask($t, 'old.txt')->{status}, 404, 'expired: not answered';
    is ask($t)->{body}, 'good', 'the good one is';
    $t->end(in_order => 0);
}

sub many ($t) {
    my $n = $t->times(500, 10_000);
    $t->begin(@plain);
    $t->store->put_token($site, "f$_.txt", "token $_") for 1 .. $n;
    my $took = took(sub { ask($t, "f$n.txt")->{body} eq "token $n" }, 60);
    ok defined $took, "$n files: the last one is answered";
    $t->figure('last answered', $took);
    is scalar(grep { ask($t, "f$_.txt")->{body} ne "token $_" }
        map { 1 + int rand $n } 1 .. 40), 0, 'others, too';
    for (1 .. $t->times(2, 20)) {
        $t->renew('a certificate beside them');
        $t->store->put_token($site, "f$_.txt", "changed $_");
        my $took = took(sub { ask($t, "f$_.txt")->{body} eq "changed $_" });
        ok defined $took, 'and a change of one';
        $t->figure('changed', $took);
    }
    $t->end;
}
