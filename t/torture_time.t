#!/usr/bin/perl

# A wrong clock, under load: those cases of
# t/torture/time.pm that are tried each time.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Torture::Cases qw(torture);

torture('time');
