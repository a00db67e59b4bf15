#!/bin/sh

# What a script can prove about the tree.

exec auto/check
