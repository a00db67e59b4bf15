package Ecert::Bench::DCV;

# Requests for a validation file: ours against the same bytes as a static file
# of the stock server, at the same path, on kept connections and on new ones.

use v5.36;

use Ecert::Bench;
use Ecert::Bench::Handshake ();
use Ecert::Bench::Servers;
use Ecert::Bench::Tools;
use Ecert::Client;
use Ecert::Connection;
use Ecert::DCV ();
use Ecert::Test;

my $site = 'www.example.hk';
my $path = "$Ecert::DCV::prefix/fileauth.txt";
my $body = "7d1f9c20-validation-code\n";

my %kind = ('kept connections' => 1, 'new connections' => 0);
my %words = (1 => 'keep-alive', 0 => 'close');

sub measure ($bench, @kinds) { _measure($bench, $_) for @kinds }

sub _measure ($bench, $kind) {
    my @figures = (_instructions($bench, $kind), _rates($bench, $kind));
    $bench->table(dcv => @figures);
}

# A plain vhost beside the TLS one, and the file.
my %common = (
    more => sub ($which) { return { names => [$site], listen => 'http' } },
    # as Debian's nginx.conf has it
    http => { nginx => 'sendfile on; tcp_nopush on;' },
    prepare => sub ($servers) {
        $servers->store->put_token($site, 'fileauth.txt', $body)
            if $servers->{ecert};
        $servers->{$_}->write("vhost1/www$path", $body)
            for grep { $servers->{$_} } qw(stock again);
    },
);

sub _answers ($server) {
    wait_for(sub {
        get($server->port('http'), $site, $path)->{body} eq $body
    }) or die $server->kind . " does not answer the validation file\n";
}

sub _figures ($bench, $kind, $case, $samples, %more) {
    return $bench->figure(bench => 'dcv', server => $kind, case => $case,
        against => 'static file', compared(@$samples{qw(ecert stock again)}),
        %more);
}

# --- instructions

sub _instructions ($bench, $kind) {
    return if !$bench->{callgrind};
    my %samples;
    for my $which (qw(ecert stock again)) {
        my $server = Ecert::Bench::Handshake::counted_server($kind, $which,
            { $site => _leaf() }, %common);
        _answers($server);
        for my $case (sort keys %kind) {
            $samples{$case}{$which} = [Ecert::Bench::Handshake::count($bench,
                $server, sub ($n) {
                    _requests($server->port('http'), $n, $kind{$case}) })];
        }
        $server->stop;
    }
    return map { _figures($bench, $kind, $_, $samples{$_},
        what => 'instructions', unit => 'per request',
        goal => ['ratio', '<=', '1.0']) } sort keys %kind;
}

sub _leaf {
    state $leaf = leaf($site);
    return $leaf;
}

sub _requests ($port, $n, $keep) {
    my $c;
    for (1 .. $n) {
        $c = Ecert::Connection->new($port) if !$keep || !$c;
        my $response = $c->exchange('GET', "GET $path HTTP/1.1\r\n"
            . "Host: $site\r\nConnection: $words{$keep}\r\n\r\n");
        die "status $response->{status}\n" if $response->{body} ne $body;
        $c->close if !$keep;
    }
    $c->close if $keep;
}

# --- requests a second, a second each in turn

sub _rates ($bench, $kind) {
    my $servers = Ecert::Bench::Servers->new($kind,
        sites => { $site => _leaf() }, %common)->start;
    my @which = qw(ecert stock again);
    _answers($servers->{$_}) for @which;

    my @figures;
    for my $case (sort keys %kind) {
        my %samples;
        for my $round (1 .. $bench->pick(15, 2)) {
            push @{ $samples{$_} },
                _rate($servers->{$_}->port('http'), $kind{$case}) for @which;
            push @which, shift @which;
        }
        push @figures, _figures($bench, $kind, $case, \%samples,
            what => 'requests', unit => 'a second',
            goal => ['ratio', '>=', '1.0']);
    }
    $servers->stop;
    return @figures;
}

sub _rate ($port, $keep) {
    my ($status, $out) = run('wrk', '-t1', '-c16', '-d1s', '-H',
        "Host: $site", '-H', "Connection: $words{$keep}",
        "http://127.0.0.1:$port$path");
    my ($rate) = $out =~ m{^Requests/sec:\s+([\d.]+)}m;
    die "wrk: $out\n" if $status != 0 || !$rate || $out =~ /Non-2xx/;
    return $rate;
}

1;
