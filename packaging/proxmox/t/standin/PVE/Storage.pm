package PVE::Storage;

# A stand-in for tests; see PVE/Tools.pm.

use strict;
use warnings;

use PVE::Storage::Plugin;
use PVE::Storage::DirPlugin;

use constant APIVER => 15;
use constant APIAGE => 6;

# What Proxmox' plugin for LVM declares, and this plugin lists.
package PVE::Storage::LVMStandin {
    use base qw(PVE::Storage::Plugin);
    sub type { return 'lvm' }
    sub plugindata { return { content => [{ images => 1 }, { images => 1 }] } }
    sub properties { return { saferemove => {}, saferemove_throughput => {} } }
    sub options { return { saferemove => { optional => 1 }, saferemove_throughput => { optional => 1 } } }
}

PVE::Storage::DirPlugin->register();
PVE::Storage::LVMStandin->register();
PVE::Storage::Plugin->init();

sub parse_volume_id { return $_[0] =~ m/^([a-z][a-z0-9_.-]*):(.+)$/ ? ($1, $2) : die "unable to parse volume ID '$_[0]'\n" }
sub storage_config { return $_[0]->{ids}->{ $_[1] } // die "storage '$_[1]' does not exist\n" }

# plugin is who has a volume, and what each of its functions begins with.
sub plugin {
    my ($cfg, $volid) = @_;
    my ($storeid, $volname) = parse_volume_id($volid);
    my $scfg = storage_config($cfg, $storeid);
    return (PVE::Storage::Plugin->lookup($scfg->{type}), $scfg, $storeid, $volname);
}

for my $name (qw(
    volume_snapshot volume_snapshot_delete volume_snapshot_info volume_rollback_is_possible volume_resize
)) {
    no strict 'refs';
    *{$name} = sub {
        my ($plugin, @begin) = plugin(splice(@_, 0, 2));
        return $plugin->$name(@begin, @_);
    };
}

sub volume_snapshot_rollback {
    my ($cfg, $volid, $snap) = @_;
    my ($plugin, @begin) = plugin($cfg, $volid);
    $plugin->volume_rollback_is_possible(@begin, $snap);
    return $plugin->volume_snapshot_rollback(@begin, $snap);
}

sub volume_has_feature {
    my ($cfg, $feature, $volid, @more) = @_;
    my ($plugin, $scfg, @begin) = plugin($cfg, $volid);
    return $plugin->volume_has_feature($scfg, $feature, @begin, @more);
}

sub path {
    my ($cfg, $volid, $snap) = @_;
    my ($plugin, $scfg, $storeid, $volname) = plugin($cfg, $volid);
    my ($path) = $plugin->path($scfg, $volname, $storeid, $snap);
    return $path;
}

sub activate_storage {
    my ($cfg, $storeid, $cache) = @_;
    my $scfg = storage_config($cfg, $storeid);
    PVE::Storage::Plugin->lookup($scfg->{type})->activate_storage($storeid, $scfg, $cache // {});
}

sub vdisk_alloc {
    my ($cfg, $storeid, $vmid, $fmt, $name, $size) = @_;
    my $scfg = storage_config($cfg, $storeid);
    my $umask = umask 0037;
    my $volname = eval { PVE::Storage::Plugin->lookup($scfg->{type})->alloc_image($storeid, $scfg, $vmid, $fmt, $name, $size) };
    my $err = $@;
    umask $umask;
    die $err if $err;
    return "$storeid:$volname";
}

sub vdisk_free {
    my ($plugin, $scfg, $storeid, $volname) = plugin(@_);
    my ($isBase, $format) = ($plugin->parse_volname($volname))[5, 6];
    $plugin->free_image($storeid, $scfg, $volname, $isBase, $format);
}

sub vdisk_list {
    my ($cfg, $storeid, $vmid, $vollist) = @_;
    my $scfg = storage_config($cfg, $storeid);
    my $list = PVE::Storage::Plugin->lookup($scfg->{type})->list_images($storeid, $scfg, $vmid, $vollist);
    return { $storeid => [sort { $a->{volid} cmp $b->{volid} } @$list] };
}

sub vdisk_clone {
    my ($cfg, $volid, $vmid, $snap) = @_;
    my ($plugin, $scfg, $storeid, $volname) = plugin($cfg, $volid);
    return "$storeid:" . $plugin->clone_image($scfg, $storeid, $volname, $vmid, $snap);
}

sub vdisk_create_base {
    my ($plugin, $scfg, $storeid, $volname) = plugin(@_);
    return "$storeid:" . $plugin->create_base($storeid, $scfg, $volname);
}

sub rename_volume {
    my ($cfg, $volid, $vmid, $name) = @_;
    my ($plugin, $scfg, $storeid, $volname) = plugin($cfg, $volid);
    return $plugin->rename_volume($scfg, $storeid, $volname, $vmid, $name);
}

sub volume_size_info {
    my ($plugin, $scfg, $storeid, $volname) = plugin(@_);
    return -s $plugin->path($scfg, $volname, $storeid);
}

1;
