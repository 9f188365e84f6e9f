package Lab;

# What the tests of the plugin stand on: the plugin, loaded beside Proxmox' own plugins or a stand-in of them, and a pool of its
# own on a real mount.
#
#   SLATEFS      the program, by its path
#   SLATEFS_LAB  an empty directory for pools, mounts, and the program's state
#   SLATEFS_PVE  folders of Proxmox' own modules, divided by colons: pve-storage, pve-common, pve-cluster, pve-guest-common and
#                pve-apiclient as on github.com/proxmox, each with /src; empty: the stand-in beside these tests

use strict;
use warnings;

use Cwd ();
use File::Basename qw(dirname);
use Test::More;

use base qw(Exporter);
our @EXPORT = qw($REAL $PLUGIN $DIR $MNT config refused output slatefs spit slurp plug);

our ($REAL, $PLUGIN, $DIR, $MNT) = (0, 'PVE::Storage::Custom::SlatefsPlugin');

# Like a daemon of Proxmox: tainted, and with a PATH of its own.
my $here = untaint(dirname(dirname(Cwd::abs_path(__FILE__))));
$ENV{PATH} = '/usr/sbin:/usr/bin:/sbin:/bin';
delete @ENV{qw(IFS CDPATH ENV BASH_ENV)};
$| = 1;

sub untaint { return $_[0] =~ m/^([^\n]*)$/ ? $1 : die "a line is not one\n" }

sub import {
    my ($class, @args) = @_;
    for my $key (qw(SLATEFS SLATEFS_LAB)) {
        plan(skip_all => "$key is not set: TestProxmoxPlugin in integration runs this") if !$ENV{$key};
    }
    $DIR = untaint($ENV{SLATEFS_LAB});
    $MNT = "$DIR/pve/slate";
    $ENV{SLATEFS_STATE_DIR} = "$DIR/state";
    $ENV{SLATEFS_RUN_DIR} = "$DIR/run";
    load();
    $class->export_to_level(1, $class);
}

# load loads the plugin as Proxmox does: beside all of its own, and then all are initialized.
sub load {
    $REAL = upstream();
    unshift @INC, "$here/standin" if !$REAL;
    require PVE::Storage;
    require(untaint($ENV{SLATEFS_PLUGIN} // "$here/../SlatefsPlugin.pm"));
    $PLUGIN->register();
    PVE::Storage::Plugin->init();
    no strict 'refs';
    no warnings 'once';
    ${"${PLUGIN}::SLATEFS"} = untaint($ENV{SLATEFS});
    ${"${PLUGIN}::SYSTEMD"} = "$DIR/no-systemd";
    ${"${PLUGIN}::GUESTS"} = "$DIR/guests";
    ${"${PLUGIN}::ETC"} = "$DIR/etc";
    diag(
        ($REAL ? "upstream modules" : "the stand-in of Proxmox' modules")
            . ", storage API " . PVE::Storage::APIVER() . ", plugins "
            . join(' ', sort keys PVE::Storage::Plugin->private()->{plugins}->%*),
    );
}

# upstream puts Proxmox' own modules within reach, and tells whether there are any.
sub upstream {
    my @dirs = map { untaint($_) } split(/:/, $ENV{SLATEFS_PVE} // '') or return 0;
    unshift @INC, @dirs;
    without_cluster();
    return 1;
}

# without_cluster puts something in the place of what is compiled or heavy in Proxmox: the cluster's messages, the API's
# environment, librados. No plugin's code is among it.
sub without_cluster {
    for my $module (qw(PVE::IPCC PVE::Cluster::IPCConst PVE::RPCEnvironment PVE::RADOS)) {
        next if eval "require $module; 1";
        (my $file = "$module.pm") =~ s!::!/!g;
        delete $INC{$file};
        $INC{$file} = __FILE__;
        diag("$module is not there, something empty in its place");
        next if $module ne 'PVE::Cluster::IPCConst';
        my $n = 0;
        no strict 'refs';
        for my $name (
            qw(GET_FS_VERSION GET_CLUSTER_INFO GET_GUEST_LIST SET_STATUS GET_STATUS GET_CONFIG LOG_CLUSTER_MSG GET_CLUSTER_LOG
            GET_RRD_DUMP GET_GUEST_CONFIG_PROPERTY VERIFY_TOKEN GET_GUEST_CONFIG_PROPERTIES)
        ) {
            my $number = ++$n;
            *{"PVE::Cluster::CFS_IPC_$name"} = sub () { $number };
        }
        *{"PVE::Cluster::IPCConst::import"} = sub { };
    }
    no warnings 'once';
    *PVE::IPCC::ipcc_send_rec = sub { $! = 111; return undef } if !PVE::IPCC->can('ipcc_send_rec');
}

# config is the configuration of storages with a section of this type; more lines may be given.
sub config {
    my (@lines) = @_;
    my $text = join("\n\t", 'slatefs: slate', "path $MNT", 'slatefs-pool tank', 'content images,rootdir,iso', @lines) . "\n";
    return PVE::Storage::Plugin->parse_config('storage.cfg', $text);
}

# refused checks that something dies, and what it says.
sub refused(&$$) {
    my ($do, $want, $what) = @_;
    my $ok = eval { $do->(); 1 };
    my $err = $@;
    $ok ? fail("$what: is not refused") : like($err, $want, $what);
    return $err;
}

# output is what is printed meanwhile.
sub output(&) {
    my ($do) = @_;
    open(my $old, '>&', \*STDOUT) or die "stdout: $!\n";
    my $file = "$DIR/output";
    open(STDOUT, '>', $file) or die "$file: $!\n";
    my $ok = eval { $do->(); 1 };
    my $err = $@;
    open(STDOUT, '>&', $old) or die "stdout: $!\n";
    die $err if !$ok;
    return slurp($file);
}

sub slurp {
    my ($file) = @_;
    open(my $fh, '<', $file) or die "$file: $!\n";
    local $/;
    return scalar(<$fh>);
}

sub spit {
    my ($file, $text) = @_;
    open(my $fh, '>', $file) or die "$file: $!\n";
    print $fh $text;
    close($fh) or die "$file: $!\n";
}

# slatefs runs the program itself.
sub slatefs {
    my (@args) = @_;
    open(my $fh, '-|', untaint($ENV{SLATEFS}), @args) or die "slatefs: $!\n";
    local $/;
    my $out = <$fh>;
    close($fh) or die "slatefs @args: exit code " . ($? >> 8) . "\n";
    return $out;
}

# plug calls a function of Proxmox' storage layer on the configuration.
sub plug {
    my ($name, @args) = @_;
    return PVE::Storage->can($name)->(@args);
}

1;
