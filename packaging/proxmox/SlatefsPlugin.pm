package PVE::Storage::Custom::SlatefsPlugin;

# The storage type `slatefs` of Proxmox VE: a slatefs pool that is mounted on a directory, laid out like a storage of type
# `dir`. What Proxmox' own directory code does on files is left to it. What only slatefs can do (snapshots of raw files, going
# back to any of them, clones, erasing what is freed) is one call of the command `slatefs` each.
#
# What holds here:
#  - Nothing is kept in this process but what one task needs (%frozen). All state is the pool's.
#  - Nothing goes through a shell, and a name that comes back from the pool is used only if it has the form of a disk's name.
#  - Properties that Proxmox or one of its plugins declares are only listed in options(); own ones have the prefix `slatefs-`:
#    one that is declared twice would take down the configuration of all storages.
#  - The storage is never `shared`: one host has the pool.
#
# docs/proxmox.md says what works, and which test shows it.

use strict;
use warnings;

use Cwd ();
use Fcntl qw(O_CREAT O_EXCL O_WRONLY);
use File::Basename qw(basename dirname);
use File::Path qw(make_path);
use File::Spec;
use JSON qw(decode_json);
use POSIX qw(strftime);
use Time::Local qw(timegm);

use PVE::ProcFSTools;
use PVE::Storage::DirPlugin;
use PVE::Tools qw(run_command);

use base qw(PVE::Storage::Plugin);

# The storage API that the tests were run against.
use constant TESTED_API => 15;

# Where things are on a host; tests have others.
our $SLATEFS = '/usr/bin/slatefs';
our $SYSTEMD = '/run/systemd/system'; # there: systemd runs the host
our $SYSTEMCTL = '/usr/bin/systemctl';
our $ESCAPE = '/usr/bin/systemd-escape';
our $ETC = '/etc/slatefs';
our $GUESTS = '/etc/pve/local';

# Snapshots that were made along with another disk's, for a call that is still to come in this task:
# {snapshot}{path of the volume}.
my %frozen;

# Configuration

sub api {
    my $version = PVE::Storage->can('APIVER');
    my $theirs = $version ? $version->() : TESTED_API;
    return $theirs < TESTED_API ? $theirs : TESTED_API;
}

sub type { return 'slatefs' }

sub plugindata {
    my %content = map { $_ => 1 } qw(images rootdir vztmpl iso backup snippets import none);
    return {
        content => [\%content, { images => 1, rootdir => 1 }],
        format => [{ raw => 1 }, 'raw'],
        'sensitive-properties' => {},
    };
}

sub properties {
    return {
        'slatefs-pool' => {
            description => "Name of the slatefs pool that is mounted on the path.",
            type => 'string',
            pattern => '[a-zA-Z0-9][a-zA-Z0-9_.:-]*',
        },
        'slatefs-refreservation' => {
            description => "What a new disk is promised. 'auto': its whole size, so that it never sees 'no space left'.",
            type => 'string',
            enum => ['none', 'auto'],
            default => 'none',
        },
    };
}

sub options {
    my @optional = qw(
        nodes disable content content-dirs create-base-path create-subdirs prune-backups max-protected-backups bwlimit
        is_mountpoint saferemove saferemove_throughput slatefs-refreservation
    );
    return {
        path => { fixed => 1 },
        'slatefs-pool' => { fixed => 1 },
        map { $_ => { optional => 1 } } @optional,
    };
}

sub check_config {
    my ($class, $id, $config, $create, $skip) = @_;
    my $checked = PVE::Storage::DirPlugin::check_config($class, $id, $config, $create, $skip);
    throughput($checked->{saferemove_throughput});
    return $checked;
}

# throughput is bytes per second of the property saferemove_throughput, which has the form of cstream's -t; 0: unlimited.
sub throughput {
    my ($text) = @_;
    return undef if !defined($text);
    my ($n, $unit) = $text =~ m/^-?(\d{1,12})([kmg]?)\z/i
        or die "saferemove_throughput: '$text' is not a number of bytes per second, as 50M\n";
    return $n * { '' => 1, k => 2**10, m => 2**20, g => 2**30 }->{ lc($unit) };
}

# The command

# slatefs runs the command and returns what it printed. Where it fails, the error is what it said.
sub slatefs {
    my ($args, %how) = @_;
    my ($out, $said) = ('', '');
    eval {
        run_command(
            [$SLATEFS, @$args],
            outfunc => sub { $out .= "$_[0]\n" },
            errfunc => sub { $said .= "$_[0]\n" },
            %how,
        );
    };
    if (my $err = $@) {
        $said =~ s/^slatefs: error: //;
        die $said || $err;
    }
    warn $said if $said;
    return $out;
}

# number and snapshot_name are what goes into a command line by that kind, from wherever it came. (A comma in a snapshot's name
# would make it several.)
sub number {
    my ($n) = ($_[0] // '') =~ m/^(\d{1,15})\z/ or die "'" . ($_[0] // '') . "' is not a number\n";
    return $n;
}

sub snapshot_name {
    my ($name) = ($_[0] // '') =~ m/^([a-zA-Z0-9_][a-zA-Z0-9_.-]*)\z/ or die "'" . ($_[0] // '') . "' is not the name of a snapshot\n";
    return $name;
}

sub slatefs_json {
    my ($key, $args, %how) = @_;
    return decode_json(slatefs($args, %how))->{$key};
}

# seconds is a time of slatefs, as 2026-11-30T03:56:28.13Z or with +01:00, since the epoch.
sub seconds {
    my ($text) = @_;
    my ($y, $mon, $d, $h, $min, $s, $sign, $oh, $om) =
        ($text // '') =~ m/^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.\d+)?(?:Z|([+-])(\d\d):(\d\d))\z/
        or return undef;
    my $at = timegm($s, $min, $h, $d, $mon - 1, $y);
    my $off = $sign ? ($oh * 60 + $om) * 60 * ($sign eq '-' ? -1 : 1) : 0;
    return $at - $off;
}

sub human {
    my ($bytes) = @_;
    my @units = qw(B KiB MiB GiB TiB);
    while ($bytes >= 1024 && @units > 1) {
        $bytes /= 1024;
        shift @units;
    }
    return $units[0] eq 'B' || $bytes >= 100 ? sprintf('%.0f %s', $bytes, $units[0]) : sprintf('%.1f %s', $bytes, $units[0]);
}

# What becomes of what is freed

# erasing does something that frees blocks of a volume, and returns how many bytes, and prints what is promised for them.
sub erasing {
    my ($scfg, $name, $path, $do) = @_;
    my $jobs = sub {
        my $info = slatefs_json('erase', ['erase', 'status', '-j', $scfg->{path}]);
        my ($rel) = File::Spec->canonpath($path) =~ m!^\Q@{[File::Spec->canonpath($scfg->{path})]}\E/(.*)\z!s;
        return ($info, grep { $_->{volume} eq $rel } $info->{jobs}->@*);
    };
    my ($before, @jobs) = $jobs->();
    my %old = map { $_->{id} => 1 } @jobs;
    my ($freed, $kept) = $do->();
    # What was to be done is done: no error from here on.
    if ($kept) {
        print "$name is kept until ", strftime('%F %H:%M', localtime($kept->{until})),
            " (destroy_delay); slatefs undestroy $kept->{id} $before->{pool} brings it back\n";
        return;
    }
    # The job comes when what is freed was looked up.
    my ($info, @new);
    for my $try (1 .. 14) { # about 2 s
        ($info, @new) = eval { $jobs->() };
        if (my $err = $@) {
            warn "what is erased is not known now: $err";
            return;
        }
        @new = grep { !$old{ $_->{id} } } @new;
        last if @new || !$freed;
        select(undef, undef, undef, 0.02 * $try);
    }
    print promise($name, $freed, $info, @new), "\n";
}

# promise is the line of a task. freed is in bytes. (Jobs know that only when the last map was walked.)
sub promise {
    my ($name, $freed, $info, @jobs) = @_;
    my $line = "freed " . human($freed) . " of $name";
    return "$line; slatefs erase status $info->{pool} shows what becomes of it" if $freed && !@jobs;
    return "$line; nothing is to be erased" if !@jobs;
    my $ids = join(', ', map { "#$_->{id}" } @jobs);
    return "$line; not erased (saferemove 0), zeroed before anybody gets it ($ids)"
        if !grep { $_->{policy} ne 'none' } @jobs;
    $line .= "; erase queued ($ids)";
    my ($end) = sort { $b <=> $a } map { seconds($_->{end}) // () } @jobs;
    return "$line, and paused" if $info->{paused};
    $line .= ', done about ' . strftime(($end - time() > 86400 ? '%F %H:%M' : '%H:%M'), localtime($end)) if defined($end);
    my $rate = $info->{rate} ? human($info->{rate}) . '/s' : 'an unlimited rate';
    $rate =~ s/(?:\.0)? ([KMGT])iB/$1/;
    return "$line at $rate";
}

# Storage

# pool_on is what the table of mounts has for the storage's path: the pool's name, or an empty one for something else; undef:
# nothing.
sub pool_on {
    my ($scfg, $mounts) = @_;
    $mounts //= PVE::ProcFSTools::parse_proc_mounts();
    my @at = grep { $_->[1] eq $scfg->{path} } @$mounts;
    if (!@at && defined(my $real = Cwd::realpath($scfg->{path}))) {
        @at = grep { $_->[1] eq $real } @$mounts;
    }
    return undef if !@at;
    return $at[-1]->[2] eq 'fuse.slatefs' ? $at[-1]->[0] : '';
}

# env_dir is the DIR of a file of settings as systemd reads it: the last one counts; undef: there is none.
sub env_dir {
    my ($file) = @_;
    open(my $fh, '<', $file) or die "unable to read '$file' - $!\n";
    my $dir;
    while (defined(my $line = <$fh>)) {
        $dir = $1 if $line =~ m/^\s*DIR\s*=\s*(.*?)\s*$/;
    }
    return undef if !defined($dir);
    $dir =~ s/^'(.*)'\z/$1/ or $dir =~ s/^"(.*)"\z/$1/;
    $dir =~ s/\\(.)/$1/g;
    return $dir;
}

sub mount_pool {
    my ($class, $storeid, $scfg) = @_;
    my ($pool, $path) = $scfg->@{qw(slatefs-pool path)};
    $class->config_aware_base_mkdir($scfg, $path);
    if (!-d $SYSTEMD) {
        slatefs(['mount', $pool, $path]);
        return;
    }
    # By systemd, so that the daemon belongs to no daemon of Proxmox' and is started again if it dies.
    my $unit = '';
    run_command([$ESCAPE, '--', $pool], outfunc => sub { $unit .= $_[0] });
    ($unit) = $unit =~ m/^([a-zA-Z0-9_.:\\-]+)\z/ or die "unable to name the service of the pool '$pool'\n";
    my $env = "$ETC/$unit.env";
    if (sysopen(my $fh, $env, O_WRONLY | O_CREAT | O_EXCL, 0644)) {
        print $fh "# Made for the storage '$storeid' of Proxmox VE. It is yours now.\nDIR=$path\n";
        close($fh) or die "unable to write '$env' - $!\n";
    } elsif (!$!{EEXIST}) {
        die "unable to make '$env' - $!\n";
    } elsif (defined(my $dir = env_dir($env))) {
        # The service would mount the pool there, out of this storage's sight.
        my $real = ($dir ne '' && Cwd::realpath($dir)) // $dir;
        if ($real ne (Cwd::realpath($path) // $path)) {
            $dir =~ s/[^\x20-\x7e]/?/g;
            die "'$env' says that the pool is mounted on '$dir' (DIR): make that '$path', or make it the path of the storage\n";
        }
    }
    run_command([$SYSTEMCTL, 'start', "slatefs\@$unit.service"]);
}

sub activate_storage {
    my ($class, $storeid, $scfg, $cache) = @_;
    my $want = $scfg->{'slatefs-pool'};
    my $have = pool_on($scfg, $cache->{mountdata});
    if (!defined($have)) {
        eval { $class->mount_pool($storeid, $scfg) };
        my $err = $@;
        delete $cache->{mountdata};
        $have = pool_on($scfg);
        # Another process may have been first.
        die "unable to activate storage '$storeid' - pool '$want' is not mounted on '$scfg->{path}': "
            . ($err || "nothing is mounted there\n")
            if !defined($have);
    }
    die "unable to activate storage '$storeid' - what is mounted on '$scfg->{path}' is not the slatefs pool '$want'\n"
        if $have ne $want;
    # A directory the kernel may remember of a daemon that died; for the free space it asks.
    my $df = PVE::Tools::df($scfg->{path}, 2);
    die "unable to activate storage '$storeid' - the daemon of the pool '$want' does not answer on '$scfg->{path}'\n"
        if !defined($df) || !$df->{total};
    $class->SUPER::activate_storage($storeid, $scfg, $cache);

    my $rate = throughput($scfg->{saferemove_throughput}) // return;
    eval {
        my $now = slatefs(['get', '-Hp', '-o', 'value', 'erase_throughput', $scfg->{path}], timeout => 5);
        slatefs(['set', "erase_throughput=$rate", $scfg->{path}], timeout => 5) if $now != $rate;
    };
    warn "saferemove_throughput of storage '$storeid' is not set: $@" if $@; # guests can go on without it
}

sub status {
    my ($class, $storeid, $scfg, $cache) = @_;
    $cache->{mountdata} //= PVE::ProcFSTools::parse_proc_mounts();
    my $have = pool_on($scfg, $cache->{mountdata});
    return undef if !defined($have) || $have ne $scfg->{'slatefs-pool'};
    return $class->SUPER::status($storeid, $scfg, $cache);
}

sub get_identity {
    my ($class, $scfg, $storeid) = @_;
    return slatefs_json('erase', ['erase', 'status', '-j', $scfg->{path}])->{pool_uuid};
}

# Volumes

# there tells whether a path is there. Only that it is not makes it absent: what a pool that is not mounted, or a daemon that died,
# does not show must not be taken for removed.
sub there {
    my ($scfg, $path) = @_;
    return 1 if lstat($path);
    die "unable to look at '$path' - $!\n" if !$!{ENOENT};
    mounted($scfg);
    return 0;
}

# mounted dies if the pool is not mounted.
sub mounted {
    my ($scfg) = @_;
    my $pool = pool_on($scfg) // '';
    die "the pool '$scfg->{'slatefs-pool'}' is not mounted on '$scfg->{path}'\n" if $pool ne $scfg->{'slatefs-pool'};
}

# is_disk tells whether a name is that of a disk, which is what the pool has layers of. What Proxmox never calls one is none: with
# @ or , the command would take it for a snapshot's, and what has no plain letters it shows escaped, with \.
sub is_disk {
    my ($class, $volname) = @_;
    my ($vtype, undef, undef, undef, undef, undef, $format) = $class->parse_volname($volname);
    return $vtype eq 'images' && $format eq 'raw' && $volname !~ m/[^\x21-\x7e]|[\@,\\]/;
}

# disk is the path of a disk; what is none dies.
sub disk {
    my ($class, $scfg, $volname) = @_;
    die "'$volname' is no raw disk\n" if !$class->is_disk($volname);
    return scalar($class->filesystem_path($scfg, $volname));
}

sub filesystem_path {
    my ($class, $scfg, $volname, $snap) = @_;
    my ($path, $vmid, $vtype) = $class->SUPER::filesystem_path($scfg, $volname);
    if (defined($snap)) {
        die "'$volname' has no snapshots\n" if !$class->is_disk($volname);
        $path = at($path, $snap);
    }
    return wantarray ? ($path, $vmid, $vtype) : $path;
}

# volume_settings are flags of create and clone.
sub volume_settings {
    my ($scfg) = @_;
    my @flags;
    push @flags, '-o', 'erase=' . ($scfg->{saferemove} ? 'zero' : 'none') if defined($scfg->{saferemove});
    push @flags, '-o', "refreservation=$scfg->{'slatefs-refreservation'}" if defined($scfg->{'slatefs-refreservation'});
    return @flags;
}

# at is what the command calls a snapshot of a disk, whatever else lies beside that, or the disk itself.
sub at {
    my ($path, $snap) = @_;
    return defined($snap) ? dirname($path) . '/.snap/' . basename($path) . '@' . snapshot_name($snap) : $path;
}

# new_disk has a new disk of a guest made: $make is given its path. It returns the disk's name.
sub new_disk {
    my ($class, $storeid, $scfg, $vmid, $name, $make) = @_;
    my $dir = $class->get_subdir($scfg, 'images') . '/' . number($vmid);
    mounted($scfg); # else the directory would be made below, and be in the way of the mount
    make_path($dir, { error => \my $failed });
    die "unable to make '$dir' - " . join(' - ', map { values %$_ } @$failed) . "\n" if @$failed;
    eval {
        $name = $class->find_free_diskname($storeid, $scfg, $vmid, 'raw', 1) if !$name;
        # What is called otherwise is never listed.
        die "illegal name '$name' - a disk is called vm-$vmid-….raw\n"
            if !$class->is_disk("$vmid/$name") || $name !~ m/^(?:vm|base)-\Q$vmid\E-/;
        $make->("$dir/$name");
    };
    if (my $err = $@) {
        rmdir $dir; # if it was made for this one
        die $err;
    }
    return $name;
}

sub alloc_image {
    my ($class, $storeid, $scfg, $vmid, $fmt, $name, $size) = @_;
    die "unsupported format '$fmt'\n" if $fmt ne 'raw';
    $name = $class->new_disk($storeid, $scfg, $vmid, $name, sub {
        eval { slatefs(['create', volume_settings($scfg), '--size', number($size) * 1024, $_[0]]) };
        die "unable to create image: $@" if $@;
    });
    return "$vmid/$name";
}

# immutable sets or clears the flag that keeps root from writing a template; that it can't is only told.
sub immutable {
    my ($path, $flag) = @_;
    eval { run_command(['/usr/bin/chattr', $flag, $path]) };
    warn $@ if $@;
}

# A disk goes with its snapshots. Clones keep what they show of it.
sub free_image {
    my ($class, $storeid, $scfg, $volname, $isBase, $format) = @_;
    return $class->SUPER::free_image($storeid, $scfg, $volname, $isBase, $format) if !$class->is_disk($volname);
    my $path = $class->disk($scfg, $volname);
    if (!there($scfg, $path)) {
        warn "disk image '$path' does not exist\n";
        return undef;
    }
    immutable($path, '-i') if $isBase;
    eval { erasing($scfg, basename($path), $path, sub { return destroyed('-r', '-d', $path) }) };
    if (my $err = $@) {
        immutable($path, '+i') if $isBase;
        die $err;
    }
    rmdir dirname($path); # if it was the guest's last
    return undef;
}

# destroyed destroys and returns how much that freed, in bytes; or undef, and a hash of what is kept because of destroy_delay.
sub destroyed {
    my @args = @_;
    my $out = slatefs(['destroy', '-v', '-p', @args]);
    return (undef, { until => $1, id => $2 }) if $out =~ m/^kept\t[^\t\n]*\t(\d+)\t(\d+)$/m;
    return $out =~ m/^reclaim\t(\d+)$/m ? $1 : 0;
}

sub create_base {
    my ($class, $storeid, $scfg, $volname) = @_;
    my ($name, $vmid, $isBase) = ($class->parse_volname($volname))[1, 2, 5];
    my $path = $class->disk($scfg, $volname);
    die "create_base not possible with base image\n" if $isBase;
    (my $base = $name) =~ s/^vm-/base-/ or die "'$volname' can't be a template\n";
    my $to = dirname($path) . "/$base";
    slatefs(['rename', $path, $to]);
    chmod(0444, $to) or warn "unable to make '$to' read-only - $!\n";
    immutable($to, '+i');
    return "$vmid/$base";
}

# A clone depends on nothing by its name, for nothing that happens to what it was made of reaches it.
sub clone_image {
    my ($class, $scfg, $storeid, $volname, $vmid, $snap) = @_;
    my $from = $class->disk($scfg, $volname);
    die "volume '$storeid:$volname' does not exist\n" if !there($scfg, $from);
    my $mode = (stat($from))[2] // die "unable to look at '$from' - $!\n";
    my $name = $class->new_disk($storeid, $scfg, $vmid, undef, sub {
        my ($path) = @_;
        slatefs(['clone', volume_settings($scfg), at($from, $snap), $path]);
        # A template is not to be written; its clone is.
        chmod(($mode & 0777) | 0640, $path) or warn "unable to make '$path' writable - $!\n";
    });
    return "$vmid/$name";
}

sub volume_resize {
    my ($class, $scfg, $storeid, $volname, $size, $running, $snap) = @_;
    die "a snapshot keeps its size\n" if defined($snap);
    return 1 if $running; # qemu does it
    my $path = $class->disk($scfg, $volname);
    slatefs(['resize', $path, number($size)], timeout => 10);
    return undef;
}

sub rename_volume {
    my ($class, $scfg, $storeid, $volname, $vmid, $name) = @_;
    my $from = $class->disk($scfg, $volname);
    $name = $class->new_disk($storeid, $scfg, $vmid, $name, sub { slatefs(['rename', $from, $_[0]]) }); # its snapshots go along
    return "$storeid:$vmid/$name";
}

sub list_images {
    my ($class, $storeid, $scfg, $vmid, $vollist, $cache) = @_;
    my $dir = $class->get_subdir($scfg, 'images');
    return [] if !there($scfg, $dir);
    my $rows = slatefs_json('rows', ['list', '-r', '-j', '-t', 'volume', $dir]);
    my $list = [];
    for my $row (@$rows) {
        my ($owner, $name) = $row->{name} =~ m!/(\d+)/((?:vm|base)-\d+-[^/\s]+\.raw)\z! or next;
        next if !$class->is_disk("$owner/$name");
        next if !$vollist && defined($vmid) && $owner ne $vmid;
        my $volid = "$storeid:$owner/$name";
        next if $vollist && !grep { $_ eq $volid } @$vollist;
        push @$list, {
            volid => $volid,
            format => 'raw',
            size => $row->{volsize},
            used => $row->{used},
            vmid => $owner,
            ctime => seconds($row->{creation}),
        };
    }
    return $list;
}

# Snapshots

# siblings are the paths of the disks that the guest's configuration puts into the snapshot that is being made, if this disk
# is one of them. Disks that Proxmox itself leaves out are left out.
sub siblings {
    my ($class, $scfg, $storeid, $volname, $snap) = @_;
    my $vmid = ($class->parse_volname($volname))[2] // return;
    my ($section, $preparing, $self, @paths) = ('', 0, 0);
    for my $kind (qw(qemu-server lxc)) {
        open(my $fh, '<', "$GUESTS/$kind/$vmid.conf") or next;
        while (defined(my $line = <$fh>)) {
            $section = $1 if $line =~ m/^\[([^\]]*)\]/;
            next if $section ne $snap;
            $preparing = 1 if $line =~ m/^snapstate:\s*prepare\s*$/;
            my ($key, $disk, $more) =
                $line =~ m/^((?:ide|sata|scsi|virtio|efidisk|tpmstate|rootfs|mp)\d*):\s*(?:file=|volume=)?\Q$storeid\E:([^,\s]+)(\S*)/
                or next;
            next if $more =~ m/,media=cdrom\b/;
            next if $snap eq 'vzdump' && $key =~ m/^mp/ && $more !~ m/,backup=1\b/;
            next if !eval { $class->is_disk($disk) };
            $self = 1 if $disk eq $volname;
            push @paths, $class->disk($scfg, $disk);
        }
    }
    return $preparing && $self ? @paths : ();
}

# Proxmox asks for a snapshot of one disk after another. With the first one all disks of the guest are frozen at one instant.
sub volume_snapshot {
    my ($class, $scfg, $storeid, $volname, $snap) = @_;
    my $path = $class->disk($scfg, $volname);
    return undef if delete $frozen{$snap}{$path} && -e $class->filesystem_path($scfg, $volname, $snap);
    my %all = map { $_ => 1 } $path, $class->siblings($scfg, $storeid, $volname, $snap);
    my @paths = sort keys %all;
    slatefs(['snapshot', map { at($_, $snap) } @paths]);
    print "frozen at one instant: ", join(', ', map { basename($_) } @paths), "\n" if @paths > 1;
    $frozen{$snap}{$_} = 1 for grep { $_ ne $path } @paths;
    return undef;
}

# snapshots are the rows of a disk's snapshots, by name.
sub snapshots {
    my ($path) = @_;
    my $rows = slatefs_json('rows', ['list', '-j', '-t', 'snapshot', $path]);
    return map { $_->{name} =~ m!@([^@/]+)\z! ? ($1 => $_) : die "'$_->{name}' is no snapshot\n" } @$rows;
}

# Any snapshot will do. Whether the disk is open is asked at the rollback itself: Proxmox asks this here while the guest runs.
sub volume_rollback_is_possible {
    my ($class, $scfg, $storeid, $volname, $snap, $blockers) = @_;
    slatefs(['rollback', '-n', '--force', at($class->disk($scfg, $volname), $snap)]);
    return 1;
}

sub volume_snapshot_rollback {
    my ($class, $scfg, $storeid, $volname, $snap) = @_;
    my $path = $class->disk($scfg, $volname);
    erasing($scfg, basename($path), $path, sub {
        my $head = slatefs_json('rows', ['list', '-j', '-t', 'volume', $path])->[0];
        slatefs(['rollback', at($path, $snap)]);
        return $head->{written}; # all that the head had by itself goes
    });
    return undef;
}

sub volume_snapshot_delete {
    my ($class, $scfg, $storeid, $volname, $snap, $running) = @_;
    my $path = $class->disk($scfg, $volname);
    # Of a snapshot that failed at another storage's disk Proxmox removes only what it has asked for.
    for my $file ($path, sort keys %{ delete $frozen{$snap} // {} }) {
        my %have = snapshots($file);
        if (!$have{$snap}) {
            print basename($file), " has no snapshot '$snap'\n";
            next;
        }
        erasing($scfg, basename($file) . "\@$snap", $file, sub { return destroyed('-d', at($file, $snap)) });
    }
    return undef;
}

sub volume_snapshot_info {
    my ($class, $scfg, $storeid, $volname) = @_;
    my $path = $class->disk($scfg, $volname);
    return {} if !there($scfg, $path);
    my %have = snapshots($path);
    return {
        map {
            $_ => {
                id => $have{$_}->{creation},
                timestamp => seconds($have{$_}->{creation}),
                file => scalar($class->filesystem_path($scfg, $volname, $_)),
                'virtual-size' => $have{$_}->{volsize},
            }
        } grep { eval { snapshot_name($_) } } keys %have # others were made by hand, and Proxmox has no words for them
    };
}

sub rename_snapshot {
    my ($class, $scfg, $storeid, $volname, $from, $to) = @_;
    slatefs(['rename', at($class->disk($scfg, $volname), $from), snapshot_name($to)]);
}

# A container's backup mounts the snapshot without replaying a journal.
sub volume_snapshot_needs_fsfreeze { return 1 }

# The guest's path stays, and qemu need not know.
sub volume_qemu_snapshot_method { return 'storage' }

sub volume_has_feature {
    my ($class, $scfg, $feature, $storeid, $volname, $snap, $running, $opts) = @_;
    my $features = {
        snapshot => { current => 1, snap => 1 },
        clone => { base => 1, current => 1, snap => 1 },
        template => { current => 1 },
        copy => { base => 1, current => 1, snap => 1 },
        sparseinit => { base => 1, current => 1 },
        rename => { current => 1 },
    };
    return undef if !$class->is_disk($volname);
    return 0
        if $feature eq 'clone'
        && defined($opts->{valid_target_formats})
        && !grep { $_ eq 'raw' } $opts->{valid_target_formats}->@*;
    my $isBase = ($class->parse_volname($volname))[5];
    return $features->{$feature}->{ defined($snap) ? 'snap' : $isBase ? 'base' : 'current' };
}

# Files beside disks, as in a storage of type dir

sub get_volume_attribute {
    my ($class, $scfg, $storeid, $volname, $attribute) = @_;
    return PVE::Storage::DirPlugin::get_volume_attribute($class, $scfg, $storeid, $volname, $attribute);
}

sub update_volume_attribute {
    my ($class, $scfg, $storeid, $volname, $attribute, $value) = @_;
    return PVE::Storage::DirPlugin::update_volume_attribute($class, $scfg, $storeid, $volname, $attribute, $value);
}

sub get_import_metadata {
    return PVE::Storage::DirPlugin::get_import_metadata(@_);
}

1;
