package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// extent is a part of an image, in bytes. What is neither data nor zero is what lies below.
type extent struct {
	Start, Length, Offset int64 // Offset: of data, in the image's file
	Data, Zero            bool
}

// mapped is a part of an image as qemu-img maps it, in bytes.
type mapped struct {
	Start, Length int64
	Zero, Data    bool
	Present       *bool  // false: what lies below shows through; absent: an older qemu-img
	Offset        *int64 // where it is in the file; absent: nowhere as it is, for it is compressed
}

// own are the parts that an image has by itself. Of a raw image all of it is.
func (f foreign) own(ctx context.Context) (list []extent, err error) {
	if f.format == "raw" {
		return []extent{{Length: f.size, Data: true}}, nil
	}
	err = qemuImg(ctx, func(r io.Reader) error {
		d := json.NewDecoder(r) // there may be millions
		if _, err := d.Token(); err != nil {
			return err
		}
		for d.More() {
			var m mapped
			if err := d.Decode(&m); err != nil {
				return err
			}
			e, err := f.extentOf(m)
			if err != nil {
				return err
			}
			if e.Data || e.Zero {
				list = append(list, e)
			}
		}
		return nil
	}, "map", "--output=json", f.alone())
	return list, err
}

func (f foreign) extentOf(m mapped) (extent, error) {
	e := extent{Start: m.Start, Length: m.Length, Data: m.Data}
	switch {
	case m.Start < 0 || m.Length < 0 || m.Start > f.size-m.Length:
		return e, fmt.Errorf("%s: %d bytes at %d are not in its %d bytes", f.path, m.Length, m.Start, f.size)
	case m.Present == nil:
		return e, errors.New("qemu-img map does not tell zeros from what lies below: version 6.1 or newer does")
	case m.Data && m.Offset == nil:
		return e, fmt.Errorf("%s: has compressed clusters at %d: qemu-img convert it first", f.path, m.Start)
	case m.Data:
		e.Offset = *m.Offset
	default:
		e.Zero = m.Zero && *m.Present
	}
	return e, nil
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
			err = f.copyExtent(ctx, from, to, e, buf, done)
		case e.Zero:
			err = unix.Fallocate(int(to.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, e.Start, e.Length)
		}
		if err != nil {
			return fmt.Errorf("%s: bytes at %d: %w", f.path, e.Start, err)
		}
	}
	return nil
}

// copyExtent copies data. Zeros are written only where something else may be: over a volume that is new they are left out, for
// it reads so. qemu-img rounds the size of a raw file up to sectors; any other end of a file is one that came too early.
func (f foreign) copyExtent(ctx context.Context, from, to *os.File, e extent, buf []byte, done func(bytes int64)) error {
	const piece, sector = 64 << 10, 512
	for at := int64(0); at < e.Length; {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n, err := from.ReadAt(buf[:min(int64(len(buf)), e.Length-at)], e.Offset+at)
		if n == 0 {
			if errors.Is(err, io.EOF) {
				if f.format == "raw" && e.Length-at < sector {
					return nil
				}
				err = fmt.Errorf("its file ends at %d, inside of what it has: %w", e.Offset+at, io.ErrUnexpectedEOF)
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
