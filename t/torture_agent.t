#!/usr/bin/perl

# The agent killed, starved and kept busy, under load: those cases of
# t/torture/agent.pm that are tried each time.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Ecert::Torture::Cases qw(torture);

torture('agent');
