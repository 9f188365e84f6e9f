#!/usr/bin/perl -T
# What Proxmox asks of any plugin before it has a storage.

use strict;
use warnings;

use FindBin;
use Test::More;
BEGIN { require((($FindBin::Bin =~ m/^(.*)$/)[0]) . '/lib/Lab.pm'); Lab->import(); }

isa_ok($PLUGIN, 'PVE::Storage::Plugin');
is($PLUGIN->type(), 'slatefs', 'the type');

subtest 'the version of the API is what was tested, or theirs if that is less' => sub {
    no warnings 'redefine';
    no strict 'refs';
    my $theirs = PVE::Storage::APIVER();
    for my $v (9 .. 17) {
        local *PVE::Storage::APIVER = sub { $v };
        is($PLUGIN->api(), $v < 15 ? $v : 15, "of an API $v");
    }
    cmp_ok($PLUGIN->api(), '<=', $theirs, 'not newer than theirs');
    cmp_ok($PLUGIN->api(), '>=', $theirs - PVE::Storage::APIAGE(), 'not too old');
};

subtest 'properties' => sub {
    my $all = PVE::Storage::Plugin->private();
    my %who;
    for my $type (keys $all->{plugins}->%*) {
        push $who{$_}->@*, $type for keys $all->{plugins}->{$type}->properties()->%*;
    }
    for my $p (sort keys $PLUGIN->properties()->%*) {
        like($p, qr/^slatefs-/, "$p has the prefix");
        is_deeply($who{$p}, ['slatefs'], "$p is declared by this plugin alone");
    }
    for my $o (sort keys $PLUGIN->options()->%*) {
        ok($all->{propertyList}->{$o}, "option $o is declared by somebody");
    }
    for my $o (qw(path is_mountpoint saferemove saferemove_throughput)) {
        ok($PLUGIN->options()->{$o}, "option $o is there");
        ok(!$PLUGIN->properties()->{$o}, "and not declared again");
    }
    ok(!$PLUGIN->options()->{shared}, 'never shared');
};

subtest 'a configuration' => sub {
    my $scfg = config('is_mountpoint yes', 'saferemove 1', 'saferemove_throughput 50M', 'slatefs-refreservation auto')->{ids}->{slate};
    is($scfg->{'slatefs-pool'}, 'tank', 'the pool');
    is($scfg->{path}, $MNT, 'the path');
    is($scfg->{'slatefs-refreservation'}, 'auto', 'refreservation');
    ok($scfg->{content}->{rootdir}, 'content');
    ok(!$scfg->{shared}, 'not shared');
    my %base = (type => 'slatefs', path => '/mnt/pve/slate', 'slatefs-pool' => 'tank');
    my $check = sub { $PLUGIN->check_config('slate', {%base, @_}, 1, 0) };
    ok($check->(), 'the least that it needs');
    refused { $check->(shared => 1) } qr/shared/, 'shared';
    refused { $check->('slatefs-pool' => '../x') } qr/pattern/, 'a name that is no pool';
    refused { $check->('slatefs-refreservation' => 'much') } qr/enum/, 'a promise that is none';
    refused { $check->(path => '/mnt/a b') } qr/illegal path/, 'a path that Proxmox refuses';
    refused { $check->(saferemove_throughput => $_) } qr/saferemove_throughput/, "throughput '$_'" for '50MB/s', '$(id)', 'fast';
};

subtest 'throughput, as cstream has it' => sub {
    my $f = $PLUGIN->can('throughput');
    is($f->('-10485760'), 10485760, 'bytes');
    is($f->('50M'), 50 << 20, '50M');
    is($f->('1g'), 1 << 30, '1g');
    is($f->('0'), 0, 'unlimited');
    is($f->(undef), undef, 'nothing is said');
    refused { $f->("5\n") } qr/saferemove_throughput/, 'a line feed';
};

subtest 'names' => sub {
    my $scfg = config()->{ids}->{slate};
    my $path = sub { scalar($PLUGIN->filesystem_path($scfg, @_)) };
    is($path->('100/vm-100-disk-0.raw'), "$MNT/images/100/vm-100-disk-0.raw", 'a disk');
    is($path->('100/vm-100-disk-0.raw', 's1'), "$MNT/images/100/.snap/vm-100-disk-0.raw\@s1", 'its snapshot');
    is($path->('iso/debian.iso'), "$MNT/template/iso/debian.iso", 'an ISO image');
    refused { $path->('iso/debian.iso', 's1') } qr/no snapshots/, 'a snapshot of an ISO image';
    refused { $PLUGIN->volume_snapshot($scfg, 'slate', 'iso/debian.iso', 's1') } qr/no raw disk/, 'to snapshot one';
    refused { $path->('100/vm-100-disk-0.raw', $_) } qr/not the name of a snapshot/, "a snapshot '$_'" for ('a,b', '../x', '-f', 'a b');
    is($PLUGIN->volume_qemu_snapshot_method('slate', $scfg, '100/vm-100-disk-0.raw'), 'storage', 'qemu need not know of snapshots');
    is($PLUGIN->volume_snapshot_needs_fsfreeze(), 1, 'containers are frozen: their backup replays no journal');
};

subtest 'features' => sub {
    my %want = (
        snapshot => [1, 1, 0], clone => [1, 1, 1], template => [1, 0, 0], copy => [1, 1, 1], sparseinit => [1, 0, 1],
        rename => [1, 0, 0], replicate => [0, 0, 0],
    );
    for my $feature (sort keys %want) {
        my @of = (['vm-100-disk-0.raw', undef], ['vm-100-disk-0.raw', 's1'], ['base-100-disk-0.raw', undef]);
        my @has = map { plug('volume_has_feature', config(), $feature, "slate:100/$_->[0]", $_->[1]) ? 1 : 0 } @of;
        is_deeply(\@has, $want{$feature}, "$feature of a disk, a snapshot, a template");
    }
    my @args = (config(), 'clone', 'slate:100/base-100-disk-0.raw', undef, 0);
    ok(!plug('volume_has_feature', @args, { valid_target_formats => ['qcow2'] }), 'no clone as qcow2');
    ok(plug('volume_has_feature', @args, { valid_target_formats => ['raw'] }), 'a clone as raw');
};

subtest 'what a task promises' => sub {
    local $ENV{TZ} = 'UTC';
    POSIX::tzset();
    my $now = POSIX::strftime('%FT%TZ', gmtime(time() + 60));
    my $f = $PLUGIN->can('promise');
    my $job = { id => 41, policy => 'zero', freed => 5 << 20, end => $now };
    my $info = { pool => 'tank', rate => 50 << 20 };
    my $hm = substr($now, 11, 5);
    is($f->('x', 1288490189, $info, $job), "freed 1.2 GiB of x; erase queued (#41), done about $hm at 50M/s", 'when it is done');
    is($f->('x', 5, $info, { %$job, end => undef }), 'freed 5 B of x; erase queued (#41) at 50M/s', 'no end can be told yet');
    is($f->('x', 1, { %$info, paused => 1 }, $job), 'freed 1 B of x; erase queued (#41), and paused', 'paused');
    is($f->('x', 1, { pool => 'tank', rate => 0 }, $job), "freed 1 B of x; erase queued (#41), done about $hm at an unlimited rate", 'unlimited');
    is($f->('x', 0, $info), 'freed 0 B of x; nothing is to be erased', 'nothing');
    like($f->('x', 9, $info), qr/slatefs erase status tank shows/, 'in no job yet');
    like($f->('x', 9, $info, { %$job, policy => 'none' }), qr/not erased \(saferemove 0\)/, 'never called erased');
    is($PLUGIN->can('seconds')->('2026-11-30T04:56:28.13+01:00'), $PLUGIN->can('seconds')->('2026-11-30T03:56:28Z'), 'time zones');
};

done_testing();
