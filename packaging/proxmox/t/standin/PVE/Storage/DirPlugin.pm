package PVE::Storage::DirPlugin;

# A stand-in for tests; see PVE/Tools.pm.

use strict;
use warnings;

use base qw(PVE::Storage::Plugin);

sub type { return 'dir' }
sub plugindata { return { content => [{ images => 1, iso => 1 }, { images => 1 }], format => [{ raw => 1, qcow2 => 1 }, 'raw'] } }
sub properties { return { map { $_ => {} } qw(path mkdir create-base-path create-subdirs is_mountpoint bwlimit) } }
sub options { return { path => { fixed => 1 }, content => { optional => 1 }, is_mountpoint => { optional => 1 } } }

sub check_config {
    my ($class, @more) = @_;
    my $checked = PVE::Storage::Plugin::check_config($class, @more);
    die "illegal path for directory storage: $checked->{path}\n" if $checked->{path} !~ m|^/[-/a-zA-Z0-9_.@]+$|;
    return $checked;
}

sub get_volume_attribute { return undef }
sub update_volume_attribute { die "only backups have attributes\n" }
sub get_import_metadata { die "not here\n" }

1;
