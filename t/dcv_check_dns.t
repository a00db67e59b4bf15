#!/usr/bin/perl

# ecert dcv check --dns, and names that are looked up: name servers on loopback
# with the mistakes that people make.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::IP;
use JSON::PP ();
use POSIX ();

use Ecert::Command;
use Ecert::Plain;
use Ecert::Store;
use Ecert::Test;
use Ecert::Zone;

plan skip_all => 'there is no knotd (package knot)' if !Ecert::Zone->program;

my $zone = 'example.hk';
my $code = '20261125-7c1f6b0e5d2a4938b1c6';
my $store = Ecert::Store->new;

my $one = Ecert::Zone->new(zone => $zone, records => [
    "good TXT \"$code\"",
    "beside TXT \"v=spf1 -all\"", "beside TXT \"$code\"",
    "split TXT \"" . substr($code, 0, 9) . '" "' . substr($code, 9) . '"',
    "brief 60 TXT \"$code\"",
    "quoted TXT \"\\\"$code\\\"\"",
    "blank TXT \" $code \"",
    "case TXT \"" . uc($code) . '"',
    "more TXT \"code=$code\"",
    'older TXT "20260101-older"', 'odd TXT "\\027[2J\\007"',
    "doubled.$zone TXT \"$code\"", 'doubled A 192.0.2.1',
    "www.www TXT \"$code\"", 'www A 192.0.2.1',
    "_dnsauth.under TXT \"$code\"", 'under A 192.0.2.1',
    "alias CNAME target", 'target A 192.0.2.1',
    "alias2 CNAME good", 'differs A 192.0.2.1', "only1 TXT \"$code\"",
    "*.many A 192.0.2.1", "many TXT \"$code\"",
    'empty TXT "x"',
]);
my $two = Ecert::Zone->new(zone => $zone, address => '127.0.0.2', records => [
    "good TXT \"$code\"", 'differs A 192.0.2.2', 'only1 TXT "older"',
]);

subtest 'the code is there' => \&good;
subtest 'mistakes' => \&mistakes;
subtest 'two servers' => \&two_servers;
subtest 'no answer' => \&silence;
subtest 'hostile answers' => \&hostile;
subtest 'addresses of names' => \&addresses;
subtest "the zone's own servers" => \&own_servers;
subtest 'several names' => \&several;
subtest 'what is written' => \&written;
done_testing;

sub ask ($name, @args) {
    $store->describe($name, "{\"names\": [\"$name\"]}");
    my $json = ecert_json($store, 'dcv', 'check', $name, '--dns', $code, @args);
    return $json->{validation}[0] // {};
}

sub at ($name, @servers) {
    @servers = ($one) if !@servers;
    return ask("$name.$zone",
        map { ('--dns-server', ref $_ ? $_->place : $_) } @servers);
}

sub good {
    my $said = at('good');
    is $said->{verdict}, 'good', 'the code';
    is $said->{zone}, $zone, 'the zone';
    is_deeply [map { $_->{authority} ? 1 : 0 } @{ $said->{servers} }], [1, 0],
        'asked both ways';
    is_deeply $said->{servers}[0]{records},
        [{ value => $code, ttl => 3600, strings => 1 }], 'the record';
    is $said->{servers}[0]{what}, 'the code', 'nothing to remark';

    $said = at('beside');
    is $said->{verdict}, 'good', 'beside others';
    like $said->{servers}[0]{what}, qr/beside 1 other/, 'which is said';
    $said = at('split');
    is $said->{verdict}, 'good', 'in two strings';
    like $said->{servers}[0]{what}, qr/several strings/, 'which is said';
    $said = at('brief');
    is $said->{verdict}, 'good', 'another TTL';
    like $said->{servers}[0]{what}, qr/TTL is 60, the CA asks for 3600/,
        'which is said';
    is at('alias2')->{verdict}, 'good', 'at the target of an alias';
    my $wild = ask("*.many.$zone", '--dns-server', $one->place);
    is $wild->{verdict}, 'good', 'a wildcard';
    is $wild->{name}, "many.$zone", 'its record is at the name below it';
}

sub mistakes {
    my $older = "another value: 20260101-older";
    for (
        [quoted => qr/^quotes were typed/, qr/correct the record/],
        [blank => qr/blanks stand around/], [case => qr/case of its letters/],
        [more => qr/something else stands in the value/],
        [older => qr/\Q$older\E/, qr/add the record/],
        [odd => qr/another value: \\x1b\[2J\\x07/],
        [doubled => qr/stands at another name: doubled\.$zone\.$zone/,
            qr/only what is before the zone/],
        [www => qr/stands at another name: www\.www\.$zone/],
        [under => qr/stands at another name: _dnsauth\.under\.$zone/],
        [alias => qr/alias \(CNAME\) for target\.$zone/, qr/its target/],
        [target => qr/no TXT record at this name/, qr/ecert dcv dns/],
        [none => qr/no such name/, qr/exactly this name/],
    ) {
        my ($name, $what, $hint) = @$_;
        my $said = at($name);
        is $said->{verdict}, 'bad', $name;
        like $said->{what}, $what, 'what is wrong';
        like $said->{hint}, $hint, 'what to do' if $hint;
    }
    my $said = ask('www.elsewhere.hk', '--dns-server', $one->place);
    is $said->{verdict}, 'bad', 'a zone that the server does not know';
    like $said->{what}, qr/refuses/, 'which is said';
}

sub two_servers {
    is at('good', $one, $two)->{verdict}, 'good', 'both have it';
    for my $name ('only1', 'split') {
        my $said = at($name, $one, $two);
        is $said->{verdict}, 'bad', "$name: one of two";
        like $said->{what}, qr/not on all servers/, 'which is said';
    }
}

# Closed ports: answers are refused, or do not come.
sub closed {
    my $socket = IO::Socket::IP->new(LocalHost => '127.0.0.1',
        Proto => 'udp') or die "no port: $!";
    return '127.0.0.1:' . $socket->sockport;
}

sub silence {
    my $said = at('good', closed());
    is $said->{verdict}, 'bad', 'nobody there';
    like $said->{what}, qr/no name server answers/, 'which is said';
    is $said->{servers}[0]{state}, 'silent', 'silence';
    $said = at('good', $one, closed());
    is $said->{verdict}, 'good', 'one of two does not answer';
    like $said->{what}, qr/not all do/, 'which is said';
}

# Bytes that no server should send.
sub hostile {
    my %bytes = (
        'too short' => 'x',
        'a loop of names' => pack('nnnnn', 0x8400, 0, 1, 0, 0) . "\xc0\x0c",
        'a length beyond the end' => pack('nnnnn', 0x8400, 0, 1, 0, 0)
            . "\0" . pack('nnNn', 16, 1, 60, 900) . 'xx',
        'a string beyond the end' => pack('nnnnn', 0x8400, 0, 1, 0, 0)
            . "\0" . pack('nnNn', 16, 1, 60, 2) . "\xff" . 'x',
    );
    my (%said, @pids); # each takes its time: all at once
    for my $what (sort keys %bytes) {
        my $socket = IO::Socket::IP->new(LocalHost => '127.0.0.1',
            LocalPort => 0, Proto => 'udp') or die "no port: $!";
        my $pid = fork // die "fork: $!";
        if (!$pid) {
            while (my $from = $socket->recv(my $question, 512)) {
                $socket->send(substr($question, 0, 2) . $bytes{$what}, 0,
                    $from);
            }
            POSIX::_exit(0);
        }
        push @pids, $pid;
        open $said{$what}, '-|', build_dir() . '/ecert', 'dcv', 'check',
            "good.$zone", '--dns', $code, '--store', $store->dir, '--json',
            '--dns-server', '127.0.0.1:' . $socket->sockport
            or die "ecert: $!";
    }
    for my $what (sort keys %bytes) {
        local $/;
        my $said = JSON::PP::decode_json(readline $said{$what})
            ->{validation}[0];
        is $said->{verdict}, 'bad', $what;
        is $said->{servers}[0]{state}, 'silent', 'that is no answer';
        close $said{$what};
    }
    kill 'KILL', @pids;
    waitpid $_, 0 for @pids;
}

sub addresses {
    my $name = "differs.$zone";
    my @server = ('--dns-server', $one->place);

    $store->describe($_, "{\"names\": [\"$_\"]}") for $name, "none.$zone",
        "good.$zone";
    my $said = ecert_json($store, 'dcv', 'check', "none.$zone", @server);
    is $said->{validation}[0]{verdict}, 'bad', 'no such name';
    like $said->{validation}[0]{what}, qr/no such name in the DNS/,
        'which is said';
    $said = ecert_json($store, 'dcv', 'check', "good.$zone", @server);
    like $said->{validation}[0]{what}, qr/neither A nor AAAA/, 'no address';
    $said = ecert_json($store, 'dcv', 'check', $name, @server);
    is $said->{validation}[0]{verdict}, 'unsure', 'no public address';
    is $said->{validation}[0]{probes}[0]{address}, '192.0.2.1', 'which';
    like $said->{validation}[0]{probes}[0]{what},
        qr/192\.0\.2\.1: this is no public address/, 'it is not asked';
}

# A zone that is delegated to two servers of its own, which are found by their
# names; --resolver answers for the parent, and remembers what it likes.
sub own_servers {
    my $child = "sub.$zone";
    my %o = (zone => $child, servers => ['ns1', 'ns2']);
    my @mine = ("good TXT \"$code\"", "late TXT \"$code\"",
        "first TXT \"$code\"");
    my $first = Ecert::Zone->new(%o, address => '127.0.0.3',
        records => \@mine);
    my $second = Ecert::Zone->new(%o, address => '127.0.0.4',
        records => [@mine[0, 1]]);
    my $lame = Ecert::Zone->new(zone => 'elsewhere.hk',
        address => '127.0.0.5');
    my $resolver = Ecert::Zone->new(%o, address => '127.0.0.6',
        records => ["good TXT \"$code\"", "first TXT \"$code\""],
        also => { $zone => ["sub NS ns1.sub", "sub NS ns2.sub"] });
    my $ask = sub ($name, $two) {
        return ask("$name.$child", '--resolver', $resolver->place,
            '--resolve', "ns1.$child:53:" . $first->place,
            '--resolve', "ns2.$child:53:" . $two->place);
    };

    my $said = $ask->('good', $second);
    is $said->{verdict}, 'good', 'everywhere';
    is $said->{zone}, $child, 'the closest zone is found';
    is_deeply [map { [$_->{server} // '-', $_->{authority} ? 1 : 0,
        $_->{address}] } @{ $said->{servers} }],
        [["ns1.$child", 1, $first->place], ["ns2.$child", 1, $second->place],
            ['-', 0, $resolver->place]], 'each of its servers is asked';
    $said = $ask->('late', $second);
    is $said->{verdict}, 'good', 'the zone has it, the resolver not yet';
    like $said->{what}, qr/a resolver still remembers otherwise/, 'it is said';
    $said = $ask->('first', $second);
    is $said->{verdict}, 'bad', 'at one of them only, whatever resolvers say';
    like $said->{what}, qr/not on all servers/, 'which is said';
    $said = $ask->('good', $lame);
    is $said->{verdict}, 'bad', 'one that does not know the zone';
    like $said->{servers}[1]{what},
        qr/one of the zone's, and does not know the zone/, 'which is said';
    my ($status, $out) = ecert($store, 'dcv', 'check', "good.$child", '--dns',
        $code, '--resolver', $resolver->place, '--dns-server', $first->place);
    is $status, 2, 'either the one or the other';
    like $out, qr/exclude each other/, 'which is said';
}

# Names are asked about together; what is said keeps their order.
sub several {
    my @names = map { "$_.$zone" } qw(older alias2 beside brief empty split);
    $store->describe($names[0], '{"names": ['
        . join(', ', map { "\"$_\"" } @names) . ']}');
    my $json = ecert_json($store, 'dcv', 'check', $names[0], '--dns', $code,
        '--dns-server', $one->place);
    is_deeply [map { "$_->{name} $_->{verdict}" } @{ $json->{validation} }],
        ["$names[0] bad", "$names[1] good", "$names[2] good",
            "$names[3] good", "$names[4] bad", "$names[5] good"],
        'each has its verdict';
}

sub written {
    my ($status, $out) = ecert($store, 'dcv', 'check', "good.$zone", '--dns',
        $code, '--dns-server', $one->place);
    is $status, 0, 'exit code 0';
    like $out, qr/^  zone  127\.0\.0\.1:\d+ +good +the code\n/m, 'each server';
    like $out, qr/^  => good .*press Confirm/ms, 'a verdict';
    ($status, $out) = ecert($store, 'dcv', 'check', "www.$zone", '--dns',
        $code, '--dns-server', $one->place);
    is $status, 1, 'exit code 1';
    like $out, qr/Do not press Confirm yet/, 'a verdict';
    is +(ecert($store, 'dcv', 'check', "good.$zone", '--dns', "a\nb"))[0], 2,
        'no code';
}
