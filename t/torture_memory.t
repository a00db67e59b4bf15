#!/usr/bin/perl

# Memory that is damaged, memory and descriptors that are used up, under load:
# those cases of t/torture/memory.pm that are tried each time.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Torture::Cases qw(torture);

torture('memory');
