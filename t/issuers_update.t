#!/usr/bin/perl

# ecert issuers update: by hand what agents do by themselves.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use Test::More;

use Ecert::PKI;
use Ecert::Store;
use Ecert::Terminal;
use Ecert::Test;
use Ecert::Web;

my $pki = Ecert::PKI->new;
my ($sub, $cross) = ($pki->sub, $pki->cross);
my %file = ('/sub' => $sub->pem, '/cross' => $cross->der,
    '/wrong' => $pki->sub_old->pem);
my $web = Ecert::Web->new(answer => sub ($method, $path, $body) {
    return exists $file{$path}
        ? Ecert::Web::ok($file{$path}) : Ecert::Web::status(404);
});

sub catalogue (@entries) {
    state $n = 0;
    my $file = tmp() . '/catalogue' . $n++ . '.json';
    my @list = map {
        my ($role, $cert, $path, %more) = @$_;
        { id => "$role-" . lc substr($cert->fingerprint, 0, 8), role => $role,
            name => $cert->cn, sha256 => $cert->fingerprint,
            status => 'current', url => $web->url($path), %more };
    } @entries;
    open my $out, '>', $file or die "$file: $!";
    print $out JSON::PP::encode_json({ schema => 'ecert-ca', version => 1,
        updated => '2026-01-01', name => 'Test', entries => \@list });
    close $out;
    return $file;
}

sub update ($store, $catalogue, @more) {
    return run(build_dir() . '/ecert', 'issuers', 'update', '--store',
        $store->dir, '--catalogue', $catalogue, @more);
}

my @allow = ('--allow', '127.0.0.1');
my $good = catalogue(['sub', $sub, '/sub'], ['cross', $cross, '/cross']);
my $store = Ecert::Store->new;
my ($status, $out) = update($store, $good);
is $status, 1, 'a private address needs a word';
like $out =~ s/\s+/ /gr, qr/is not allowed/, 'it says so';
like $out, qr/; see the reason, and call it again; or .*: ecert issuers add FILE$/m,
    'nothing goes on by itself';
is scalar(() = $web->requests), 0, 'nothing was asked for';

($status, $out) = update($store, $good, @allow);
is $status, 0, 'both are downloaded' or diag $out;
like $out, qr/^added +\Q@{[$_->cn]}\E, until \d{4}-/m, 'a line for ' . $_->cn
    for $sub, $cross;
is_deeply [sort map { slurp($_) } glob $store->dir . '/issuers/*.pem'],
    [sort $sub->pem, $cross->pem], 'the pool has them, as PEM';
($status, $out) = update($store, $good, @allow);
is $status, 0, 'once more';
is scalar(() = $out =~ /^there already /mg), 2, 'they are there already';

$store = Ecert::Store->new;
($status, $out) = update($store, catalogue(['sub', $sub, '/wrong'],
    ['sub', $pki->ev, '/none'], ['cross', $cross, '/cross']), @allow);
is $status, 1, 'one that is wrong, one that is not there';
like $out =~ s/\s+/ /gr, qr{/wrong: .*no extended key usage for TLS servers},
    'the old twin is refused';
like $out =~ s/\s+/ /gr, qr{/none: .*status 404}, 'the other is told';
like $out, qr/^added +\Q@{[$cross->cn]}\E/m, 'the third is added all the same';
is scalar(my @pool = glob $store->dir . '/issuers/*.pem'), 1, 'and alone';

for my $wrong ('10.0.0.0/33', '10.0.0.1/8', 'example.hk', '') {
    ($status, $out) = update($store, $good, '--allow', $wrong);
    is $status, 2, "--allow \"$wrong\" is a wrong usage";
    like $out, qr/^ecert: usage: .*--allow: .*; correct --allow$/m, 'and why';
}

at_a_terminal();
done_testing;

# Slowly, in pieces; how much there is is announced, or not.
sub at_a_terminal {
    my $bytes = $sub->pem;
    for my $announced (1, 0) {
        my $slow = Ecert::Web->new(answer => sub (@) {
            return sub ($c) {
                syswrite $c, "HTTP/1.1 200 OK\r\nConnection: close\r\n"
                    . ($announced ? 'Content-Length: ' . length $bytes : 'X: y')
                    . "\r\n\r\n";
                for my $piece (unpack '(a200)*', $bytes) {
                    syswrite $c, $piece;
                    select undef, undef, undef, 0.25;
                }
            };
        });
        my $store = Ecert::Store->new;
        my @command = (build_dir() . '/ecert', 'issuers', 'update', '--store',
            $store->dir, '--catalogue', catalogue(['sub', $sub, '/slow']),
            @allow);
        my $file = $command[-3];
        my $text = slurp($file) =~ s/:\d+\/slow/':' . $slow->port . '\/slow'/er;
        open my $out, '>', $file or die "$file: $!";
        print $out $text;
        close $out;

        my $terminal = Ecert::Terminal->new(\@command, TERM => 'vt100',
            NO_COLOR => '1');
        is $terminal->ends, 0, 'downloaded';
        my $of = length $bytes;
        like $terminal->shown, $announced
            ? qr/\r  \[#+-+\] \d+ of $of bytes/ : qr/\r? *  \d+ bytes/,
            $announced ? 'a bar' : 'how much came';
        unlike $terminal->shown, qr/\e/, 'no escape sequence';
        like $terminal->shown, qr/\r *\radded /, 'which goes away';
        my ($status, $plain) = run(@command);
        unlike $plain, qr/\r|bytes/, 'elsewhere: plain lines';
        like $plain, qr/^there already /, 'one for each file';
        $slow->stop;
    }
}
