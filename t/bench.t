#!/usr/bin/perl

# auto/bench says what it is to say, in well-formed lines.  No figure is judged
# here: that would be a timed test.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();

use Ecert::Bench;
use Ecert::Test;

plan skip_all => 'only root can look into the servers' if $> != 0;

statistics();
bench();
done_testing;

sub statistics () {
    is median(3, 1, 2), 2, 'the median of three';
    is median(4, 1, 2, 3), 2.5, 'of four';
    is median(), undef, 'of none';
    is percentile(0.99, 1 .. 200), 198, 'p99 of two hundred';
    is percentile(0.99, 7), 7, 'of one';
    my %c = compared([(2) x 20], [(4) x 20], [(4) x 10, (5) x 10]);
    is_deeply [@c{qw(ratio aa aa_low aa_high)}], [0.5, 1.125, 1, 1.25],
        'ratio of medians, A/A and its spread';
    is Ecert::Bench::number(2945991.4), '2,945,991', 'a large number';
    is Ecert::Bench::number(12.34), '12.3', 'a small one';
}

sub bench () {
    my ($json, $doc) = map { tmp() . "/$_" } qw(figures.json doc.md);
    my $marks = join '', map { "<!-- $_ -->\nold\n<!-- /$_ -->\n" }
        qw(machine handshake);
    spurt($doc, "# A\n\n$marks\nB\n");
    my ($status, $out) = run($^X, "-I$FindBin::Bin/lib",
        "$FindBin::Bin/../auto/bench.pl", '--quick', '--no-callgrind',
        '--json', $json, '--doc', $doc, 'handshake');
    is $status, 0, 'it ends well' or diag $out;

    my ($machine, @figures) = figures($json);
    like $machine->{machine}{date} // '', qr/^\d{4}-\d\d-\d\d$/,
        'first comes the machine';
    # Two keys, two versions of TLS; nginx against a variable, too.
    is @figures, 4 * map({ $_ eq 'nginx' ? (1, 1) : 1 } servers()),
        'every figure is there';
    is_deeply [grep { !well_formed($_) } @figures], [], 'and well-formed';

    my @rows = grep { /^\|/ } split /\n/, $out;
    my ($columns) = $rows[0] =~ tr/|//;
    is_deeply [grep { tr/|// != $columns } @rows], [], 'a table';
    my $text = slurp($doc);
    is scalar(grep { index($text, $_) < 0 } @rows), 0, 'and in the document';
    unlike $text, qr/^old$/m, 'in place of the old one';
    like $text, qr/\A# A\n.*\nB\n\z/s, 'all else stays';
}

sub spurt ($file, $text) {
    open my $out, '>', $file or die "$file: $!";
    print $out $text;
    close $out or die "$file: $!";
}

sub figures ($file) {
    return map { JSON::PP::decode_json($_) } split /\n/, slurp($file) // '';
}

sub well_formed ($f) {
    return $f->{bench} eq 'handshake' && $f->{what} eq 'time'
        && $f->{server} =~ /^(?:nginx|apache)$/
        && !grep { !defined $f->{$_} || $f->{$_} !~ /^[\d.]+$/
            || $f->{$_} <= 0 } qw(ecert stock ratio);
}
