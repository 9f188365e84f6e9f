package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// extent is a part of an image as qemu-img maps it, in bytes.
type extent struct {
	Start, Length int64
	Zero, Data    bool
	Present       *bool  // false: what lies below shows through; absent: an older qemu-img
	Offset        *int64 // where it is in the file; absent: nowhere as it is, for it is compressed
}

// own are the parts that an image has by itself. Of a raw image all of it is.
func (f foreign) own(ctx context.Context) (list []extent, err error) {
	if f.format == "raw" {
		return []extent{{Length: f.size, Data: true, Offset: new(int64)}}, nil
	}
	if err := qemuImg(ctx, &list, "map", "--output=json", f.alone()); err != nil {
		return nil, err
	}
	for _, e := range list {
		if e.Data && e.Offset == nil {
			return nil, fmt.Errorf("%s: has compressed clusters at %d: qemu-img convert it first", f.path, e.Start)
		}
		if e.Present == nil {
			return nil, errors.New("qemu-img map does not tell zeros from what lies below: version 6.1 or newer does")
		}
	}
	return list, nil
}

// copyOwn writes what an image has by itself over a volume, and tells how far in its bytes it is.
func copyOwn(ctx context.Context, f foreign, list []extent, to *os.File, done func(bytes int64)) error {
	from, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer from.Close() //nolint:errcheck // it was only read
	buf := make([]byte, 1<<20)
	for _, e := range list {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		switch {
		case e.Data:
			err = copyExtent(ctx, from, to, e, buf, done)
		case e.Zero && *e.Present:
			err = unix.Fallocate(int(to.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, e.Start, e.Length)
		}
		if err != nil {
			return fmt.Errorf("%s: bytes at %d: %w", f.path, e.Start, err)
		}
	}
	return nil
}

// copyExtent copies data. Zeros are written only where something else may be: over a volume that is new they are left out, for
// it reads so.
func copyExtent(ctx context.Context, from, to *os.File, e extent, buf []byte, done func(bytes int64)) error {
	const piece = 64 << 10
	for at := int64(0); at < e.Length; {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n, err := from.ReadAt(buf[:min(int64(len(buf)), e.Length-at)], *e.Offset+at)
		if n == 0 {
			if errors.Is(err, io.EOF) {
				return nil // a file may end before its last block
			}
			return err
		}
		for p := 0; p < n; p += piece {
			part := buf[p:min(p+piece, n)]
			start := e.Start + at + int64(p)
			if isZero(part) {
				err = unix.Fallocate(int(to.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, start, int64(len(part)))
			} else {
				_, err = to.WriteAt(part, start)
			}
			if err != nil {
				return err
			}
		}
		at += int64(n)
		done(int64(n))
	}
	return nil
}

func isZero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}

// holdDevices keeps the block devices of a chain from being mounted, and fails where one is, or is held by another device. Of
// files, and against qemu, qemu's own locks do that.
func holdDevices(chain []foreign) (release func(), err error) {
	var held []*os.File
	release = func() {
		for _, f := range held {
			_ = f.Close() //nolint:errcheck // it was only held
		}
	}
	for _, f := range chain {
		if i, err := os.Stat(f.path); err != nil || i.Mode().Type() != os.ModeDevice {
			continue // whoever opens it says what is wrong
		}
		d, err := os.OpenFile(f.path, os.O_RDONLY|unix.O_EXCL, 0)
		if err != nil {
			release()
			return nil, err
		}
		held = append(held, d)
	}
	return release, nil
}

// layerName is the name of the snapshot that an image below another becomes: what Proxmox VE calls it, in a volume group
// snap_VOLUME_NAME.qcow2 and in a directory snap-NAME-VOLUME.qcow2, else the file's name without its end.
func layerName(path, top string) string {
	name := filepath.Base(path)
	if snap, of := snapshotOf(name, filepath.Base(top)); of {
		return snap
	}
	return strings.TrimSuffix(strings.TrimSuffix(name, ".qcow2"), ".raw")
}

// snapshotOf is the snapshot's name in the name of an image, if that is one of a volume.
func snapshotOf(name, volume string) (snap string, of bool) {
	stem := strings.TrimSuffix(volume, ".qcow2")
	if n, ok := strings.CutPrefix(strings.TrimSuffix(name, ".qcow2"), "snap_"+stem+"_"); ok && n != "" {
		return n, true
	}
	if n, ok := strings.CutPrefix(name, "snap-"); ok {
		if n, ok := strings.CutSuffix(n, "-"+volume); ok && n != "" {
			return n, true
		}
	}
	return "", false
}
