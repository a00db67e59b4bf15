#!/usr/bin/perl

# Hostile OCSP responders, under load: those cases of
# t/torture/network.pm that are tried each time.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Torture::Cases qw(torture);

torture('network');
