#!/usr/bin/env bash
# Two ratios about erasing, each side by side in one run, as root, on a loop device with direct I/O:
#   1. unlimited erasing over `dd if=/dev/zero oflag=direct` of the same device; wanted: 0.95 or more
#   2. the p99 latency of fio's 4 KiB random writes in a volume while the pool erases, over that while it does not
#
# Usage: integration/bench-erase.sh [SIZE-IN-MIB [ROUNDS]]      default 2048 3; SIZE is needed in $TMPDIR
# METHOD=overwrite|zeroout|auto: overwrite by default, for dd writes its zeros, too. SLATEFS=PATH: the binary.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:/usr/sbin:/sbin" LC_ALL=C

mib=${1:-2048} rounds=${2:-3} method=${METHOD:-overwrite}
[ "$(id -u)" = 0 ] || { echo "bench-erase: needs root, for loop devices" >&2; exit 1; }
here=$(mktemp -d "${TMPDIR:-/tmp}/slatefs-bench.XXXXXX")
mnt=$here/mnt image=$here/image dev='' slatefs=true
export SLATEFS_STATE_DIR=$here/state SLATEFS_RUN_DIR=$here/run

cleanup() {
  cd /
  if grep -q " $mnt fuse.slatefs " /proc/mounts; then
    "$slatefs" umount "$mnt" >&2 || umount -l "$mnt" 2>/dev/null
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
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }
counter() { "$slatefs" erase status -j "$mnt" | jq ".erase.$1"; }
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

dd if=/dev/zero of="$image" bs=1M count="$mib" conv=fsync status=none # no holes: they would cost dd only
dev=$(losetup --show --direct-io=on -f "$image")
mkdir "$mnt"

# by_dd prints MiB/s of dd over the whole device.
by_dd() {
  local start
  start=$(now)
  dd if=/dev/zero of="$dev" bs=1M count="$mib" oflag=direct conv=fsync status=none
  awk -v m="$mib" -v ns=$(($(now) - start)) 'BEGIN { printf "%.1f", m / (ns / 1e9) }'
}
# by_erase prints MiB/s of a new pool's first erase, which is of all the device.
by_erase() {
  local start ns
  rm -rf "$here/state" # the pool of the last round, which dd has overwritten
  "$slatefs" pool create -f -o erase_throughput=0 -o erase_method="$method" -o erase_paused=on bench "$dev"
  "$slatefs" mount bench "$mnt"
  start=$(now)
  "$slatefs" erase resume "$mnt"
  "$slatefs" erase wait "$mnt" 2>/dev/null
  ns=$(($(now) - start))
  awk -v b="$(counter erased_in_background)" -v ns="$ns" 'BEGIN { printf "%.1f", b / 1048576 / (ns / 1e9) }'
  "$slatefs" umount "$mnt"
}
echo "unlimited erase ($method) over dd, $mib MiB:"
for i in $(seq "$rounds"); do
  if [ $((i % 2)) = 1 ]; then d=$(by_dd) e=$(by_erase); else e=$(by_erase) d=$(by_dd); fi
  echo "  round $i: dd $d MiB/s, erase $e MiB/s, ratio $(ratio "$e" "$d")"
  ratio "$e" "$d" >>"$here/ratios"
  echo >>"$here/ratios"
done
echo "  median ratio $(median <"$here/ratios")"

command -v fio >/dev/null || { echo "fio is not installed: the second ratio is left out"; exit 0; }
rm -rf "$here/state"
"$slatefs" pool create -f -o erase_throughput=0 -o erase_method="$method" bench "$dev"
"$slatefs" mount bench "$mnt"
"$slatefs" erase wait "$mnt" 2>/dev/null
area=$((mib / 8))
fallocate -l "${area}M" "$mnt/vm.raw"
# p99 prints the p99 latency of writes in µs.
p99() {
  fio --name=w --filename="$mnt/vm.raw" --rw=randwrite --bs=4k --direct=1 --ioengine=libaio --iodepth=4 --time_based --runtime="${1:-8}" \
    --size="${area}M" --output-format=json --randrepeat=0 | jq '.jobs[0].write.clat_ns.percentile."99.000000" / 1000'
}
# erasing keeps a queue for the background: blocks of a volume that is written and destroyed.
erasing() {
  "$slatefs" erase pause "$mnt"
  dd if=/dev/zero bs=1M count=$((mib / 2)) status=none | tr '\0' x | dd of="$mnt/gone.raw" bs=1M iflag=fullblock conv=fsync status=none
  "$slatefs" destroy "$mnt/gone.raw"
  "$slatefs" set erase_throughput="$1" "$mnt"
  "$slatefs" erase resume "$mnt"
}
echo "p99 of 4 KiB random writes at depth 4, erase at a rate over none:"
for rate in 10M 50M 0; do
  quiet=$(p99)
  erasing "$rate"
  before=$(counter erased_in_background) start=$(now)
  busy=$(p99)
  done=$((($(counter erased_in_background) - before) / 1048576)) ns=$(($(now) - start))
  echo "  rate $rate: quiet $quiet µs, erasing $busy µs, ratio $(ratio "$busy" "$quiet"); $done MiB erased meanwhile, in $((ns / 1000000)) ms"
  "$slatefs" set erase_throughput=0 "$mnt"
  "$slatefs" erase wait "$mnt" 2>/dev/null
done
