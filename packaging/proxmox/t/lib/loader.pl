#!/usr/bin/perl -T
# Loads Proxmox' storage layer, which loads what lies in its folder of plugins, and prints the types that it has then.

use strict;
use warnings;

use FindBin;
BEGIN { require((($FindBin::Bin =~ m/^(.*)$/)[0]) . '/Lab.pm'); }

Lab::upstream();
require PVE::Storage;
print join(' ', sort(keys PVE::Storage::Plugin->private()->{plugins}->%*)), "\n";
