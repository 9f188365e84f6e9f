#!/usr/bin/env bash
# Shows what slatefs does, on a pool file and with real files; within a minute, as root or as an ordinary user who has
# fusermount3. All of it lies in a temporary directory (512 MiB), and is taken away at the end. Usage: integration/demo.sh
# SLATEFS=PATH: the binary (else it is built). SOURCE=DIR: whose files go into the volume.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:/usr/sbin:/sbin" LC_ALL=C

here=$(mktemp -d "${TMPDIR:-/tmp}/demo.XXXXXX")
mnt=$here/mnt file=$here/demo.pool
export SLATEFS_STATE_DIR=$here/state SLATEFS_RUN_DIR=$here/r # short: names of sockets are

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
have() { command -v "$1" >/dev/null; }
# marked prints a number of blocks, with a mark at the begin of each and a newline at its end.
marked() { { yes "$(printf '%-4095s' "$1" | tr ' ' .)" || true; } | head -c $(($2 * 4096)); }
# look counts on what lies under the mount the blocks with each mark, into $n_rolled, $n_cloned, $n_second and $n_alive.
# Zeros are left out, so that grep meets no line as long as the pool.
look() {
  sync -f "$file"
  tr -d '\0' <"$file" | { grep -a -o -F -e "$rolled" -e "$cloned" -e "$second" -e "$alive" || true; } |
    sort | uniq -c >"$here/counts"
  n_rolled=$(count "$rolled") n_cloned=$(count "$cloned") n_second=$(count "$second") n_alive=$(count "$alive")
}
count() { awk -v m="$1" '$2 == m { n = $1 } END { print n + 0 }' "$here/counts"; }
# shown prints what look found of what was thrown away.
shown() { note "blocks with $rolled: $n_rolled, with $cloned: $n_cloned, with $second: $n_second"; }
# same compares a volume with an image.
same() {
  if have qemu-img; then
    qemu-img compare -q -f raw -F raw "$1" "$2"
  else
    cmp "$1" "$2"
  fi
}
# dirt writes 64 MiB into a volume, in 8 pieces, with a mark in each block.
dirt() {
  marked "$2" 2048 >"$here/dirt"
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

say "a pool in a file of 512 MiB, mounted"
mkdir "$mnt"
timed slatefs pool create --size 512M --sparse demo "$file"
note "created in $ms ms"
timed slatefs mount demo "$mnt"
note "mounted on $mnt in $ms ms"

say "real input: an ext4 image of 256 MiB with real files in it"
source=${SOURCE:-/usr/share}
alive=ALIVE-$RANDOM$RANDOM$RANDOM rolled=ROLLED-$RANDOM$RANDOM$RANDOM
cloned=CLONED-$RANDOM$RANDOM$RANDOM second=SECOND-$RANDOM$RANDOM$RANDOM
mkdir "$here/files"
find "$source" -xdev -type f -size -256k -readable >"$here/list" 2>/dev/null || true
sort "$here/list" | awk 'NR % 7 == 1 && ++n <= 1000' | tr '\n' '\0' | xargs -0 cp --parents -t "$here/files"
for i in 1 2 3; do
  marked "$alive" 256 >"$here/files/precious-$i"
done
mke2fs -q -t ext4 -b 4096 -d "$here/files" -E lazy_itable_init=0 "$here/ext4.img" 256M
note "$(find "$here/files" -type f | wc -l) files, $(du -sm "$here/files" | cut -f1) MiB"
if have qemu-img; then
  timed qemu-img convert -f raw -O raw -t none "$here/ext4.img" "$mnt/vm.raw"
else
  timed cp --sparse=always "$here/ext4.img" "$mnt/vm.raw"
fi
note "copied into $mnt/vm.raw in $ms ms; it takes $(($(column refer "$mnt/vm.raw") >> 20)) MiB of the pool"
same "$here/ext4.img" "$mnt/vm.raw" || fail "the volume is not the image"

say "snapshot, change, rollback"
slatefs erase pause "$mnt"
note "erasing is paused, so that what is freed can be looked at"
timed slatefs snapshot "$mnt/vm.raw@clean"
note "snapshot in $ms ms"
if have debugfs; then
  marked "$rolled" 1024 >"$here/new"
  debugfs -w -f /dev/stdin "$mnt/vm.raw" >/dev/null 2>&1 <<<"rm precious-1
write $here/new intruder"
fi
dirt "$mnt/vm.raw" "$rolled"
look
[ "$n_alive" = 768 ] || fail "of the 768 blocks with $alive there are $n_alive"
note "64 MiB written over it, with the mark $rolled in each block: $n_rolled blocks of the pool file have it"
if same "$here/ext4.img" "$mnt/vm.raw" >/dev/null; then fail "the change is not there"; fi
same "$here/ext4.img" "$mnt/.snap/vm.raw@clean" || fail "the snapshot has changed"
timed slatefs rollback "$mnt/vm.raw@clean"
note "rollback in $ms ms"
same "$here/ext4.img" "$mnt/vm.raw" || fail "the volume is not what it was"
note "the volume is the image again, byte for byte"

say "a clone, changed and destroyed; then the snapshot; then a second volume"
timed slatefs clone "$mnt/vm.raw@clean" "$mnt/test.raw"
note "clone in $ms ms"
dirt "$mnt/test.raw" "$cloned"
same "$here/ext4.img" "$mnt/vm.raw" || fail "the clone's writes went into its origin"
timed slatefs destroy "$mnt/test.raw"
note "clone with 64 MiB of its own destroyed in $ms ms"
timed slatefs destroy "$mnt/vm.raw@clean"
note "snapshot destroyed in $ms ms"
slatefs create --size 256M "$mnt/second.raw"
dirt "$mnt/second.raw" "$second"
timed slatefs destroy "$mnt/second.raw"
note "volume with 64 MiB destroyed in $ms ms"

say "what is on the pool file now: all that was thrown away, for erasing is paused"
look
shown
for n in $n_rolled $n_cloned $n_second; do
  [ "$n" -ge 16384 ] || fail "what was thrown away is not there, and nothing has erased it"
done

say "erase it, at 24 MiB/s"
slatefs set erase_throughput=24M "$mnt"
slatefs erase status "$mnt"
left=$(slatefs erase status -Hp "$mnt" | awk -F '\t' '{ n += $5 } END { printf "%d", n }')
[ "$left" -ge $(((n_rolled + n_cloned + n_second) * 4096)) ] || fail "only $left bytes wait to be erased"
note "slatefs erase resume, and slatefs erase wait:"
slatefs erase resume "$mnt"
timed slatefs erase wait "$mnt"
note "$left bytes waited to be erased: $ms ms, $(awk -v b="$left" -v ms="$ms" 'BEGIN { printf "%.1f", b / 1048576 / (ms / 1000) }') MiB/s"

say "what is on the pool file now"
look
shown
[ $((n_rolled + n_cloned + n_second)) = 0 ] || fail "something that was thrown away is left"
note "blocks with $alive: $n_alive, of what lives"
[ "$n_alive" = 768 ] || fail "something alive is gone"
same "$here/ext4.img" "$mnt/vm.raw" || fail "the volume is not what it was"
! have e2fsck || e2fsck -fn "$mnt/vm.raw" >/dev/null 2>&1 || fail "the file system in the volume is broken"
note "the volume is the image, byte for byte, and its file system is clean"
slatefs erase audit "$mnt"
slatefs list -t all "$mnt"

say "unmount and check"
daemon=$(slatefs pool status -j demo | sed -n 's/.*"pid": *\([0-9]*\).*/\1/p' | head -n 1)
note "the daemon took at most $(awk '/^VmHWM/ { print int($2 / 1024) }' "/proc/$daemon/status") MiB of memory"
timed slatefs umount "$mnt"
note "unmounted in $ms ms"
timed slatefs pool check demo
note "checked in $ms ms"
printf '\ndemo: all is as it should be, after %d s\n' "$SECONDS"
