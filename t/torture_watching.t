#!/usr/bin/perl

# Faults of watching, under load: those of t/torture/watching.pm that are
# tried each time.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Torture::Cases qw(torture);

torture('watching');
