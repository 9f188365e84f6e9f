package chain

import (
	"bytes"
	"errors"
	"testing"

	"slatefs/chain/blockdev/devtest"
)

func whole(d *devtest.Disk) []byte { return d.Peek(0, d.Size()) }

// A pool that is opened read-only changes nothing on the device, though the last process died, a page has rotted and
// everything is read.
func TestReadOnlyChangesNothing(t *testing.T) {
	for _, rotten := range []bool{false, true} {
		d := newDisk(t, 4<<20)
		p := openPool(t, d)
		v, data, snap := patchwork(t, p)
		ok(t, p.Checkpoint())
		blocksAt(t, v, 'n', 2, 1) // in the journal only
		copy(data[2*BlockSize:], fill('n', BlockSize))
		ok(t, v.Punch(0, BlockSize))
		clear(data[:BlockSize])
		ok(t, p.Flush())
		_ = planWrite(t, v, 40*BlockSize, BlockSize) // a claim that the crash leaves
		page := int64(p.supers.super.Catalog.Root.Addr) * BlockSize
		d = d.Clone()
		if rotten {
			d.Flip(page+100, 3)
		}
		was := whole(d)
		d.Fail(func(op devtest.Op) error {
			if op.Kind != devtest.OpRead && op.Kind != devtest.OpSync {
				t.Error(op)
			}
			return nil
		})
		q, err := Open(d, Options{Now: newClock().now, ReadOnly: true})
		ok(t, err)
		w, err := q.Volume(v.ino)
		ok(t, err)
		expect(t, w, 0, data)
		expect(t, snapOf(t, w, "s"), 0, snap)
		r, err := q.Check(t.Context())
		ok(t, err)
		if (len(r.Lost) != 0) != rotten || len(r.Errors)+len(r.Leaks) != 0 {
			t.Errorf("rotten=%v: %q %q %q", rotten, r.Lost, r.Errors, r.Leaks)
		}
		for what, err := range map[string]error{
			"write":    func() error { _, err := w.WriteAt([]byte("x"), 0); return err }(),
			"zeros":    func() error { _, err := w.WriteAt(make([]byte, 8192), 0); return err }(),
			"truncate": w.Truncate(0), "allocate": w.Allocate(0, 1<<20, false), "punch": w.Punch(0, 1<<20),
			"create":   func() error { _, err := q.Create(Req{}, RootIno, "x", 0); return err }(),
			"unlink":   q.Unlink(Req{}, RootIno, "v"),
			"snapshot": q.Snapshot(Req{}, []Ino{v.ino}, "t"), "rollback": q.Rollback(Req{}, v.ino, "s", true),
			"destroy": q.DestroyVolume(Req{}, v.ino, DestroyOptions{Snapshots: true}),
			"xattr":   q.SetXattr(Req{}, v.ino, "user.a", nil, 0), "property": q.SetProps(Req{}, RootIno, Setting{Name: PropDestroyDelay, Value: "1h"}),
		} {
			wantErr(t, what, err, ErrReadOnly)
		}
		if h, err := q.Next(1 << 30); h.Token != 0 || h.Runs != nil || !errors.Is(err, ErrReadOnly) {
			t.Errorf("%+v to be erased, %v", h, err)
		}
		ok(t, q.Close())
		if !bytes.Equal(whole(d), was) {
			t.Errorf("rotten=%v: the device is changed", rotten)
		}
	}
}

// After its end a pool refuses everything that would change it, and every read of the device.
func TestClosedPool(t *testing.T) {
	d := newDisk(t, 4<<20)
	p := openPool(t, d)
	v, _, _ := patchwork(t, p)
	ok(t, p.OpenFile(v.ino, true))
	ok(t, p.Close())
	ok(t, p.Close())
	was := whole(d)
	calls := map[string]func() error{
		"read":              func() error { _, err := v.ReadAt(make([]byte, 10), 0); return err },
		"write":             func() error { _, err := v.WriteAt([]byte("x"), 0); return err },
		"zeros":             func() error { _, err := v.WriteAt(make([]byte, 8192), 0); return err },
		"truncate":          func() error { return v.Truncate(0) },
		"grow":              func() error { return v.Truncate(1 << 30) },
		"punch":             func() error { return v.Punch(0, 1<<20) },
		"allocate":          func() error { return v.Allocate(0, 1<<20, false) },
		"create":            func() error { _, err := p.Create(Req{}, RootIno, "x", 0); return err },
		"rename":            func() error { return p.Rename(Req{}, RootIno, "v", RootIno, "w", 0) },
		"unlink":            func() error { return p.Unlink(Req{}, RootIno, "v") },
		"setattr":           func() error { _, err := p.SetAttr(Req{}, v.ino, SetAttr{}); return err },
		"snapshot":          func() error { return p.Snapshot(Req{}, []Ino{v.ino}, "t") },
		"rollback":          func() error { return p.Rollback(Req{}, v.ino, "s", true) },
		"clone":             func() error { _, err := p.Clone(Req{}, v.ino, "s", RootIno, "c"); return err },
		"clone of the head": func() error { _, err := p.Clone(Req{}, v.ino, "", RootIno, "c"); return err },
		"destroy":           func() error { return p.DestroySnapshots(Req{}, v.ino, []string{"s"}, DestroyOptions{}) },
		"property":          func() error { return p.SetProps(Req{}, RootIno, Setting{Name: PropDestroyDelay, Value: "1h"}) },
		"report":            func() error { return report(p, 1, nil, nil) },
	}
	for what, call := range calls {
		wantErr(t, what, call(), ErrClosed)
	}
	p.Forget(v.ino)
	p.ReleaseFile(v.ino, true)
	if h, err := p.Next(1 << 30); h.Token != 0 || h.Runs != nil || !errors.Is(err, ErrClosed) {
		t.Errorf("%+v to be erased, %v", h, err)
	}
	if err := p.Failed(); err != nil || !bytes.Equal(whole(d), was) {
		t.Errorf("failed: %v; the device is changed: %v", err, !bytes.Equal(whole(d), was))
	}
	if err := p.Checkpoint(); err == nil || !bytes.Equal(whole(d), was) {
		t.Errorf("checkpoint: %v", err)
	}
}
