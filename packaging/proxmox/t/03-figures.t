#!/usr/bin/perl -T
# A disk of 1 GiB through the plugin: how long do the tasks take that wait for zeros elsewhere? Times are printed; what is
# asserted is what they did.

use strict;
use warnings;

use File::Path qw(make_path);
use FindBin;
use Test::More;
use Time::HiRes qw(time);
BEGIN { require((($FindBin::Bin =~ m/^(.*)$/)[0]) . '/lib/Lab.pm'); Lab->import(); }

$DIR = "$DIR/figures";
my $cfg = config('saferemove 1', 'saferemove_throughput 50M');
make_path("$DIR/guests", $MNT);
slatefs('pool', 'create', '--size', '3G', '--sparse', 'figures', "$DIR/figures.pool");
$cfg->{ids}->{slate}->{'slatefs-pool'} = 'figures';
plug('activate_storage', $cfg, 'slate', {});

END {
    if (defined($MNT)) {
        my $code = $?;
        slatefs('umount', $MNT) if slurp('/proc/mounts') =~ m/ \Q$MNT\E /;
        unlink("$DIR/figures.pool");
        $? = $code;
    }
}

my $disk = plug('vdisk_alloc', $cfg, 'slate', 100, 'raw', undef, 1 << 20);
my ($path) = plug('path', $cfg, $disk);

# fill writes so many mebibytes of a letter.
sub fill {
    my ($letter, $mib) = @_;
    open(my $fh, '+<', $path) or die "$path: $!\n";
    syswrite($fh, $letter x (1 << 20)) == 1 << 20 or die "$path: $!\n" for 1 .. $mib;
    close($fh) or die "$path: $!\n";
}

# task does one, says how long it took, and returns what it printed.
sub task {
    my ($what, $published, $do) = @_;
    my $start = time();
    my $said = output { $do->() };
    diag(sprintf('%-28s %7.3f s   %s for a chain of LVs', $what, time() - $start, $published));
    return $said;
}

fill('a', 1024);
task('snapshot', 'published: 1.5 to 1.7 s', sub { plug('volume_snapshot', $cfg, $disk, 's') });
fill('b', 512);
my $said = task('rollback', 'published: 102 s, at 50M 30.9 s', sub { plug('volume_snapshot_rollback', $cfg, $disk, 's') });
like($said, qr/^freed 512 MiB of vm-100-disk-0\.raw; erase queued/, 'the rollback freed what was written since');
fill('c', 512);
$said = task('delete of the snapshot', 'published: 102 s, at 50M 30.6 s', sub { plug('volume_snapshot_delete', $cfg, $disk, 's') });
like($said, qr/^freed 512 MiB of vm-100-disk-0\.raw\@s; erase queued/, 'the delete freed what only the snapshot had');
$said = task('removal of the disk', 'nothing is published', sub { plug('vdisk_free', $cfg, $disk) });
like($said, qr/^freed 1\.0 GiB of vm-100-disk-0\.raw; erase queued/, 'the removal freed the disk');
slatefs('set', 'erase_throughput=0', $MNT);
slatefs('erase', 'wait', $MNT);
is(slatefs('list', '-Hp', '-t', 'pool', '-o', 'used,erasing', $MNT), "0\t0\n", 'and all of it is zero');

done_testing();
