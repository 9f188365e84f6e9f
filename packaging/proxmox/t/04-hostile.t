#!/usr/bin/perl -T
# What is not as it should be: paths and names that somebody wrote by hand, a pool that is full, a daemon that died, a pool that is not
# mounted, two tasks at once. A task does what it says or dies, and says why: none may report what was not done.

use strict;
use warnings;

use File::Path qw(make_path);
use FindBin;
use Test::More;
BEGIN { require((($FindBin::Bin =~ m/^(.*)$/)[0]) . '/lib/Lab.pm'); Lab->import(); }

my $MiB = 1 << 20;
$DIR = "$DIR/hostile";
my $pools = 0;
my @mounted;

# storage makes a pool and mounts it, with a configuration that says another path for the same place.
sub storage {
    my ($path, $size, @lines) = @_;
    my $pool = 'hostile' . $pools++;
    (my $at = $path // "$DIR/pve/$pool") =~ s!/+(?:\./+)*!/!g;
    $at =~ s!/$!!;
    make_path("$DIR/guests/qemu-server", $at);
    slatefs('pool', 'create', '--size', $size // '256M', '--sparse', $pool, "$DIR/$pool.pool");
    my $cfg = config('saferemove 1', @lines);
    $cfg->{ids}->{slate}->{path} = $path // $at;
    $cfg->{ids}->{slate}->{'slatefs-pool'} = $pool;
    plug('activate_storage', $cfg, 'slate', {});
    push @mounted, $at;
    return ($cfg, Lab::untaint(Cwd::realpath($at)));
}

END {
    if (defined($DIR)) {
        my $code = $?;
        for my $at (reverse @mounted) {
            my $real = Lab::untaint(Cwd::realpath($at) // $at);
            slatefs('umount', $real) if slurp('/proc/mounts') =~ m/ \Q$real\E /;
        }
        $? = $code;
    }
}

sub fill {
    my ($path, $letter, $mib) = @_;
    open(my $fh, '+<', $path) or die "$path: $!\n";
    for (1 .. $mib) {
        (syswrite($fh, $letter x $MiB) // 0) == $MiB or die "$path: $!\n";
    }
    close($fh) or die "$path: $!\n";
}

sub names { return [sort keys plug('volume_snapshot_info', @_)->%*] }
sub listed { return [map { $_->{volid} } plug('vdisk_list', $_[0], 'slate')->{slate}->@*] }

# life is that of one disk, with a storage whose path is written in some way.
sub life {
    my ($cfg) = @_;
    my $disk = plug('vdisk_alloc', $cfg, 'slate', 100, 'raw', undef, 16 << 10);
    my ($path) = plug('path', $cfg, $disk);
    is_deeply(listed($cfg), [$disk], 'it is listed');
    fill($path, 'a', 4);
    plug('volume_snapshot', $cfg, $disk, 's1');
    plug('volume_snapshot', $cfg, $disk, 's2');
    is_deeply(names($cfg, $disk), ['s1', 's2'], 'snapshots');
    ok(-e plug('volume_snapshot_info', $cfg, $disk)->{s1}->{file}, 'and their files');
    fill($path, 'b', 4);
    like(output { plug('volume_snapshot_rollback', $cfg, $disk, 's2') }, qr/^freed 4\.0 MiB of \S+; erase queued \(#\d+/, 'rollback');
    output { plug('volume_snapshot_delete', $cfg, $disk, 's1') };
    is_deeply(names($cfg, $disk), ['s2'], 'one is deleted');
    my $other = plug('vdisk_clone', $cfg, $disk, 101, 's2');
    my $moved = plug('rename_volume', $cfg, $other, 102);
    is_deeply(listed($cfg), [$disk, $moved], 'a clone, renamed');
    output { plug('vdisk_free', $cfg, $moved) };
    like(output { plug('vdisk_free', $cfg, $disk) }, qr/^freed 4\.0 MiB of \S+; erase queued \(#\d+/, 'free');
    is(slatefs('list', '-Hp', '-t', 'pool', '-o', 'used', $cfg->{ids}->{slate}->{'slatefs-pool'}), "0\n", 'and nothing is left');
}

subtest "a path that ends in '/', with slashes and dots too many" => sub { life(storage("$DIR//pve/./one/")) };
subtest "a path with '\@', beside what it would be a snapshot of" => sub {
    storage("$DIR/pve/two");
    life(storage("$DIR/pve/two\@x"));
};
subtest 'a path that is a link' => sub {
    make_path("$DIR/pve/three");
    symlink("$DIR/pve/three", "$DIR/pve/link") or die "$!\n";
    life(storage("$DIR/pve/link"));
};

subtest 'names that are no disks' => sub {
    my ($cfg, $at) = storage();
    my $disk = plug('vdisk_alloc', $cfg, 'slate', 100, 'raw', undef, 1024);
    plug('volume_snapshot', $cfg, $disk, 's1');
    plug('volume_snapshot', $cfg, $disk, 's1.raw');
    slatefs('snapshot', file($cfg, $disk) . '@by: hand');
    is_deeply(names($cfg, $disk), ['s1', 's1.raw'], 'a snapshot with a name that Proxmox cannot say is not told');
    my @odd = (
        "vm-100-\xff.raw", "vm-100-\xc3\xa9.raw", "vm-100-\xc2\xa0.raw", "vm-100-a\nb.raw", "vm-100-\e[2J.raw", "vm-100-a,b.raw",
        'vm-100-disk-0.raw@s1.raw', 'vm-100-disk-0.raw@s1', '-r.raw', 'vm-100-a"b\\u0000.raw', 'base-100-$(id);`id`.raw',
    );
    spit("$at/images/100/$_", 'x') for @odd;
    spit("$at/images/vm-100-disk-7.raw", 'x');
    my $warned = '';
    local $SIG{__WARN__} = sub { $warned .= $_[0] };
    my @want = ('slate:100/base-100-$(id);`id`.raw', $disk);
    is_deeply(listed($cfg), \@want, 'only what can be one is listed');
    is($warned, '', 'and nothing is warned of');
    is(plug('vdisk_alloc', $cfg, 'slate', 100, 'raw', undef, 1024), 'slate:100/vm-100-disk-1.raw', 'a free name is found');
    for my $name ('vm-100-a,b.raw', 'vm-100-disk-0.raw@s1.raw', "vm-100-\xc3\xa9.raw") {
        refused { plug('vdisk_alloc', $cfg, 'slate', 100, 'raw', $name, 1024) } qr/illegal name|unable to parse/, 'such a name is not made';
        refused { plug('volume_snapshot', $cfg, "slate:100/$name", 'x') } qr/no raw disk|unable to parse/, 'nor is a snapshot of it';
        refused { plug('rename_volume', $cfg, $disk, 100, $name) } qr/illegal name|unable to parse/, 'nor does a disk get it';
    }
    output { plug('vdisk_free', $cfg, 'slate:100/vm-100-disk-0.raw@s1.raw') };
    ok(!-e "$at/images/100/vm-100-disk-0.raw\@s1.raw", 'the file goes');
    is_deeply(names($cfg, $disk), ['s1', 's1.raw'], 'and not the snapshot that could be meant');
    output { plug('volume_snapshot_delete', $cfg, $disk, 's1') };
    is_deeply([names($cfg, $disk), -e "$at/images/100/vm-100-disk-0.raw\@s1"], [['s1.raw'], 1], 'the snapshot goes, and not the file');
    plug('volume_snapshot', $cfg, $disk, 's1');
    is_deeply(names($cfg, $disk), ['s1', 's1.raw'], 'and comes again');
    output { plug('volume_snapshot_rollback', $cfg, $disk, 's1') };
    is(-s file($cfg, plug('vdisk_clone', $cfg, $disk, 101, 's1')), $MiB, 'and is cloned');
    output { plug('vdisk_free', $cfg, 'slate:100/base-100-$(id);`id`.raw') };
    ok(!-e "$at/images/100/" . 'base-100-$(id);`id`.raw', 'what a shell would run is only a name');
};

sub file { return (plug('path', @_))[0] }

# tasks are all that Proxmox asks of a storage with a disk that has a snapshot, each by its name; each is given what it needs.
sub tasks {
    my ($cfg, $disk) = @_;
    return (
        'alloc' => sub { plug('vdisk_alloc', $cfg, 'slate', 109, 'raw', undef, 1024) },
        'list' => sub { plug('vdisk_list', $cfg, 'slate', 100) },
        'snapshot' => sub { plug('volume_snapshot', $cfg, $disk, 'new') },
        'snapshots' => sub { plug('volume_snapshot_info', $cfg, $disk) },
        'may it go back' => sub { plug('volume_rollback_is_possible', $cfg, $disk, 's1') },
        'rollback' => sub { plug('volume_snapshot_rollback', $cfg, $disk, 's1') },
        'delete of a snapshot' => sub { plug('volume_snapshot_delete', $cfg, $disk, 's1') },
        'clone' => sub { plug('vdisk_clone', $cfg, $disk, 109, 's1') },
        'resize' => sub { plug('volume_resize', $cfg, $disk, 64 * $MiB, 0) },
        'rename' => sub { plug('rename_volume', $cfg, $disk, 109) },
        'template' => sub { plug('vdisk_create_base', $cfg, $disk) },
        'free' => sub { plug('vdisk_free', $cfg, $disk) },
    );
}

# all_die checks that each task dies, and what it says.
sub all_die {
    my ($says, @tasks) = @_;
    while (my ($what, $do) = splice(@tasks, 0, 2)) {
        my $err = refused { output { $do->() } } $says, $what;
        unlike($err // '', qr/at \S+ line \d+/, "$what: for people");
    }
}

subtest 'a daemon that died, and a pool that is not mounted' => sub {
    my ($cfg, $at) = storage(undef, undef, 'is_mountpoint yes');
    my $disk = plug('vdisk_alloc', $cfg, 'slate', 100, 'raw', undef, 1024);
    plug('volume_snapshot', $cfg, $disk, 's1');
    die_hard($at);
    # Storage.pm activates first where it can; what a plugin does is asked here by itself.
    my $scfg = $cfg->{ids}->{slate};
    my ($name) = $disk =~ m/^slate:(.*)$/;
    my $dead = qr/unreachable|not connected|does not answer/;
    all_die($dead, activate => sub { plug('activate_storage', $cfg, 'slate', {}) });
    all_die(qr/slatefs|$dead/, tasks($cfg, $disk));
    all_die(qr/slatefs|not connected/i, direct($scfg, $name));
    is_deeply([eval { $PLUGIN->status('slate', $scfg, {}) }], [undef], 'it has no status');
    system('umount', '-l', $at);
    all_die(qr/is not mounted on|not on a slatefs mount|is not where a pool is mounted/, direct($scfg, $name));
    slatefs('mount', $scfg->{'slatefs-pool'}, $at);
    is_deeply([listed($cfg), names($cfg, $disk)], [[$disk], ['s1']], 'all of it is there again');
};

# direct are tasks of the plugin itself, without what Proxmox does before.
sub direct {
    my ($scfg, $name) = @_;
    return (
        'alloc' => sub { $PLUGIN->alloc_image('slate', $scfg, 109, 'raw', undef, 1024) },
        'list' => sub { $PLUGIN->list_images('slate', $scfg, 100) },
        'snapshot' => sub { $PLUGIN->volume_snapshot($scfg, 'slate', $name, 'new') },
        'snapshots' => sub { $PLUGIN->volume_snapshot_info($scfg, 'slate', $name) },
        'rollback' => sub { $PLUGIN->volume_snapshot_rollback($scfg, 'slate', $name, 's1') },
        'delete of a snapshot' => sub { $PLUGIN->volume_snapshot_delete($scfg, 'slate', $name, 's1') },
        'clone' => sub { $PLUGIN->clone_image($scfg, 'slate', $name, 109, 's1') },
        'resize' => sub { $PLUGIN->volume_resize($scfg, 'slate', $name, 64 * $MiB, 0) },
        'rename' => sub { $PLUGIN->rename_volume($scfg, 'slate', $name, 109) },
        'template' => sub { $PLUGIN->create_base('slate', $scfg, $name) },
        'free' => sub { $PLUGIN->free_image('slate', $scfg, $name, undef, 'raw') },
    );
}

# die_hard kills the daemon of a mount, and who would start another one.
sub die_hard {
    my ($at) = @_;
    my ($pool) = slurp('/proc/mounts') =~ m/^(\S+) \Q$at\E /m;
    my $list = JSON::decode_json(slatefs('pool', 'list', '-j'))->{pools};
    my ($d) = map { $_->{daemon} // $_->{info}->{daemon} } grep { $_->{name} eq $pool } @$list;
    for my $pid (grep { $_ } $d->{supervisor}, $d->{pid}) {
        ($pid) = $pid =~ m/^(\d+)$/;
        kill('KILL', $pid);
        select(undef, undef, undef, 0.01) while kill(0, $pid) && slurp_or("/proc/$pid/stat") =~ m/\) [^Z]/;
    }
}

sub slurp_or { return eval { slurp($_[0]) } // '' }

subtest 'a pool that is full' => sub {
    my ($cfg, $at) = storage(undef, '64M', 'slatefs-refreservation none');
    slatefs('set', 'erase_throughput=0', $at);
    my $disk = plug('vdisk_alloc', $cfg, 'slate', 100, 'raw', undef, 256 << 10);
    fill(file($cfg, $disk), 'a', 8);
    plug('volume_snapshot', $cfg, $disk, 's1');
    eval { fill(file($cfg, $disk), 'b', 128) };
    like($@, qr/No space left/, 'a guest has filled it');
    my %tasks = tasks($cfg, $disk);
    $tasks{resize} = sub { plug('volume_resize', $cfg, $disk, 512 * $MiB, 0) };
    my @may = ('alloc', 'snapshot', 'clone', 'resize'); # what takes some metadata only may find room
    for my $what (@may) {
        my $ok = eval { output { $tasks{$what}->() }; 1 };
        ok($ok || $@ =~ m/no space left/, "$what: done, or refused for space: " . ($ok ? 'done' : $@ =~ s/\n.*//sr));
    }
    my $promised = config('slatefs-refreservation auto');
    $promised->{ids}->{slate}->{$_} = $cfg->{ids}->{slate}->{$_} for qw(path slatefs-pool);
    refused { plug('vdisk_alloc', $promised, 'slate', 108, 'raw', undef, 32 << 10) } qr/no space left/, 'a promise';
    refused { plug('vdisk_clone', $promised, $disk, 108, 's1') } qr/no space left/, 'a clone with a promise';
    ok(!-e "$at/images/108", 'and no directory is left of either');
    for my $what ('list', 'snapshots', 'may it go back', 'rollback', 'delete of a snapshot', 'rename') {
        ok(eval { output { $tasks{$what}->() }; 1 }, $what) or diag($@);
    }
    output { plug('vdisk_free', $cfg, $_) } for @{ listed($cfg) };
    slatefs('erase', 'wait', $at);
    is(slatefs('list', '-Hp', '-t', 'pool', '-o', 'used,erasing', $at), "0\t0\n", 'all is given back');
};

# both runs two tasks at once, and returns what each said, with its error.
sub both {
    my @do = @_;
    my @pids = map {
        my ($n, $do) = ($_, $do[$_]);
        defined(my $pid = fork()) or die "fork: $!\n";
        if (!$pid) {
            my $said = eval { output_to("$DIR/both$n.out", $do); 1 } ? 'done' : $@;
            spit("$DIR/both$n", $said);
            POSIX::_exit(0);
        }
        $pid
    } 0 .. $#do;
    waitpid($_, 0) for @pids;
    return map { slurp("$DIR/both$_") } 0 .. $#do;
}

sub output_to {
    my ($file, $do) = @_;
    open(STDOUT, '>', $file) or die "$file: $!\n";
    open(STDERR, '>&', \*STDOUT) or die "$file: $!\n";
    $do->();
    close(STDOUT);
}

subtest 'two tasks at once' => sub {
    my ($cfg, $at) = storage();
    my $scfg = $cfg->{ids}->{slate};
    for my $round (1 .. 3) {
        my @said = both(map { sub { plug('vdisk_alloc', $cfg, 'slate', 100, 'raw', undef, 1024) } } 1 .. 2);
        my $n = listed($cfg)->@*;
        is($n, scalar(grep { $_ eq 'done' } @said), "alloc: as many disks as tasks that say so") or diag(@said);
        plug('vdisk_alloc', $cfg, 'slate', 100, 'raw', 'vm-100-disk-0.raw', 1024) if !$n;
        my $disk = listed($cfg)->[0];

        @said = both(map { sub { plug('volume_snapshot', $cfg, $disk, 's') } } 1 .. 2);
        is(scalar(grep { $_ eq 'done' } @said), 1, 'one snapshot of a name');
        like(join('', @said), qr/exists/, 'the other says why');

        fill(file($cfg, $disk), 'x', 1);
        @said = both(map { sub { plug('volume_snapshot_delete', $cfg, $disk, 's') } } 1 .. 2);
        ok((grep { $_ eq 'done' } @said) >= 1, 'a snapshot is deleted once') or diag(@said);
        is_deeply(names($cfg, $disk), [], 'and is gone');

        plug('volume_snapshot', $cfg, $disk, 's');
        @said = both(
            sub { plug('volume_snapshot_rollback', $cfg, $disk, 's') },
            sub { plug('volume_snapshot_delete', $cfg, $disk, 's') },
        );
        is($said[1], 'done', 'a delete beside a rollback') or diag(@said);
        ok($said[0] eq 'done' || $said[0] =~ m/not found|no such/i, 'which is done, or had no snapshot any more') or diag($said[0]);

        @said = both(
            sub { plug('rename_volume', $cfg, $disk, 200, 'vm-200-disk-0.raw') },
            sub { plug('vdisk_free', $cfg, $disk) },
        );
        my $moved = -e "$at/images/200/vm-200-disk-0.raw";
        is($said[0] eq 'done' ? 1 : 0, $moved ? 1 : 0, 'a disk is renamed or it is not') or diag(@said);
        ok(!-e file($cfg, $disk), 'and is not where it was') or diag(@said);

        @said = both(map { my $d = $_; sub { plug('vdisk_free', $cfg, $d) } } map { ($_, $_) } listed($cfg)->@*);
        is_deeply(listed($cfg), [], 'removed by two') or diag(@said);
    }
};

done_testing();
