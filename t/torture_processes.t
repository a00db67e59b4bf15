#!/usr/bin/perl

# What becomes of processes, under load: those cases of
# t/torture/processes.pm that are tried each time.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Torture::Cases qw(torture);

torture('processes');
