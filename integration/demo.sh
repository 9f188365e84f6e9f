#!/usr/bin/env bash
# Shows what slatefs does, on a pool file and with real files; under two minutes, as root or as an ordinary user who has
# fusermount3. All of it lies in a temporary directory, and is taken away at the end. Usage: integration/demo.sh
# SLATEFS=PATH: the binary (else it is built). SOURCE=DIR: whose files go into the volume.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:/usr/sbin:/sbin" LC_ALL=C

here=$(mktemp -d "${TMPDIR:-/tmp}/slatefs-demo.XXXXXX")
mnt=$here/mnt file=$here/demo.pool
export SLATEFS_STATE_DIR=$here/state SLATEFS_RUN_DIR=$here/run

cleanup() {
  local code=$?
  cd /
  if grep -q " $mnt fuse.slatefs " /proc/mounts; then
    "$slatefs" umount "$mnt" || umount -l "$mnt" 2>/dev/null || fusermount3 -uz "$mnt"
  fi
  rm -rf --one-file-system "$here"
  [ "$code" = 0 ] || echo "demo: FAILED (exit $code)"
}
slatefs=true
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# say prints a step; note what came of it; fail ends the demo.
say() { printf '\n== %s\n' "$*"; }
note() { printf '   %s\n' "$*"; }
fail() { echo "   WRONG: $*"; exit 1; }
now() { date +%s%N; }
# timed runs a command, and leaves how long it took in $ms, in milliseconds.
timed() {
  local start
  start=$(now)
  "$@"
  ms=$(awk -v ns=$(($(now) - start)) 'BEGIN { printf "%.1f", ns / 1e6 }')
}
# repeat prints a line again and again, a number of bytes in all.
repeat() { { yes "$1" || true; } | head -c "$2"; }
have() { command -v "$1" >/dev/null; }
# marks counts the places of a marker on what lies under the mount.
marks() { { grep -a -o -F "$1" "$file" || true; } | wc -l; }
# same compares a volume with an image.
same() {
  if have qemu-img; then
    qemu-img compare -q -f raw -F raw "$1" "$2"
  else
    cmp "$1" "$2"
  fi
}
# dirt writes 64 MiB into a volume, in 8 pieces, with a marker in each block.
dirt() {
  repeat "$2" 8388608 >"$here/dirt"
  local i
  for i in 1 3 5 7 9 11 13 15; do
    dd if="$here/dirt" of="$1" bs=1M seek=$((i * 16)) conv=notrunc,fsync status=none
  done
}
column() { slatefs list -Hp -o "$1" "$2"; }
slatefs() { "$slatefs" "$@"; }

say "build"
if [ -n "${SLATEFS:-}" ]; then
  slatefs=$SLATEFS
elif [ -x bin/slatefs ] && [ -z "$(find . -name '*.go' -newer bin/slatefs -print -quit)" ]; then
  slatefs=$PWD/bin/slatefs
else
  CGO_ENABLED=0 go build -buildvcs=false -o "$here/slatefs" ./cmd/slatefs
  slatefs=$here/slatefs
fi
note "$("$slatefs" --version), as $(id -un) on $(nproc) processors"

say "a pool in a file of 1 GiB, mounted"
mkdir "$mnt"
timed slatefs pool create --size 1G --sparse demo "$file"
note "created in $ms ms"
timed slatefs mount demo "$mnt"
note "mounted on $mnt in $ms ms"

say "real input: an ext4 image of 256 MiB with real files in it"
source=${SOURCE:-/usr/share}
mkdir "$here/files"
find "$source" -xdev -type f -size -256k -readable >"$here/list" 2>/dev/null || true
sort "$here/list" | awk 'NR % 7 == 1 && ++n <= 4000' | tr '\n' '\0' | xargs -0 cp --parents -t "$here/files"
alive="ALIVE-$RANDOM$RANDOM$RANDOM-"
for i in 1 2 3; do
  repeat "$alive" 1048576 >"$here/files/precious-$i"
done
mke2fs -q -t ext4 -d "$here/files" -E lazy_itable_init=0 "$here/ext4.img" 256M
note "$(find "$here/files" -type f | wc -l) files, $(du -sm "$here/files" | cut -f1) MiB"
if have qemu-img; then
  timed qemu-img convert -f raw -O raw -t none "$here/ext4.img" "$mnt/vm.raw"
else
  timed cp --sparse=always "$here/ext4.img" "$mnt/vm.raw"
fi
note "copied into $mnt/vm.raw in $ms ms; it takes $(($(column refer "$mnt/vm.raw") >> 20)) MiB of the pool"
same "$here/ext4.img" "$mnt/vm.raw" || fail "the volume is not the image"

say "snapshot, change, rollback"
timed slatefs snapshot "$mnt/vm.raw@clean"
note "snapshot in $ms ms"
before=$(marks "$alive")
rolled="ROLLED-$RANDOM$RANDOM$RANDOM-"
if have debugfs; then
  repeat "$rolled" 4194304 >"$here/new"
  debugfs -w -f /dev/stdin "$mnt/vm.raw" >/dev/null 2>&1 <<<"rm precious-1
write $here/new intruder"
fi
dirt "$mnt/vm.raw" "$rolled"
note "64 MiB written over it: $(marks "$rolled") marks \"$rolled\" on the pool file"
if same "$here/ext4.img" "$mnt/vm.raw" >/dev/null; then fail "the change is not there"; fi
same "$here/ext4.img" "$mnt/.snap/vm.raw@clean" || fail "the snapshot has changed"
timed slatefs rollback "$mnt/vm.raw@clean"
note "rollback in $ms ms"
same "$here/ext4.img" "$mnt/vm.raw" || fail "the volume is not what it was"
note "the volume is the image again, byte for byte"

say "a clone, changed and destroyed; then the snapshot; then a second volume"
timed slatefs clone "$mnt/vm.raw@clean" "$mnt/test.raw"
note "clone in $ms ms"
cloned="CLONED-$RANDOM$RANDOM$RANDOM-"
dirt "$mnt/test.raw" "$cloned"
same "$here/ext4.img" "$mnt/vm.raw" || fail "the clone's writes went into its origin"
timed slatefs destroy "$mnt/test.raw"
note "clone with 64 MiB of its own destroyed in $ms ms"
timed slatefs destroy "$mnt/vm.raw@clean"
note "snapshot destroyed in $ms ms"
second="SECOND-$RANDOM$RANDOM$RANDOM-"
slatefs create --size 256M "$mnt/second.raw"
dirt "$mnt/second.raw" "$second"
timed slatefs destroy "$mnt/second.raw"
note "volume with 64 MiB destroyed in $ms ms"
note "on the pool file still: $(marks "$rolled") + $(marks "$cloned") + $(marks "$second") marks of what is gone"

say "erase, at 32 MiB/s"
slatefs set erase_throughput=32M "$mnt"
slatefs erase status "$mnt"
left=$(slatefs erase status -Hp "$mnt" | awk -F '\t' '{ n += $5 } END { printf "%d", n }')
timed slatefs erase wait "$mnt"
note "$left bytes were left to erase: $ms ms, $(awk -v b="$left" -v ms="$ms" 'BEGIN { printf "%.1f", b / 1048576 / (ms / 1000) }') MiB/s"

say "what is on the pool file now"
sync "$file"
for m in "$rolled" "$cloned" "$second"; do
  n=$(marks "$m")
  note "marks $m: $n"
  [ "$n" = 0 ] || fail "something destroyed is left"
done
n=$(marks "$alive")
note "marks $alive: $n, of what lives (at first $before)"
[ "$n" = "$before" ] || fail "something alive is gone"
same "$here/ext4.img" "$mnt/vm.raw" || fail "the volume is not what it was"
! have e2fsck || e2fsck -fn "$mnt/vm.raw" >/dev/null 2>&1 || fail "the file system in the volume is broken"
note "the volume is the image, byte for byte, and its file system is clean"
slatefs list -t all "$mnt"

say "unmount and check"
timed slatefs umount "$mnt"
note "unmounted in $ms ms"
timed slatefs pool check demo
note "checked in $ms ms"
printf '\ndemo: all is as it should be, after %d s\n' "$SECONDS"
