#!/usr/bin/perl

# `ecert calendar`: when to renew, under which ceiling, as text, as JSON and as
# an iCalendar file, which is read by a small reader of RFC 5545.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Time::Local ();

use Ecert::Command;
use Ecert::PKI;
use Ecert::Says;
use Ecert::Store;
use Ecert::Test;

my $day = 86400;
my $site = 'www.example.hk';
my $idn = 'www.xn--zfru1g2vn33etpw.com';
my $unicode = do { use utf8; 'www.我的服务器.com' };
utf8::encode($unicode);
my $pki = Ecert::PKI->new;

at_time('2026-12-01 00:00:00', sub { })
    or plan skip_all => 'no libfaketime';

subtest 'ceilings' => \&ceilings;
subtest 'as text' => \&text;
subtest 'late' => \&late;
subtest 'the subscription' => \&subscription;
subtest 'without an end' => \&endless;
subtest 'iCalendar' => \&icalendar;
subtest 'sites' => \&sites;
subtest 'wrong usage' => \&usage;
done_testing;

sub date ($text) {
    my ($y, $m, $d) = split /-/, $text;
    return Time::Local::timegm(0, 0, 0, $d, $m - 1, $y);
}

sub store_with ($from, $days, @names) {
    my $store = Ecert::Store->new;
    for my $name (@names ? @names : $site) {
        $store->install($name, $pki->leaf(names => [$name],
            not_before => date($from),
            not_after => date($from) + $days * $day));
    }
    return $store;
}

sub plan_of ($store, $when, @args) {
    my $json;
    at_time("$when 12:00:00", sub {
        $json = ecert_json($store, 'calendar', @args);
    });
    return map { my %item = %$_; s/T.*// for values %item; \%item }
        @{ $json->{calendar}[0]{plan} };
}

# The ceiling is that of the day on which the next one is issued.
sub ceilings {
    my @table = (
        ['2026-03-20', 199, '2026-03-21', '2026-09-05', 200, 199],
        ['2026-08-01', 199, '2026-08-02', '2027-01-17', 200, 199],
        ['2026-10-01', 199, '2026-10-02', '2027-03-19', 100, 99],
        ['2027-04-01', 99, '2027-04-02', '2027-06-09', 100, 99],
        ['2028-12-20', 99, '2028-12-21', '2029-02-27', 100, 99],
        ['2029-01-15', 99, '2029-01-16', '2029-03-25', 47, 46],
        ['2029-04-01', 46, '2029-04-02', '2029-05-01', 47, 46],
    );
    for (@table) {
        my ($from, $life, $now, $renew, $ceiling, $next) = @$_;
        my ($present, $item, @more) = plan_of(store_with($from, $life), $now);
        is $present->{not_after}, day_of(date($from) + $life * $day),
            "of $from: ends";
        is $item->{renew_from}, $renew, 'renewed from';
        is $item->{renew_until}, day_of(date($present->{not_after}) - 7 * $day),
            'at latest a week before it ends';
        is $item->{ceiling_days}, $ceiling, "under $ceiling days";
        is $item->{not_after}, day_of(date($renew) + $next * $day),
            'and lives below them';
        is scalar @more, 0, 'one renewal, where no end was said';
    }
    my @plan = plan_of(store_with('2026-12-01', 199), '2026-12-02',
        '--subscription-until', '2029-12-31');
    is_deeply [sort { $b <=> $a } map { $_->{ceiling_days} } @plan],
        [map { $_->{ceiling_days} } @plan], 'ceilings only fall';
    my %seen = map { $_->{ceiling_days} => 1 } @plan;
    is_deeply [sort { $a <=> $b } keys %seen], [47, 100, 200], 'all of them';
    my $gaps = grep { date($plan[$_]{not_before})
        >= date($plan[$_ - 1]{not_after}) } 1 .. $#plan;
    is $gaps, 0, 'no day is without a certificate';
    cmp_ok date($plan[-1]{not_after}), '>=', date('2029-12-31'), 'to the end';
}

sub text {
    my $store = store_with('2026-12-01', 199);
    at_time('2026-12-02 00:00:00', sub {
        my ($status, $out, $err) = parts($store, 'calendar', $site,
            '--subscription-until', '2027-11-30');
        is "$status$err", '0', 'done';
        is $out, <<"EOT", 'a table';
$site
  now                             lives until 2027-06-18
  renew 2027-05-19 to 2027-06-11  lives until 2027-08-26  (ceiling 100 days)
  renew 2027-07-27 to 2027-08-19  lives until 2027-11-03  (ceiling 100 days)
  renew 2027-10-04 to 2027-10-27  lives until 2028-01-11  (ceiling 100 days)
  end of the subscription                  on 2027-11-30
EOT
    });
}

sub late {
    my $store = store_with('2026-12-01', 199);
    my @table = (
        ['2027-05-18', qr/renew 2027-05-19 to/, qr/put `ecert \Q$site\E;`/],
        ['2027-05-20', qr/renew now, due 2027-05-19 +lives until 2027-08-27/,
            qr/The certificate ends on 2027-06-18\.  Make a new key/],
        ['2027-06-20', qr/^  expired +on 2027-06-18$/m,
            qr/The certificate has expired on 2027-06-18\.  Make a new key/],
    );
    $store->add_issuers($pki->sub, $pki->cross);
    ecert($store, 'backup', $site, '-o', tmp() . '/late.pfx', '--password-file',
        password_file());
    for (@table) {
        my ($now, $plan, $next) = @$_;
        at_time("$now 12:00:00", sub {
            says($store, [['calendar'], 0, $plan]);
            my $one = ecert_json($store, 'status', $site)->{progress}[0];
            is_deeply [$one->{renew_from} =~ s/T.*//r], ['2027-05-19'],
                'the same day as in the status';
            like $one->{next}{text}, $next, "$now: the next step";
        });
    }
}

sub subscription {
    my $store = Ecert::Store->new->add_issuers($pki->sub, $pki->cross);
    ecert($store, 'new', $site, '--key', 'ec:P-256', '--subscription-until',
        '2028-11-30');
    my $cert = signed($pki, csr_of($store, $site, '--no-backup'));
    ecert($store, 'install', $site, $cert->file(tmp() . '/s.pem'));
    says($store, [['calendar'], 0,
        qr/^  end of the subscription +on 2028-11-30$/m]);
    ecert($store, 'new', $site, '--key', 'ec:P-256');
    my $next = signed($pki, csr_of($store, $site, '--no-backup'));
    ecert($store, 'install', $site, $next->file(tmp() . '/s.pem'));
    says($store,
        [['calendar'], 0, qr/subscription +on 2028-11-30$/m],
        [['calendar', '--subscription-until', '2027-01-31'], 0,
            qr/subscription +on 2027-01-31$/m, [qr/renew/]]);
    like ecert_json($store, 'calendar')->{calendar}[0]{subscription_until},
        qr/^2028-11-30T/, 'as JSON';
}

# A subscription that is longer than a plan may be.
sub endless {
    my $store = store_with('2026-12-01', 199);
    my @args = ('--subscription-until', '2099-01-30');
    my ($plan) = @{ ecert_json($store, 'calendar', @args)->{calendar} };
    is scalar @{ $plan->{plan} }, 201, 'it is cut';
    ok $plan->{cut}, 'as JSON';
    ok !ecert_json($store, 'calendar')->{calendar}[0]{cut}, 'another one not';
    says($store,
        [['calendar', @args], 0, qr/days\)\n  \.\.\. and so on, +to 2099-01-30\n/],
        [['calendar'], 0, [qr/and so on/]]);
    my ($status, $out, $err) = parts($store, 'calendar', '--ics', @args);
    like $err, qr/^\Q$site\E: the last event is on \S+, .*go on to\s+2099-01-30: /,
        'as a calendar: beside it';
}

# A content line: [name, parameters, value].  Dies on what RFC 5545 forbids.
sub lines ($text) {
    $text =~ /(?<!\r)\n|\r(?!\n)/ and die 'line ends are CR LF';
    for (split /\r\n/, $text) {
        length > 75 and die 'a line has more than 75 octets';
        utf8::decode(my $copy = $_) or die 'a sign was torn apart';
    }
    return map {
        /^([A-Z-]+)((?:;[A-Z-]+=[^:;]+)*):(.*)$/s or die "no content line: $_";
        [$1, $2, $3];
    } split /\r\n/, $text =~ s/\r\n[ \t]//gr;
}

# {name => value, components => [...]} of what begins here.
sub component ($lines) {
    my $name = (shift @$lines)->[2];
    my %c = (component => $name, components => []);
    while (my $line = shift @$lines) {
        my ($key, $parameters, $value) = @$line;
        if ($key eq 'BEGIN') {
            unshift @$lines, $line;
            push @{ $c{components} }, component($lines);
        } elsif ($key eq 'END') {
            $value eq $name or die "END:$value in $name";
            return \%c;
        } else {
            exists $c{$key} and die "$key twice in $name";
            $c{$key} = $value =~ s/\\([\\;,nN])/lc $1 eq 'n' ? "\n" : $1/ger;
            $c{"$key$parameters"} = $value if $parameters;
        }
    }
    die "$name does not end";
}

sub calendar_of ($store, $when, @args) {
    my $out;
    at_time("$when 12:00:00", sub {
        $out = (parts($store, 'calendar', '--ics', @args))[1];
    });
    my @lines = lines($out);
    my $calendar = component(\@lines);
    die 'something behind it' if @lines;
    return $calendar;
}

sub icalendar {
    my @names = ($site, '*.example.hk', $idn);
    my $store = store_with('2026-12-01', 199, @names);
    my @args = ('--subscription-until', '2027-11-30');
    my $calendar = quietly(sub { calendar_of($store, '2026-12-02', @args) });
    ok $calendar, 'it can be read' or return diag $@;
    is "$calendar->{component} $calendar->{VERSION}", 'VCALENDAR 2.0', 'kind';
    ok $calendar->{PRODID}, 'who made it';
    my @events = @{ $calendar->{components} };
    is scalar @events, 9, 'three renewals of three sites';
    my %uid = map { $_->{UID} => 1 } @events;
    is scalar keys %uid, 9, 'each event is one of its own';

    my ($first) = sort { $a->{DTSTART} cmp $b->{DTSTART} }
        grep { $_->{SUMMARY} =~ /\Q$site\E/ } @events;
    is $first->{'DTSTART;VALUE=DATE'}, '20270519', 'the day on which to renew';
    is $first->{'DTEND;VALUE=DATE'}, '20270520', 'one day';
    is $first->{DTSTAMP}, '20261202T120000Z', 'when it was made';
    my $pfx = "$site-2027-05-19.pfx";
    is $first->{DESCRIPTION}, <<"EOT" =~ s/\n\z//r, 'what to do';
Renew the certificate of $site from today on, and before 2027-06-11.
1. ecert new $site
2. ecert backup $site --pending -o $site-key-2027-05-19.pfx
3. where the CA's portal asks for it: ecert dcv add $site fileauth.txt
4. ecert csr $site, and submit it in the portal
5. ecert install $site cert.crt --wait
6. ecert backup $site -o $pfx
The new certificate will live until 2027-08-26.
EOT
    my ($alarm) = @{ $first->{components} };
    is "$alarm->{component} $alarm->{ACTION} $alarm->{TRIGGER}",
        'VALARM DISPLAY -P7D', 'with an alarm';
    ok +(grep { index($_->{SUMMARY}, $unicode) > 0 } @events),
        'a Chinese name as people know it';
    my ($star) = grep { $_->{SUMMARY} =~ /\*/ } @events;
    like $star->{DESCRIPTION}, qr/ecert new '\*\.example\.hk'\n/,
        'a star in quotes';
    like $star->{DESCRIPTION}, qr/ dcv dns '\*\.example\.hk' CODE\n/,
        'it is validated by DNS';
    like $star->{DESCRIPTION}, qr/' -o wildcard\.example\.hk-2027-\d\d-\d\d\.pfx\n/,
        'and none in the name of a file';

    my $again = calendar_of($store, '2027-01-15', @args);
    is_deeply [sort map { $_->{UID} } @{ $again->{components} }],
        [sort keys %uid], 'an import done again replaces them';
    is_deeply calendar_of(Ecert::Store->new, '2027-01-15')->{components}, [],
        'an empty one';
}

sub sites {
    my $store = store_with('2026-12-01', 199, $site, $idn);
    ecert($store, 'new', 'new.example.hk', '--key', 'ec:P-256');
    at_time('2026-12-02 00:00:00', sub {
        says($store,
            [['calendar'], 0, qr/^\Q$site\E$/m,
                qr/^\Q$unicode\E \(\Q$idn\E\)$/m, [qr/new\.example/]],
            [['calendar', $unicode], 0, qr/\Q$idn\E/, [qr/^\Q$site\E$/m]],
            [['calendar', $site, $idn], 0, qr/^\Q$site\E\n.*\Q$idn\E/s],
            [['calendar', 'new.example.hk'], 1, qr/: no-certificate: /],
            [['calendar', 'none.hk'], 1, qr/: no-site: .*none\.hk/]);
    });
    says(Ecert::Store->new, [['calendar'], 0, qr/^No site has a certificate/]);
}

sub usage {
    my $store = store_with('2026-12-01', 199);
    says($store,
        [['calendar', '--ics', '--json'], 2, qr/either --ics or --json/],
        [['calendar', '--subscription-until', 'soon'], 2,
            qr/"soon" is not a date/],
        [['calendar', '--until', '2027-01-01'], 2, qr/--until/]);
}
