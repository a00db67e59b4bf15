#!/usr/bin/perl

# Validation files that change, under load: those cases of
# t/torture/dcv.pm that are tried each time.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Torture::Cases qw(torture);

torture('dcv');
