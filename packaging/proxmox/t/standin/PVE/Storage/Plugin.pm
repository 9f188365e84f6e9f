package PVE::Storage::Plugin;

# A stand-in of the contract that plugins are written against, for tests; see PVE/Tools.pm. It has the names, the arguments
# and the rules that the plugin relies on, and nothing else.

use strict;
use warnings;

use File::Path qw(make_path);

use PVE::Tools;

my (%plugins, %declared, %options, %data);
my %common = map { $_ => {} } qw(nodes disable content content-dirs prune-backups max-protected-backups shared format);
my %subdirs = (
    images => 'images', rootdir => 'private', iso => 'template/iso', vztmpl => 'template/cache', backup => 'dump',
    snippets => 'snippets', import => 'import',
);

sub register {
    my ($class) = @_;
    $plugins{ $class->type() } = $class;
    $data{ $class->type() } = $class->plugindata();
}

# A property that two declare, or an option that nobody declares, takes down all.
sub init {
    %declared = %common;
    for my $class (map { $plugins{$_} } sort keys %plugins) {
        my $own = $class->can('properties') ? $class->properties() : {};
        for my $p (sort keys %$own) {
            die "duplicate property '$p'\n" if $declared{$p};
            $declared{$p} = $own->{$p};
        }
    }
    for my $type (sort keys %plugins) {
        $options{$type} = $plugins{$type}->options();
        for my $o (keys $options{$type}->%*) {
            die "undefined property '$o'\n" if !$declared{$o};
        }
    }
}

sub private { return { options => \%options, propertyList => \%declared, plugins => \%plugins, plugindata => \%data } }
sub properties { return {} }
sub lookup { return $plugins{ $_[1] } // die "unknown section type '$_[1]'\n" }

sub check_config {
    my ($class, $id, $config, $create, $skip) = @_;
    my $opts = $options{ $class->type() };
    for my $key (sort keys %$config) {
        next if $key eq 'type';
        die "unexpected property '$key'\n" if !$opts->{$key};
        my ($pattern, $enum) = $declared{$key}->@{qw(pattern enum)};
        die "$key: value does not match the regex pattern\n" if $pattern && $config->{$key} !~ m/^$pattern$/;
        die "$key: value '$config->{$key}' does not have a value in the enumeration\n"
            if $enum && !grep { $_ eq $config->{$key} } @$enum;
    }
    for my $key (sort keys %$opts) {
        die "missing value for required option '$key'\n" if !$opts->{$key}->{optional} && !defined($config->{$key});
    }
    return {%$config};
}

sub parse_config {
    my ($class, $file, $raw) = @_;
    my ($ids, $type, $id) = ({});
    for my $line (split(/\n/, $raw)) {
        ($type, $id) = ($1, $2) if $line =~ m/^(\w+): (\S+)$/;
        $ids->{$id}->{type} = $type if $line =~ m/^\w+:/;
        $ids->{$id}->{$1} = $2 if $line =~ m/^\s+(\S+)\s+(.*\S)\s*$/;
    }
    for my $id (keys %$ids) {
        my $config = eval { lookup($class, $ids->{$id}->{type})->check_config($id, $ids->{$id}, 0, 1) };
        warn "file $file (section '$id'): $@" if $@;
        next if !$config;
        $config->{content} = { map { $_ => 1 } split(/,/, $config->{content} // 'images,rootdir') };
        $ids->{$id} = $config;
    }
    return { ids => $ids };
}

sub get_subdir {
    my ($class, $scfg, $vtype) = @_;
    return "$scfg->{path}/" . ($scfg->{'content-dirs'}->{$vtype} // $subdirs{$vtype} // die "unknown vtype '$vtype'\n");
}

sub parse_volname {
    my ($class, $volname) = @_;
    if ($volname =~ m!^(\d+)/((?:(base)|vm)-\d+-[^/\s]+\.(raw|qcow2))$!) {
        return ('images', $2, $1, undef, undef, $3 ? 'base-' : undef, $4);
    } elsif ($volname =~ m!^(iso|backup)/([^/]+)$!) {
        return ($1, $2, undef, undef, undef, undef, 'raw');
    }
    die "unable to parse directory volume name '$volname'\n";
}

sub filesystem_path {
    my ($class, $scfg, $volname, $snap) = @_;
    die "can't snapshot this image format\n" if defined($snap);
    my ($vtype, $name, $vmid) = $class->parse_volname($volname);
    my $path = $class->get_subdir($scfg, $vtype) . ($vtype eq 'images' ? "/$vmid" : '') . "/$name";
    return wantarray ? ($path, $vmid, $vtype) : $path;
}

sub path {
    my ($class, $scfg, $volname, $storeid, $snap) = @_;
    return $class->filesystem_path($scfg, $volname, $snap);
}

sub find_free_diskname {
    my ($class, $storeid, $scfg, $vmid, $fmt, $suffix) = @_;
    my %taken = map { m/-(\d+)\.raw$/ ? ($1 => 1) : () } map { $_->{volid} } $class->list_images($storeid, $scfg, $vmid)->@*;
    my ($n) = grep { !$taken{$_} } 0 .. 1023;
    return "vm-$vmid-disk-$n" . ($suffix ? ".$fmt" : '');
}

sub config_aware_base_mkdir {
    my ($class, $scfg, $path) = @_;
    make_path($path) if $scfg->{'create-base-path'} // 1;
}

sub activate_storage {
    my ($class, $storeid, $scfg, $cache) = @_;
    die "directory '$scfg->{path}' does not exist or is unreachable\n" if !-d $scfg->{path};
    return if defined($scfg->{'create-subdirs'}) && !$scfg->{'create-subdirs'};
    make_path(map { $class->get_subdir($scfg, $_) } grep { $subdirs{$_} } keys $scfg->{content}->%*);
}

sub status {
    my ($class, $storeid, $scfg, $cache) = @_;
    my $df = PVE::Tools::df($scfg->{path}, 2);
    return $df->{total} ? ($df->@{qw(total avail used)}, 1) : undef;
}

sub free_image {
    my ($class, $storeid, $scfg, $volname) = @_;
    unlink($class->filesystem_path($scfg, $volname)) or die "unlink '$volname' failed - $!\n";
    return undef;
}

sub activate_volume {
    my ($class, $storeid, $scfg, $volname, $snap) = @_;
    die "volume '$storeid:$volname' does not exist\n" if !-e $class->filesystem_path($scfg, $volname, $snap);
}

1;
