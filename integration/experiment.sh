#!/usr/bin/env bash
# The experiment that was published for Proxmox VE's LVM chains, done on slatefs: a volume full of marks, a snapshot,
# some writes, a rollback, the snapshot deleted, the volume destroyed. How long does the operator wait, when is all of it
# zero on the device, at which rate, and how many marks can still be read there?
#
# Usage: integration/experiment.sh [RATE [SIZE]]      prints one row of the README's table
#   RATE: off (erasing is paused), 10M, 50M, … bytes per second, 0 is unlimited; default 50M
#   SIZE: of the volume, in MiB with an M or GiB with a G; default 1G. Three times as much is needed in $TMPDIR.
# METHOD=overwrite|zeroout|auto: how zeros are made, overwrite by default. SLATEFS=PATH: the binary (else it is built).
# As root the pool is on a loop device, which stands for the LV; else in a file.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:/usr/sbin:/sbin" LC_ALL=C

rate=${1:-50M} size=${2:-1G} method=${METHOD:-overwrite}
case $size in
  *G) mib=$((${size%G} * 1024)) ;;
  *M) mib=${size%M} ;;
  *) echo "SIZE $size: want 512M or 1G" >&2; exit 2 ;;
esac
here=$(mktemp -d "${TMPDIR:-/tmp}/slatefs-exp.XXXXXX")
mnt=$here/mnt image=$here/image dev='' slatefs=true
export SLATEFS_STATE_DIR=$here/state SLATEFS_RUN_DIR=$here/run

cleanup() {
  cd /
  if grep -q " $mnt fuse.slatefs " /proc/mounts; then
    "$slatefs" umount "$mnt" >&2 || umount -l "$mnt" 2>/dev/null || fusermount3 -uz "$mnt"
  fi
  [ -z "$dev" ] || losetup -d "$dev"
  rm -rf --one-file-system "$here"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

slatefs=${SLATEFS:-}
if [ -z "$slatefs" ]; then
  make -s build
  slatefs=$PWD/bin/slatefs
fi

now() { date +%s%N; }
# since prints the seconds since a time.
since() { awk -v ns=$(($(now) - $1)) 'BEGIN { printf "%.3f", ns / 1e9 }'; }
# operator runs a command and prints how long whoever typed it waits.
operator() {
  local start
  start=$(now)
  "$slatefs" "$@" >&2
  since "$start"
}
# fill writes MiB into the volume, from a MiB on: a mark in each 4 KiB.
fill() { { yes "$(printf '%-4095s' "$1" | tr ' ' .)" || true; } | dd of="$mnt/vm.raw" bs=1M count="$2" seek="$3" iflag=fullblock conv=notrunc,fsync status=none; }
# marks counts the marks on what lies under the pool.
marks() {
  sync -f "$image"
  { grep -a -o -F -e MARK-OF-THE-GUEST -e MARK-TO-FORGET "$image" || true; } | wc -l
}
zeroed() { "$slatefs" erase status -j "$mnt" | jq '.erase.erased_in_background + .erase.erased_on_demand'; }

mkdir "$mnt"
if [ "$(id -u)" = 0 ]; then
  truncate -s $((3 * mib + 256))M "$image"
  dev=$(losetup --show -f "$image")
  "$slatefs" pool create -o erase_method="$method" exp "$dev"
else
  "$slatefs" pool create --size $((3 * mib + 256))M -o erase_method="$method" exp "$image" 2>/dev/null
fi
"$slatefs" mount exp "$mnt"
"$slatefs" set erase_throughput=0 "$mnt"
"$slatefs" erase wait "$mnt" 2>/dev/null # a device is erased once before its first use
"$slatefs" create --size "${mib}M" "$mnt/vm.raw"
fill MARK-OF-THE-GUEST "$mib" 0
if [ "$rate" = off ]; then
  "$slatefs" erase pause "$mnt"
else
  "$slatefs" set erase_throughput="$rate" "$mnt"
fi

snapshot=$(operator snapshot "$mnt/vm.raw@before")
fill MARK-TO-FORGET $((mib / 2)) $((mib / 4))
before=$(zeroed) start=$(now)
rollback=$(operator rollback "$mnt/vm.raw@before")
delete=$(operator destroy "$mnt/vm.raw@before")
destroy=$(operator destroy "$mnt/vm.raw")
if [ "$rate" = off ]; then
  after=never achieved=- bytes=0
else
  "$slatefs" erase wait "$mnt" 2>/dev/null
  after=$(since "$start")
  bytes=$(($(zeroed) - before))
  achieved=$(awk -v b="$bytes" -v s="$after" 'BEGIN { printf "%.2f MiB/s", b / s / 1048576 }')
  after="$after s"
fi
"$slatefs" umount "$mnt"
[ -z "$dev" ] || blockdev --flushbufs "$dev"
echo "| $rate | $snapshot s | $rollback s | $delete s | $destroy s | $after | $bytes | $achieved | $(marks) |"
