package Ecert::Client;

# Clients: a TLS handshake looked at closely, and HTTP requests of any shape.

use v5.36;

use Exporter 'import';

use Ecert::Connection;
use Ecert::Test ();

our @EXPORT = qw(handshake request h2_request raw_request get served);

# One TLS handshake with 127.0.0.1.  name (SNI; none: no SNI), version (1.2,
# 1.3), session (of an earlier handshake), client (an Ecert::Cert), roots
# (file: then verified says whether the chain leads there and name matches),
# ciphers (TLS 1.2), no_tickets (then TLS 1.2 resumes by session id),
# post_auth (TLS 1.3: a certificate may be asked for later), path (then a
# request is made: status and body; it is made anyway where TLS 1.3 sends its
# tickets late), keep (leaves the connection open in {connection}).
#
# The answer: ok or error, protocol, cipher, resumed, certs ([Ecert::Cert]:
# what was sent, the leaf first), fingerprint (the leaf's), chain
# (fingerprints behind it), verified, verify_error, session, status, body.
sub handshake ($port, %o) {
    my $path = $o{path} // '/';
    my $c = Ecert::Connection->new($port, tls => 1, %o);
    my $answer = { ok => 0, error => $c->error, chain => [], certs => [] };
    return $answer if $c->error;

    %$answer = (ok => 1, error => '', $c->facts);
    my $response = $c->exchange('GET',
        _head('GET', $path, '1.1', { host => $o{name} // 'localhost',
            connection => $o{keep} ? 'keep-alive' : 'close' }));
    if (!$response->{status}) {
        # With TLS 1.3 a refused client certificate is told only now.
        @$answer{qw(ok error)} = (0, $c->error || $response->{error});
    }
    @$answer{qw(status body)} = @$response{qw(status body)};
    $answer->{session} = $c->session;
    $o{keep} ? ($answer->{connection} = $c) : $c->close;
    return $answer;
}

# Only the certificates that are served: fingerprints, the leaf first.
sub served ($port, $name = undef, %o) {
    my $answer = handshake($port, name => $name, %o);
    return $answer->{ok}
        ? map { $_->fingerprint } @{ $answer->{certs} } : ();
}

# One HTTP/1 request.  host, path, method, version (1.0, 1.1), headers
# ({name => value}), tls (speaks TLS with host, or name, as SNI).
# The answer: status, headers ({lower-case name => value}), body, error.
sub request ($port, %o) {
    my $host = $o{host} // 'localhost';
    my ($sni) = ($o{name} // lc $host) =~ /^([^:]+?)\.?(?::\d+)?$/;
    my $headers = { %{ $o{headers} // {} } };
    $headers->{host} = $host if exists $o{host} ? defined $o{host} : 1;
    return _ask($port, $o{method} // 'GET', _head($o{method} // 'GET',
        $o{path} // '/', $o{version} // '1.1', $headers),
        tls => $o{tls}, name => $sni);
}

sub get ($port, $host, $path, %o) {
    return request($port, host => $host, path => $path, %o);
}

# Bytes as they are.
sub raw_request ($port, $bytes, %o) {
    return _ask($port, $bytes =~ /^HEAD / ? 'HEAD' : 'GET', $bytes, %o);
}

sub _ask ($port, $method, $bytes, %o) {
    my $c = Ecert::Connection->new($port, %o);
    return { status => 0, error => $c->error, headers => {}, body => '' }
        if $c->error;
    my $response = $c->exchange($method, $bytes);
    $c->close;
    return $response;
}

sub _head ($method, $path, $version, $headers) {
    my %h = (connection => 'close', %$headers);
    return join "\r\n", "$method $path HTTP/$version",
        map({ "$_: $h{$_}" } sort keys %h), '', '';
}

# The same over HTTP/2, through curl.
sub h2_request ($port, %o) {
    my $host = $o{host} // 'localhost';
    my $method = $o{method} // 'GET';
    my $out = Ecert::Test::tmp() . "/curl.$$";
    my ($status, $said) = Ecert::Test::run('curl', '-sSk', '--http2',
        '--path-as-is', '--max-time', 10, '-o', $out, '-D', "$out.head",
        '--connect-to', "::127.0.0.1:$port",
        $method eq 'HEAD' ? '-I' : ('-X', $method),
        map({ ('-H', "$_: $o{headers}{$_}") } sort keys %{ $o{headers} }),
        "https://$host" . ($o{path} // '/'));
    my $response = Ecert::Connection::parse_head(
        Ecert::Test::slurp("$out.head") // '');
    $response->{body} = $method eq 'HEAD'
        ? '' : Ecert::Test::slurp($out) // '';
    $response->{error} = $status ? $said : '';
    unlink $out, "$out.head";
    return $response;
}

1;
