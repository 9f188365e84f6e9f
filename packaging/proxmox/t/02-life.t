#!/usr/bin/perl -T
# The whole life of guests' disks through Proxmox' storage layer, on a real mount: each step proves itself by what can be read.

use strict;
use warnings;

use Fcntl qw(:mode);
use File::Path qw(make_path);
use FindBin;
use Test::More;
use Time::HiRes qw(time);
BEGIN { require((($FindBin::Bin =~ m/^(.*)$/)[0]) . '/lib/Lab.pm'); Lab->import(); }

my $MiB = 1 << 20;
my $cfg = config('is_mountpoint yes', 'saferemove 1', 'saferemove_throughput 64M', 'slatefs-refreservation none');
my $scfg = $cfg->{ids}->{slate};

make_path("$DIR/guests/qemu-server", "$DIR/guests/lxc", "$DIR/etc", $MNT);
slatefs('pool', 'create', '--size', '1G', '--sparse', 'tank', "$DIR/tank.pool");
slatefs('pool', 'create', '--size', '128M', '--sparse', 'other', "$DIR/other.pool");

END {
    if (defined($MNT)) {
        my $code = $?;
        slatefs('umount', $MNT) if slurp('/proc/mounts') =~ m/ \Q$MNT\E /;
        slatefs('pool', 'check', 'tank');
        $? = $code;
    }
}

# file is the path of a disk, or of a snapshot of one.
sub file {
    my ($path) = plug('path', $cfg, @_);
    return $path;
}

# mark writes a mebibyte of a letter at a place of a disk, and look says which letter is there.
sub mark {
    my ($path, $at, $letter) = @_;
    open(my $fh, '+<', $path) or die "$path: $!\n";
    seek($fh, $at * $MiB, 0);
    print $fh $letter x $MiB;
    close($fh) or die "$path: $!\n";
}

sub look {
    my ($path, $at) = @_;
    open(my $fh, '<', $path) or die "$path: $!\n";
    seek($fh, $at * $MiB, 0);
    read($fh, my $data, $MiB);
    my $first = substr($data, 0, 1);
    return $data eq $first x $MiB ? $first : 'a mix';
}

# wait_erased waits until all that was freed is zero.
sub wait_erased { slatefs('erase', 'wait', $MNT) }

my %took;

# timed does something, and keeps how long that took.
sub timed(&$) {
    my ($do, $what) = @_;
    my $start = time();
    my @got = $do->();
    $took{$what} = time() - $start;
    return wantarray ? @got : $got[0];
}

subtest 'activation mounts' => sub {
    is_deeply([$PLUGIN->status('slate', $scfg, {})], [undef], 'offline before');
    plug('activate_storage', $cfg, 'slate', {});
    like(slurp('/proc/mounts'), qr/^tank \Q$MNT\E fuse\.slatefs /m, 'the pool is mounted');
    ok(-d "$MNT/$_", "$_ is there") for ('images', 'private', 'template/iso');
    plug('activate_storage', $cfg, 'slate', {});
    my ($total, $avail, $used, $active) = $PLUGIN->status('slate', $scfg, {});
    ok($active && $total > 900 * $MiB && $avail > 0 && $avail <= $total, "online, $avail of $total bytes are free");
    is(slatefs('get', '-Hp', '-o', 'value', 'erase_throughput', $MNT) + 0, 64 * $MiB, 'saferemove_throughput is the rate');
    like($PLUGIN->get_identity($scfg, 'slate'), qr/^[0-9a-f-]{36}$/, 'its identity is the UUID of the pool');
    $PLUGIN->activate_storage('slate', { %$scfg, saferemove_throughput => '10M' }, {});
    is(slatefs('get', '-Hp', '-o', 'value', 'erase_throughput', $MNT) + 0, 10 * $MiB, 'and follows the configuration');
    $PLUGIN->activate_storage('slate', $scfg, {});
};

subtest 'another pool there is refused' => sub {
    my %wrong = (%$scfg, 'slatefs-pool' => 'other');
    refused { $PLUGIN->activate_storage('slate', \%wrong, {}) } qr/is not the slatefs pool 'other'/, 'the pool tank is mounted';
    is_deeply([$PLUGIN->status('slate', \%wrong, {})], [undef], 'and has no status');
    %wrong = (%$scfg, path => "$DIR/pve/none", 'slatefs-pool' => 'none');
    refused { $PLUGIN->activate_storage('slate', \%wrong, {}) } qr/pool 'none' is not mounted on/, 'a pool that is not there';
    %wrong = (%$scfg, path => '/proc', 'slatefs-pool' => 'tank');
    refused { $PLUGIN->activate_storage('slate', \%wrong, {}) } qr/is not the slatefs pool/, 'another file system';
};

subtest 'activation by systemd' => sub {
    no strict 'refs';
    local (${"${PLUGIN}::SYSTEMD"}, ${"${PLUGIN}::SYSTEMCTL"}, ${"${PLUGIN}::ESCAPE"}) = ($DIR, "$DIR/systemctl", "$DIR/escape");
    spit("$DIR/escape", "#!/bin/sh\nprintf '%s' \"\$2\" | sed 's/-/\\\\x2d/g'\n");
    spit("$DIR/systemctl", "#!/bin/sh\necho \"\$@\" >>$DIR/asked\n. '$DIR/etc/my\\x2dpool.env'\nexec $ENV{SLATEFS} mount other \"\$DIR\"\n");
    chmod(0755, "$DIR/systemctl", "$DIR/escape");
    my %two = (%$scfg, path => "$DIR/pve/two", 'slatefs-pool' => 'my-pool', saferemove_throughput => undef);
    refused { $PLUGIN->activate_storage('two', \%two, {}) } qr/is not the slatefs pool 'my-pool'/, 'the unit has mounted another pool';
    is(slurp("$DIR/asked"), "start slatefs\@my\\x2dpool.service\n", 'the unit was started');
    like(slurp("$DIR/etc/my\\x2dpool.env"), qr/^DIR=\Q$DIR\E\/pve\/two$/m, 'its environment says where');
    slatefs('umount', "$DIR/pve/two");
    spit("$DIR/etc/my\\x2dpool.env", "DIR=$DIR/pve/two\nOPTIONS=noexec\n");
    eval { $PLUGIN->activate_storage('two', \%two, {}) };
    like(slurp("$DIR/etc/my\\x2dpool.env"), qr/OPTIONS=noexec/, 'one that is there is kept');
    slatefs('umount', "$DIR/pve/two");
    unlink("$DIR/asked");
    for my $line ("DIR=$DIR/pve/one", "DIR='$DIR/pve/one/'  ", "DIR=$DIR/pve/two\n DIR = \"$DIR/pve/one\"", 'DIR=') {
        spit("$DIR/etc/my\\x2dpool.env", "# mine\n$line\nOPTIONS=noexec\n");
        refused { $PLUGIN->activate_storage('two', \%two, {}) } qr/env' says that the pool is mounted on '[^']*' \(DIR\): make that/,
            "an environment that mounts it elsewhere: $line";
        ok(!-e "$DIR/asked", 'and nothing is started');
    }
    symlink("$DIR/pve/two", "$DIR/pve/link") or die "link: $!\n";
    for my $line ("DIR='$DIR/pve/two/'", "DIR=\"$DIR/pve/one\"\nDIR=$DIR/pve/two", "DIR=$DIR/pve/link", '#DIR=/elsewhere', "OLD_DIR=/x") {
        spit("$DIR/etc/my\\x2dpool.env", "$line\n");
        is($PLUGIN->can('env_dir')->("$DIR/etc/my\\x2dpool.env"), undef, 'no DIR') if $line !~ m/^DIR/;
        eval { $PLUGIN->activate_storage('two', \%two, {}) };
        is(slurp("$DIR/asked"), "start slatefs\@my\\x2dpool.service\n", "the same directory, or none: $line");
        unlink("$DIR/asked");
        slatefs('umount', "$DIR/pve/two") if slurp('/proc/mounts') =~ m/ \Q$DIR\E\/pve\/two /;
    }
};

my @disks;
subtest 'disks are made' => sub {
    for my $n (0 .. 2) {
        my $volid = timed { plug('vdisk_alloc', $cfg, 'slate', 100, 'raw', undef, 64 * 1024) } 'alloc';
        is($volid, "slate:100/vm-100-disk-$n.raw", "disk $n");
        push @disks, $volid;
    }
    my $path = file($disks[0]);
    is($path, "$MNT/images/100/vm-100-disk-0.raw", 'its path');
    is((stat($path))[7], 64 * $MiB, 'its size');
    is(S_IMODE((stat(_))[2]), 0640, 'its mode is what Proxmox wants');
    is(slatefs('get', '-H', '-o', 'value', 'erase', $path), "zero\n", 'saferemove 1');
    is(plug('vdisk_alloc', $cfg, 'slate', 100, 'raw', 'vm-100-state-s1.raw', 8192), 'slate:100/vm-100-state-s1.raw', "a guest's RAM");
    refused { plug('vdisk_alloc', $cfg, 'slate', 100, 'raw', 'vm-100-state-s1.raw', 8192) } qr/exists/, 'twice';
    refused { plug('vdisk_alloc', $cfg, 'slate', 100, 'qcow2', undef, 8192) } qr/unsupported format|qcow2/, 'qcow2';
    refused { plug('vdisk_alloc', $cfg, 'slate', 100, 'raw', '../../x.raw', 8192) } qr/unable to parse|illegal name/, 'a name that leads out';
    refused { plug('vdisk_alloc', $cfg, 'slate', 100, 'raw', 'foo.raw', 8192) } qr/unable to parse|illegal name/, 'a name that is never listed';
    refused { plug('vdisk_alloc', $cfg, 'slate', 100, 'raw', 'vm-101-disk-0.raw', 8192) } qr/illegal name/, 'a name of another guest';
    refused { plug('vdisk_alloc', $cfg, 'slate', 100, 'raw', 'vm-100-disk@x.raw', 8192) } qr/unable to parse|illegal name/, 'a name of a snapshot';
    refused { plug('vdisk_alloc', config('slatefs-refreservation auto'), 'slate', 101, 'raw', undef, 4 << 20) } qr/no space left/,
        'what cannot be promised';
    ok(!-e "$MNT/images/101", 'leaves no directory');

    for my $small ([528, 'EFI variables'], [4096, 'the state of a TPM']) {
        my $volid = plug('vdisk_alloc', $cfg, 'slate', 104, 'raw', undef, $small->[0]);
        is(-s file($volid), $small->[0] * 1024, $small->[1]);
        output { plug('vdisk_free', $cfg, $volid) };
    }
    my $cloud = plug('vdisk_alloc', $cfg, 'slate', 104, 'raw', 'vm-104-cloudinit.raw', 4096);
    is($cloud, 'slate:104/vm-104-cloudinit.raw', 'a cloud-init disk has the name that Proxmox wants');
    is(scalar(plug('volume_size_info', $cfg, $cloud)), 4 * $MiB, 'and is found by it when it is made anew');
    output { plug('vdisk_free', $cfg, $cloud) };

    my $none = plug('vdisk_alloc', config('saferemove 0', 'slatefs-refreservation auto'), 'slate', 103, 'raw', undef, 4096);
    my $file = file($none);
    is(slatefs('get', '-H', '-o', 'value', 'erase', $file), "none\n", 'saferemove 0');
    is(slatefs('get', '-H', '-o', 'value', 'refreservation', $file), "auto\n", 'slatefs-refreservation auto');
    mark($file, 1, 'n');
    like(output { plug('vdisk_free', $cfg, $none) }, qr/not erased \(saferemove 0\)/, 'never called erased');
};

subtest 'disks are listed' => sub {
    my $list = timed { plug('vdisk_list', $cfg, 'slate', 100)->{slate} } 'list';
    is_deeply([map { $_->{volid} } @$list], [sort @disks, 'slate:100/vm-100-state-s1.raw'], "the guest's");
    is($list->[0]->{size}, 64 * $MiB, 'size');
    is($list->[0]->{vmid}, 100, 'owner');
    is($list->[0]->{format}, 'raw', 'format');
    cmp_ok(abs($list->[0]->{ctime} - time()), '<', 600, 'time of birth');
    is_deeply(plug('vdisk_list', $cfg, 'slate', 99)->{slate}, [], 'another guest has none');
    is_deeply([map { $_->{volid} } plug('vdisk_list', $cfg, undef, undef, [$disks[1]])->{slate}->@*], [$disks[1]], 'by name')
        if $REAL;
    spit("$MNT/images/100/$_", 'x') for 'vm-100 disk.raw', 'notes', "vm-100-disk-9.raw\e[2J";
    is(scalar(plug('vdisk_list', $cfg, 'slate', 100)->{slate}->@*), 4, 'what is no disk is not listed');
    unlink("$MNT/images/100/$_") or die "$_: $!\n" for 'vm-100 disk.raw', 'notes', "vm-100-disk-9.raw\e[2J";
    is(scalar(plug('volume_size_info', $cfg, $disks[0], 5)), 64 * $MiB, 'its size is asked for');
};

# guest writes the configuration of a virtual machine while a snapshot is prepared.
sub guest {
    my ($snap, $state, @lines) = @_;
    spit("$DIR/guests/qemu-server/100.conf", join("\n", 'memory: 512', 'scsi0: slate:100/vm-100-disk-0.raw,size=64M', '',
        '[older]', 'snapstate: prepare', 'scsi7: slate:100/vm-100-disk-2.raw', '', "[$snap]", @lines, $state, ''));
}

my @files = map { file($_) } @disks;

subtest 'all disks of a guest are frozen at one instant' => sub {
    guest('s1', 'snapstate: prepare', 'efidisk0: slate:100/vm-100-disk-2.raw,efitype=4m,size=528K',
        'ide2: slate:100/vm-100-cloudinit.raw,media=cdrom', 'scsi0: slate:100/vm-100-disk-0.raw,size=64M',
        'scsi1: slate:100/vm-100-disk-1.raw,size=64M', 'scsi2: elsewhere:100/vm-100-disk-3.raw', 'scsi3: slate:999/gone.qcow2',
        'vmstate: slate:100/vm-100-state-s1.raw', 'parent: older');
    mark($files[0], 3, 'a');
    # A writer counts on disk 0, then on disk 1, and so on: at any instant the first is ahead by one at most.
    defined(my $pid = fork()) or die "fork: $!\n";
    if (!$pid) {
        open(my $a, '+<', $files[0]) or POSIX::_exit(1);
        open(my $b, '+<', $files[1]) or POSIX::_exit(1);
        for my $n (1 .. 1 << 30) {
            for my $fh ($a, $b) {
                sysseek($fh, 0, 0);
                syswrite($fh, pack('Q<', $n) x 512) == 4096 or POSIX::_exit(1);
            }
        }
    }
    select(undef, undef, undef, 0.3);
    my $said = output { timed { plug('volume_snapshot', $cfg, $disks[0], 's1') } 'snapshot' };
    is($said, "frozen at one instant: vm-100-disk-0.raw, vm-100-disk-1.raw, vm-100-disk-2.raw\n", 'the first call freezes all');
    select(undef, undef, undef, 0.1);
    is(output { plug('volume_snapshot', $cfg, $_, 's1') }, '', "the call for $_ has nothing to do") for @disks[1, 2];
    kill('KILL', $pid);
    waitpid($pid, 0);
    my @count;
    for my $n (0, 1) {
        open(my $fh, '<', file($disks[$n], 's1')) or die "snapshot: $!\n";
        read($fh, my $data, 4096);
        $count[$n] = unpack('Q<', $data);
        is($data, pack('Q<', $count[$n]) x 512, "disk $n: one write is whole");
    }
    ok($count[0] - $count[1] == 0 || $count[0] - $count[1] == 1, "one instant: the writer was at $count[0] and $count[1]");
    refused { plug('volume_snapshot', $cfg, $disks[1], 's1') } qr/exists/, 'the same name again';
    refused { open(my $fh, '+<', file($disks[0], 's1')) or die "$!\n" } qr/Read-only|denied|permitted/i,
        'a snapshot is not written';
    is_deeply([keys plug('volume_snapshot_info', $cfg, 'slate:100/vm-100-state-s1.raw')->%*], [], "the guest's RAM is not in it");
};

subtest 'what is no snapshot in preparation freezes one disk' => sub {
    guest('s2', 'snapstate: delete', 'scsi0: slate:100/vm-100-disk-0.raw', 'scsi1: slate:100/vm-100-disk-1.raw');
    is(output { plug('volume_snapshot', $cfg, $disks[0], 's2') }, '', 'not preparing');
    is_deeply([sort keys plug('volume_snapshot_info', $cfg, $disks[1])->%*], ['s1'], 'the other disk has only the first');
    plug('volume_snapshot', $cfg, $disks[1], 's2');
    my $info = plug('volume_snapshot_info', $cfg, $disks[0]);
    is_deeply([sort keys %$info], ['s1', 's2'], 'both are told');
    is($info->{s1}->{'virtual-size'}, 64 * $MiB, 'size');
    cmp_ok(abs($info->{s1}->{timestamp} - time()), '<', 600, 'time');
    isnt($info->{s1}->{id}, $info->{s2}->{id}, 'each has an ID');
    is($info->{s1}->{file}, file($disks[0], 's1'), 'file');
};

subtest 'a snapshot that fails elsewhere leaves nothing' => sub {
    guest('s3', 'snapstate: prepare', 'scsi0: slate:100/vm-100-disk-0.raw', 'scsi1: slate:100/vm-100-disk-1.raw');
    output { plug('volume_snapshot', $cfg, $disks[0], 's3') };
    output { plug('volume_snapshot_delete', $cfg, $disks[0], 's3', 1) };
    ok(!exists(plug('volume_snapshot_info', $cfg, $disks[$_])->{s3}), "disk $_ has none left") for (0, 1);
    like(output { plug('volume_snapshot_delete', $cfg, $disks[0], 's3', 0) }, qr/has no snapshot 's3'/, 'again is no error');
};

subtest 'a container: what its backup leaves out is left out' => sub {
    my @ct = map { plug('vdisk_alloc', $cfg, 'slate', 200, 'raw', undef, 8192) } 0 .. 2;
    spit("$DIR/guests/lxc/200.conf", "[vzdump]\nsnapstate: prepare\nrootfs: $ct[0],size=8M\nmp0: $ct[1],mp=/a,backup=1\nmp1: $ct[2],mp=/b\n");
    output { plug('volume_snapshot', $cfg, $_, 'vzdump') } for @ct[0, 1];
    my @has = map { scalar(keys plug('volume_snapshot_info', $cfg, $_)->%*) } @ct;
    is_deeply(\@has, [1, 1, 0], 'root and the mount point with backup=1');
    output { plug('volume_snapshot_delete', $cfg, $_, 'vzdump') } for @ct[0, 1];
    output { plug('vdisk_free', $cfg, $_) } for @ct;
    ok(!-e "$MNT/images/200", 'the directory went with the last');
};

subtest 'rollback' => sub {
    mark($files[0], 3, 'b');
    mark($files[0], 5, 'c');
    plug('volume_snapshot', $cfg, $disks[0], 'later');
    ok(plug('volume_rollback_is_possible', $cfg, $disks[0], 's1', my $blockers = []), 'to one that is not the newest');
    is_deeply($blockers, [], 'nothing is in the way');
    refused { plug('volume_rollback_is_possible', $cfg, $disks[0], 'none') } qr/none/, 'to one that is not there';
    {
        open(my $fh, '+<', $files[0]) or die "$!\n";
        ok(plug('volume_rollback_is_possible', $cfg, $disks[0], 's1'), 'is possible while a guest runs, who is stopped after it');
        refused { plug('volume_snapshot_rollback', $cfg, $disks[0], 's1') } qr/pid $$\b/, 'but not done while it is open, by whom';
    }
    is(look($files[0], 3), 'b', 'and nothing has changed');
    my $said = output { timed { plug('volume_snapshot_rollback', $cfg, $disks[0], 's1') } 'rollback' };
    like($said, qr/^freed .* of vm-100-disk-0\.raw/, "it says: $said");
    is(look($files[0], 3), 'a', 'what the snapshot had');
    is(look($files[0], 5), "\0", 'what was written since is gone');
    is(look(file($disks[0], 'later'), 5), 'c', 'the later snapshot stays');
    output { plug('volume_snapshot_rollback', $cfg, $disks[0], 'later') };
    is(look($files[0], 5), 'c', 'and it goes forward again');
};

subtest 'deleting snapshots' => sub {
    mark($files[0], $_, 'd') for 8 .. 15;
    plug('volume_snapshot', $cfg, $disks[0], 'mid');
    mark($files[0], $_, 'e') for 8 .. 15;
    open(my $fh, '+<', $files[0]) or die "$!\n"; # as qemu has it
    my $said = output { timed { plug('volume_snapshot_delete', $cfg, $disks[0], 'mid', 1) } 'delete of a snapshot' };
    close($fh);
    like($said, qr/^freed 8\.0 MiB of vm-100-disk-0\.raw\@mid; erase queued \(#\d+\), done about \d\d:\d\d at 64M\/s$/m, "it says: $said");
    is(look($files[0], 9), 'e', 'the disk has what it had');
    output { plug('volume_snapshot_delete', $cfg, $disks[0], $_, 0) } for ('s1', 'later', 's2');
    is_deeply(plug('volume_snapshot_info', $cfg, $disks[0]), {}, 'in any order');
    is(look($files[0], $_->[0]), $_->[1], "at $_->[0]") for [3, 'b'], [5, 'c'], [15, 'e'];
};

subtest 'a template and its clones' => sub {
    my $base = timed { plug('vdisk_create_base', $cfg, $disks[2]) } 'template';
    is($base, 'slate:100/base-100-disk-2.raw', 'its name');
    my $file = file($base);
    refused { open(my $fh, '+<', $file) or die "$!\n" } qr/permitted|denied/i, 'it is not written';
    refused { plug('vdisk_create_base', $cfg, $base) } qr/not possible with base/, 'no template of a template';
    my $clone = timed { plug('vdisk_clone', $cfg, $base, 105) } 'clone';
    is($clone, 'slate:105/vm-105-disk-0.raw', 'the name of a clone');
    my $at = file($clone);
    is(S_IMODE((stat($at))[2]) & 0600, 0600, 'it can be written');
    mark($at, 1, 'q');
    is(look($file, 1), "\0", 'the template knows nothing of it');
    plug('volume_snapshot', $cfg, $clone, 'x');
    mark($at, 1, 'r');
    my $second = plug('vdisk_clone', $cfg, $clone, 106, 'x');
    is(look(file($second), 1), 'q', 'a clone of a snapshot');
    my $third = plug('vdisk_clone', $cfg, $clone, 106);
    is(look(file($third), 1), 'r', 'a clone of what is now');
    output { plug('vdisk_free', $cfg, $base) };
    ok(!-e $file, 'a template goes');
    output { plug('vdisk_free', $cfg, $clone) };
    is(look(file($second), 1), 'q', 'and clones live on');
    output { plug('vdisk_free', $cfg, $_) } for $second, $third;
    @disks = @disks[0, 1];
};

subtest 'resize' => sub {
    timed { plug('volume_resize', $cfg, $disks[1], 96 * $MiB, 0) } 'resize';
    is(-s $files[1], 96 * $MiB, 'of a stopped guest');
    is(plug('volume_resize', $cfg, $disks[1], 128 * $MiB, 1), 1, "of a running one it is qemu's");
    is(-s $files[1], 96 * $MiB, 'which does it itself');
    refused { plug('volume_resize', $cfg, $disks[1], 32 * $MiB, 0) } qr/is less/, 'smaller';
    refused { plug('volume_resize', $cfg, $disks[1], 128 * $MiB, 0, 's1') } qr/keeps its size/, 'of a snapshot';
};

subtest 'a disk goes to another guest with its snapshots' => sub {
    my $new = timed { plug('rename_volume', $cfg, $disks[1], 107) } 'rename';
    is($new, 'slate:107/vm-107-disk-0.raw', 'its name');
    is_deeply([sort keys plug('volume_snapshot_info', $cfg, $new)->%*], ['s1', 's2'], 'its snapshots');
    refused { plug('rename_volume', $cfg, $new, 107, 'vm-107-disk-0.raw') } qr/exists/, 'a name that is taken';
    $disks[1] = $new;
};

subtest 'a stream out and in' => sub {
    plan(skip_all => "the stand-in has no streams") if !$REAL;
    my @formats = plug('volume_export_formats', $cfg, $disks[0], undef, undef, 0);
    is_deeply(\@formats, ['raw+size'], 'formats');
    is_deeply([plug('volume_export_formats', $cfg, $disks[0], undef, undef, 1)], [], 'none with snapshots: Proxmox has none for raw');
    open(my $out, '+>', "$DIR/stream") or die "$!\n";
    output { plug('volume_export', $cfg, $out, $disks[0], 'raw+size') };
    seek($out, 0, 0);
    my $volid;
    output { $volid = plug('volume_import', $cfg, $out, 'slate:108/vm-108-disk-0.raw', 'raw+size') };
    is($volid, 'slate:108/vm-108-disk-0.raw', 'it came in');
    is(system('cmp', '-s', $files[0], file($volid)), 0, 'with every byte');
    output { plug('vdisk_free', $cfg, $volid) };
    unlink("$DIR/stream");
};

subtest 'what qemu opens' => sub {
    plan(skip_all => 'the stand-in knows nothing of qemu') if !$REAL;
    my $got = plug('qemu_blockdev_options', $cfg, $disks[0], '10.0', {});
    is_deeply($got, { driver => 'file', filename => $files[0] }, 'the file');
    is(plug('volume_qemu_snapshot_method', $cfg, $disks[0]), 'storage', 'who snapshots');
    is_deeply([plug('path_to_volume_id', $cfg, $files[0])], ['images', $disks[0]], 'a path is found');
};

subtest 'freed' => sub {
    {
        open(my $fh, '+<', $files[0]) or die "$!\n";
        refused { output { plug('vdisk_free', $cfg, $disks[0]) } } qr/pid $$\b/, 'a disk in use is not destroyed';
    }
    my $said = output { timed { plug('vdisk_free', $cfg, $disks[0]) } 'free' };
    like($said, qr/^freed .* of vm-100-disk-0\.raw; erase queued \(#\d+/, "it says: $said");
    output { plug('vdisk_free', $cfg, $_) } for $disks[1], 'slate:100/vm-100-state-s1.raw';
    is_deeply(plug('vdisk_list', $cfg, 'slate')->{slate}, [], 'nothing is left');
    ok(!-e "$MNT/images/100", 'no directory either');
    wait_erased();
    is(slatefs('list', '-Hp', '-t', 'pool', '-o', 'used,erasing', $MNT), "0\t$MiB\n", 'all is zero but for the disk with saferemove 0');
};

subtest 'what is removed is kept, where the pool says so' => sub {
    slatefs('set', 'destroy_delay=7d', $MNT);
    my $disk = plug('vdisk_alloc', $cfg, 'slate', 100, 'raw', undef, 8192);
    mark(file($disk), 1, 'k');
    plug('volume_snapshot', $cfg, $disk, 's');
    mark(file($disk), 1, 'l');
    my $kept = qr/ is kept until \d{4}-\d\d-\d\d \d\d:\d\d \(destroy_delay\); slatefs undestroy (\d+) tank brings it back$/;
    like(output { plug('volume_snapshot_delete', $cfg, $disk, 's') }, qr/^vm-100-disk-0\.raw\@s$kept/m, 'a snapshot');
    my $said = output { plug('vdisk_free', $cfg, $disk) };
    like($said, qr/^vm-100-disk-0\.raw$kept/m, "a disk, and nothing is said of freeing: $said");
    my ($id) = $said =~ m/undestroy (\d+)/;
    slatefs('undestroy', $id, 'tank', "$MNT/back.raw");
    is(look("$MNT/back.raw", 1), 'l', 'it is back');
    slatefs('destroy', '--now', "$MNT/back.raw");
};

diag(sprintf('%-22s %.3f s', $_, $took{$_})) for sort keys %took;

done_testing();
