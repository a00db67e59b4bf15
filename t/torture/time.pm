package Ecert::Torture::Time;

# The clock of the machine, as the agent sees it, is wrong.

use v5.36;

use Ecert::Client;
use Ecert::Life qw($site pki);
use Ecert::Live ();
use Ecert::Test;
use Ecert::Torture::Faulty;

my $calm = $Ecert::Torture::calm;
my $year = 365.25 * 86400;

return [
    { name => 'clock', ci => 1, run => sub ($t) { clock($t) },
        what => 'the clock steps: 10 years, 1970, 2038, and back' },
    { name => 'start-in-1970', ci => 1, run => sub ($t) { early_start($t) },
        what => 'a start with a clock that shows 1970' },
];

# The agent reads its clock from a file.
sub agent ($file) {
    return Ecert::Torture::Faulty::agent_script(
        'LD_PRELOAD=' . preloaded(faketime())
        . " FAKETIME_TIMESTAMP_FILE=$file "
        . 'FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1 NO_FAKE_STAT=1 '
        . 'TZ=UTC');
}

sub set_clock ($file, $offset) {
    open my $out, '>', "$file.new" or die "$file: $!";
    printf $out "%+d\n", $offset;
    close $out;
    rename "$file.new", $file or die "$file: $!";
}

sub steps ($t) {
    my $to_1970 = 3600 - time;
    my $to_2038 = 2147483647 - 2 - time;
    # The last one costs the cross-certificate alone: all else is in order.
    my @steps = (-10 * $year, 0, 10 * $year, 0, $to_1970, $to_2038, 0,
        0.42 * $year, 0);
    return $ENV{ECERT_TORTURE_ALL}
        ? (@steps, -86400, 86400, -3600, 3600, $year, -$year, 0) : @steps;
}

# Time never takes away a certificate, whatever it seems to be.
sub clock ($t) {
    $t->cannot('no libfaketime') if !faketime();
    my $file = tmp() . "/$t->{name}-clock";
    set_clock($file, 0);
    # Nobody answers there: errands and pauses are under way at each step.
    my @ocsp = (extensions => [
        Net::SSLeay::NID_info_access() => 'OCSP;URI:http://127.0.0.1:1/']);
    $t->begin(agent => agent($file),
        conf => { ecert_fetch => ['on', 'allow=127.0.0.0/8'] });
    for my $offset (steps($t)) {
        my $what = sprintf 'clock %+.1f years', $offset / $year;
        set_clock($file, $offset);
        my $leaf = $t->leaf($site, @ocsp);
        $t->store->install($site, $leaf);
        # Beyond the end of the cross-certificate it goes.
        $t->allow_short($leaf);
        $t->allow_short($t->{good}{$calm}, $calm);
        took(sub { $t->serves($leaf) }, $offset ? 4 : 15);
        my @now = map { $t->serves($_) ? 1 : 0 } $leaf, $t->{good}{$site};
        ok $now[0] || $now[1], "$what: the old or the new one is served";
        ok $now[0], "$what: the new one" if !$offset;
        $t->{good}{$site} = $leaf if $now[0];
        $t->figure('taken in a wrong year', $now[0], '') if $offset;
        ok $t->serves($t->{good}{$calm}, $calm), "$what: the other site, too";
    }
    # Its files are as they were: only the clock tells.
    ok wait_for(sub { whole_chain($t, $calm) }, 10),
        'the other site has its cross-certificate again';
    $t->renew('the right time again');
    $t->end(in_order => 0);
}

sub whole_chain ($t, $name) {
    my $answer = handshake($t->{server}->port, name => $name);
    return join(',', map { $_->fingerprint } @{ $answer->{certs} })
        eq Ecert::Torture::line($t->{good}{$name});
}

# As on a machine whose clock has no battery: before the network has set it.
sub early_start ($t) {
    $t->cannot('no libfaketime') if !faketime();
    my $file = tmp() . "/$t->{name}-clock";
    set_clock($file, 3600 - time);
    $t->begin(agent => agent($file));
    ok $t->serves($t->{good}{$_}, $_), "$_: served all the same"
        for $site, $calm;
    $t->renew('a renewal, too');
    set_clock($file, 0);
    $t->renew('the right time');
    $t->end;
}
