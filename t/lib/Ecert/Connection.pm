package Ecert::Connection;

# One connection to a server on loopback, plain or TLS, with HTTP/1 on it.

use v5.36;

use IO::Socket::INET;
use Net::SSLeay;
use Socket qw(SOL_SOCKET SO_RCVTIMEO SO_SNDTIMEO TCP_NODELAY IPPROTO_TCP);

use Ecert::Cert;

Net::SSLeay::load_error_strings();
Net::SSLeay::SSLeay_add_ssl_algorithms();

my %version = ('1.2' => 0x0303, '1.3' => 0x0304);

# See Ecert::Client::handshake.  Never dies: error tells.
sub new ($class, $port, %o) {
    my $c = bless { error => '', rest => '' }, $class;
    my $seconds = $o{timeout} // 10;

    $c->{socket} = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
        PeerPort => $port, Timeout => $seconds);
    if (!$c->{socket}) {
        $c->{error} = "connect: $@";
        return $c;
    }
    my $time = pack 'l!l!', $seconds, 0;
    setsockopt $c->{socket}, SOL_SOCKET, SO_RCVTIMEO, $time;
    setsockopt $c->{socket}, SOL_SOCKET, SO_SNDTIMEO, $time;
    setsockopt $c->{socket}, IPPROTO_TCP, TCP_NODELAY, 1;
    $c->_tls(%o) if $o{tls};
    return $c;
}

sub error ($c) { return $c->{error} }

sub _tls ($c, %o) {
    my $ctx = $o{ctx} // context(%o);
    my $ssl = Net::SSLeay::new($ctx);

    $c->{ctx} = $ctx if !$o{ctx};
    $c->{ssl} = $ssl;
    Net::SSLeay::set_fd($ssl, fileno $c->{socket});
    Net::SSLeay::set_tlsext_host_name($ssl, $o{name}) if $o{name};
    Net::SSLeay::set_session($ssl, $o{session}) if $o{session};
    if ($o{roots} && $o{name}) {
        Net::SSLeay::X509_VERIFY_PARAM_set1_host(
            Net::SSLeay::get0_param($ssl), $o{name});
    }
    my $done = Net::SSLeay::connect($ssl);
    $c->_failed('handshake', $done) if $done <= 0;
}

# What several connections can share.
sub context (%o) {
    my $ctx = Net::SSLeay::CTX_new_with_method(
        Net::SSLeay::TLS_client_method());

    if (my $version = $version{ $o{version} // '' }) {
        Net::SSLeay::CTX_set_min_proto_version($ctx, $version);
        Net::SSLeay::CTX_set_max_proto_version($ctx, $version);
    }
    Net::SSLeay::CTX_set_cipher_list($ctx, $o{ciphers}) if $o{ciphers};
    Net::SSLeay::CTX_load_verify_locations($ctx, $o{roots}, '') if $o{roots};
    Net::SSLeay::CTX_set_purpose($ctx, Net::SSLeay::X509_PURPOSE_SSL_SERVER())
        if $o{roots};
    Net::SSLeay::CTX_set_options($ctx, Net::SSLeay::OP_NO_TICKET())
        if $o{no_tickets};
    Net::SSLeay::CTX_set_post_handshake_auth($ctx, 1) if $o{post_auth};
    Net::SSLeay::CTX_set_alpn_protos($ctx, $o{alpn}) if $o{alpn};
    if (my $client = $o{client}) {
        Net::SSLeay::CTX_use_certificate($ctx, $client->x509);
        Net::SSLeay::CTX_use_PrivateKey($ctx, $client->key);
    }
    return $ctx;
}

# What the handshake showed.
sub facts ($c) {
    my $ssl = $c->{ssl};
    # On resumption the chain comes from the session, not from the server.
    my @certs = map { Ecert::Cert->new($_) }
        Net::SSLeay::get_peer_cert_chain($ssl);
    my ($leaf, @chain) = map { $_->fingerprint } @certs;
    my $verify = Net::SSLeay::get_verify_result($ssl);

    return (
        protocol => Net::SSLeay::get_version($ssl),
        cipher => Net::SSLeay::get_cipher($ssl),
        resumed => Net::SSLeay::session_reused($ssl) ? 1 : 0,
        certs => \@certs,
        fingerprint => $leaf,
        chain => \@chain,
        verified => $verify == 0 ? 1 : 0,
        verify_error => $verify == 0 ? ''
            : Net::SSLeay::X509_verify_cert_error_string($verify),
    );
}

# With TLS 1.3 it is there only after something was read.
sub session ($c) { return Net::SSLeay::get1_session($c->{ssl}) }
sub resumed ($c) { return Net::SSLeay::session_reused($c->{ssl}) }

sub close ($c) {
    if ($c->{ssl}) {
        Net::SSLeay::shutdown($c->{ssl});
        Net::SSLeay::free($c->{ssl});
        Net::SSLeay::CTX_free($c->{ctx}) if $c->{ctx};
    }
    close $c->{socket} if $c->{socket};
    delete @$c{qw(ssl ctx socket)};
}

sub _failed ($c, $what, $result) {
    my $code = Net::SSLeay::ERR_get_error();
    my $word = $code ? Net::SSLeay::ERR_error_string($code)
        : $!{EAGAIN} ? 'timeout' : $! || 'closed';
    Net::SSLeay::ERR_clear_error();
    $c->{error} ||= "$what: $word";
}

sub write ($c, $bytes) {
    while (length $bytes) {
        my $n = $c->{ssl} ? Net::SSLeay::write($c->{ssl}, $bytes)
            : syswrite $c->{socket}, $bytes;
        if (!$n || $n < 0) {
            $c->_failed('write', $n // -1);
            return 0;
        }
        substr $bytes, 0, $n, '';
    }
    return 1;
}

# Reads more into rest; 0 at the end and on errors (then error is set).
sub _more ($c) {
    my ($bytes, $n);
    if ($c->{ssl}) {
        ($bytes, $n) = Net::SSLeay::read($c->{ssl}, 16384);
        if (!defined $bytes || ($n // 0) <= 0) {
            my $why = Net::SSLeay::get_error($c->{ssl}, $n // -1);
            $c->_failed('read', $n)
                if $why != Net::SSLeay::ERROR_ZERO_RETURN();
            return 0;
        }
    } else {
        $n = sysread $c->{socket}, $bytes, 16384;
        $c->_failed('read', -1) if !defined $n;
        return 0 if !$n;
    }
    $c->{rest} .= $bytes;
    return 1;
}

# Exactly so many bytes, or undef.
sub take ($c, $n) {
    while (length $c->{rest} < $n) {
        $c->_more or return undef;
    }
    return substr $c->{rest}, 0, $n, '';
}

# What ALPN agreed on, or ''.
sub protocol ($c) { return Net::SSLeay::P_alpn_selected($c->{ssl}) // '' }

# Writes a request, reads one response; the connection can be used again
# when the response says so.
sub exchange ($c, $method, $bytes) {
    my $failed = { status => 0, headers => {}, body => '' };
    $c->write($bytes);
    while ($c->{rest} !~ /\r\n\r\n/) {
        next if $c->_more;
        $failed->{error} = $c->{error} || 'closed without an answer';
        $failed->{rest} = $c->{rest};
        return $failed;
    }
    $c->{rest} =~ s/^(.*?\r\n\r\n)//s;
    my $response = parse_head($1);
    $response->{body} = $c->_body($method, $response);
    $response->{error} = $c->{error};
    return $response;
}

sub _body ($c, $method, $response) {
    my $h = $response->{headers};
    return '' if $method eq 'HEAD' || $response->{status} =~ /^(1..|204|304)$/;
    return $c->_chunks if ($h->{'transfer-encoding'} // '') =~ /chunked/;

    my $length = $h->{'content-length'};
    while (!defined $length || length $c->{rest} < $length) {
        next if $c->_more;
        $c->{error} ||= 'body cut off' if defined $length;
        last;
    }
    return substr $c->{rest}, 0, $length // length $c->{rest}, '';
}

sub _chunks ($c) {
    my $body = '';
    while (1) {
        my ($line, $hex);
        until (($line, $hex) = $c->{rest} =~ /^(([0-9a-fA-F]+)[^\r\n]*\r\n)/) {
            $c->_more or return $body;
        }
        my ($head, $size) = (length $line, hex $hex);
        until (length $c->{rest} >= $head + $size + 2) {
            $c->_more or return $body;
        }
        $body .= substr $c->{rest}, $head, $size;
        substr $c->{rest}, 0, $head + $size + 2, '';
        return $body if $size == 0;
    }
}

# Status line and headers; a header that is there twice is joined by commas.
sub parse_head ($text) {
    my ($line, @lines) = split /\r\n/, $text;
    my ($status) = ($line // '') =~ m{^HTTP/\S+ (\d{3})};
    my %headers;
    for (@lines) {
        my ($name, $value) = /^([^:]+):\s*(.*)/ or next;
        $name = lc $name;
        $headers{$name} = exists $headers{$name}
            ? "$headers{$name}, $value" : $value;
    }
    return { status => $status // 0, headers => \%headers, body => '',
        error => '' };
}

1;
