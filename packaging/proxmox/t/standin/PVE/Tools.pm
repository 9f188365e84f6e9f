package PVE::Tools;

# A stand-in of the little that the plugin calls, for tests where Proxmox' own modules are not at hand. Written for these
# tests; it is no copy.

use strict;
use warnings;

use IPC::Open3 qw(open3);
use IO::Select;
use Symbol qw(gensym);

use base qw(Exporter);
our @EXPORT_OK = qw(run_command);

sub run_command {
    my ($cmd, %how) = @_;
    for my $key (keys %how) {
        die "unknown parameter '$key' for run_command\n" if $key !~ m/^(?:outfunc|errfunc|errmsg|timeout)$/;
    }
    my $pid = open3(my $in, my $out, my $err = gensym, @$cmd);
    close($in);
    my %func = (fileno($out) => $how{outfunc}, fileno($err) => $how{errfunc});
    my %text = map { $_ => '' } keys %func;
    my $from = IO::Select->new($out, $err);
    my $end = $how{timeout} && time() + $how{timeout};
    while ($from->count()) {
        my @ready = $from->can_read($end ? 1 : undef);
        if ($end && time() > $end) {
            kill 'KILL', $pid;
            waitpid($pid, 0);
            die "command '@$cmd' failed: got timeout\n";
        }
        for my $fh (@ready) {
            my $at = fileno($fh);
            my $n = sysread($fh, my $data, 65536);
            $text{$at} .= $data if $n;
            while ($text{$at} =~ s/^([^\n]*)\n// || !$n && $text{$at} =~ s/^(.+)$//s) {
                my $line = $1;
                $func{$at} ? $func{$at}->($line) : print STDOUT "$line\n";
            }
            $from->remove($fh) if !$n;
        }
    }
    waitpid($pid, 0);
    die(($how{errmsg} // "command '@$cmd' failed") . ": exit code " . ($? >> 8) . "\n") if $?;
    return 0;
}

sub df {
    my ($path) = @_;
    my ($total, $used, $avail) = split(' ', (qx(df -B1 --output=size,used,avail -- $path 2>&1))[1] // '');
    return { total => $total, used => $used, avail => $avail };
}

1;
