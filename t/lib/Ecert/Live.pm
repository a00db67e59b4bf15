package Ecert::Live;

# Waiting for what a running server serves and says.

use v5.36;

use Exporter 'import';
use JSON::PP ();
use Test::More;

use Ecert::Client;
use Ecert::Test ();

our @EXPORT = qw(becomes serves told complaints status_of considered);

my $deadline = 15;

# Waits until exactly these certificates are served to clients of this name,
# the leaf first.  Returns the seconds that it took.
sub becomes ($server, $name, $certs, $what) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $expected = _line(map { $_->fingerprint } @$certs);
    my @last;
    my $took = Ecert::Test::took(sub {
        @last = _served($server, $name);
        return _line(map { $_->fingerprint } @last) eq $expected;
    }, $deadline);
    ok defined $took, $what or _differs($certs, \@last);
    return $took;
}

# The same at once.
sub serves ($server, $name, $certs, $what) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my @now = _served($server, $name);
    return ok(_line(map { $_->fingerprint } @now)
            eq _line(map { $_->fingerprint } @$certs), $what)
        || _differs($certs, \@now);
}

sub _served ($server, $name) {
    my $answer = handshake($server->port, name => $name);
    diag "$name: $answer->{error}" if !$answer->{ok};
    return @{ $answer->{certs} };
}

sub _line (@list) { return "@list" }

sub _differs ($expected, $got) {
    for (['expected', $expected], ['served', $got]) {
        my ($word, $certs) = @$_;
        diag "$word: ", join '; ',
            map { $_->cn . ' ' . substr $_->fingerprint, 0, 8 } @$certs;
    }
    return 0;
}

# Waits for the line of an error: site, reason word, file, what to do.
sub told ($server, $site, $reason, $file, $what) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $line = $server->wait_log(
        qr/\bsite \Q$site\E: $reason: \Q$file\E: .+; ./, $deadline);
    return ok($line, $what) || diag "not there: $site: $reason: $file; but:\n",
        map { "$_\n" } complaints($server, $site);
}

# The lines about a site that are more than notices, since the mark.
sub complaints ($server, $site) {
    return grep { /\bsite \Q$site\E: / && !/[\[:]notice\]/ }
        split /\n/, $server->log;
}

# What `ecert status` says about a site.
sub status_of ($server, $site) {
    # As the server's user: nobody else is told by its agent.
    my $file = "$server->{dir}/status.out";
    waitpid $server->_spawn($file, "$server->{build}/ecert", 'status',
        '--json', '--store', $server->{store}->dir, $site), 0;
    my $out = Ecert::Test::slurp($file);
    my $report = Ecert::Test::quietly(
        sub { JSON::PP::decode_json($out) }) or return {};
    my ($mine) = grep { ($_->{server} // '') =~ /^\Q$server->{kind}\E/i }
        @{ $report->{servers} };
    return { %{ ($mine // {})->{sites}[0] // {} }, text => $out };
}

# { fingerprint => why it was taken or left }
sub considered ($status) {
    return { map { $_->{sha256} => $_->{why} } @{ $status->{considered} } };
}

1;
