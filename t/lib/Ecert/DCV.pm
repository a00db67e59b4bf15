package Ecert::DCV;

# How a validation file has to be answered.

use v5.36;

use Exporter 'import';
use Test::More;

our @EXPORT = qw($prefix answered);

our $prefix = '/.well-known/pki-validation';

# One check of all that a validator looks at.
sub answered ($response, $body, $name) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $h = $response->{headers};

    return is_deeply(
        {
            status => $response->{status}, body => $response->{body},
            type => $h->{'content-type'}, length => $h->{'content-length'},
            cache => $h->{'cache-control'},
            encoding => $h->{'content-encoding'}, location => $h->{location},
            cookie => $h->{'set-cookie'},
        },
        {
            status => 200, body => $body,
            type => 'text/plain', length => length $body,
            cache => 'no-store', encoding => undef, location => undef,
            cookie => undef,
        },
        $name) || diag $response->{error} || 'no transport error';
}

1;
