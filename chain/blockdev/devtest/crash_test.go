package devtest

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"slatefs/chain/blockdev"
)

func TestCrashOutcomes(t *testing.T) {
	d := New(1<<20, 512)
	write(t, d, 0, 4096, 1)
	must(t, d.Sync())
	write(t, d, 0, 4096, 2)
	if want := []blockdev.Extent{{Len: 4096}}; !slices.Equal(d.Unsynced(), want) {
		t.Fatalf("unsynced %v, want %v", d.Unsynced(), want)
	}
	var all, none, mixed int
	for seed := range uint64(100) {
		switch got := d.Clone().Crash(rand.New(rand.NewPCG(seed, 0))).Peek(0, 4096); bytes.Count(got, []byte{2}) {
		case 0:
			none++
		case 4096:
			all++
		default:
			mixed++
		}
	}
	if all == 0 || none == 0 || mixed == 0 {
		t.Fatalf("all survive %d times, none %d, some %d", all, none, mixed)
	}
	a, b := d.Clone(), d.Clone()
	seed := func() *rand.Rand { return rand.New(rand.NewPCG(7, 7)) }
	if !bytes.Equal(a.Crash(seed()).Peek(0, 4096), b.Crash(seed()).Peek(0, 4096)) {
		t.Fatal("one seed gave two outcomes")
	}
}

func TestCrashAt(t *testing.T) {
	ops := map[string]func(d *Disk) error{
		"write": func(d *Disk) error { return second(d.WriteAt(fill(2048, 2), 0)) },
		"dsync": func(d *Disk) error { return second(d.WriteAtDsync(fill(2048, 2), 0)) },
		"zero":  func(d *Disk) error { return d.Zero(0, 2048, blockdev.Zeroout) },
	}
	for name, op := range ops {
		t.Run(name, func(t *testing.T) {
			var torn, untouched, whole bool
			for seed := range uint64(200) {
				d := New(1<<20, 512)
				must(t, second(d.WriteAtDsync(fill(4096, 1), 0)))
				d.CrashAt(2)
				must(t, d.Sync())
				if err := op(d); !errors.Is(err, ErrCrashed) || !d.Crashed() {
					t.Fatalf("crashing op: %v", err)
				}
				if d.Ops() != 3 {
					t.Fatalf("ops %d, want 3", d.Ops())
				}
				for _, err := range []error{
					d.Sync(), d.Grow(2 << 20), d.Zero(0, 512, blockdev.Overwrite),
					second(d.ReadAt(make([]byte, 512), 0)), second(d.WriteAt(fill(512, 3), 0)),
				} {
					if !errors.Is(err, ErrCrashed) {
						t.Fatalf("after the crash: %v", err)
					}
				}
				got := d.Crash(rand.New(rand.NewPCG(seed, 0))).Peek(0, 4096)
				if !bytes.Equal(got[2048:], fill(2048, 1)) {
					t.Fatal("crash reached outside of the operation")
				}
				old := bytes.Count(got[:2048], []byte{1})
				torn = torn || old%512 != 0
				untouched = untouched || old == 2048
				whole = whole || old == 0
			}
			if !torn || !untouched || !whole {
				t.Fatalf("torn %v, untouched %v, whole %v: want all", torn, untouched, whole)
			}
		})
	}
}

func TestCrashInSyncAndGrow(t *testing.T) {
	d := New(8192, 4096)
	write(t, d, 0, 4096, 1)
	d.CrashAt(1)
	if err := d.Sync(); !errors.Is(err, ErrCrashed) || len(d.Unsynced()) != 1 {
		t.Fatalf("crashing sync: %v, unsynced %v", err, d.Unsynced())
	}

	sizes := map[int64]bool{}
	for seed := range uint64(50) {
		d := New(8192, 4096)
		d.CrashAt(1)
		if err := d.Grow(16384); !errors.Is(err, ErrCrashed) {
			t.Fatal(err)
		}
		sizes[d.Crash(rand.New(rand.NewPCG(seed, 0))).Size()] = true
	}
	if len(sizes) != 3 || !sizes[8192] || !sizes[12288] || !sizes[16384] {
		t.Fatalf("sizes after a crash in grow: %v", sizes)
	}
	d = New(8192, 4096)
	d.CrashAt(1)
	d.CrashAt(0)
	must(t, d.Grow(16384))
	must(t, d.Close())
	if d.Size() != 16384 || d.SectorSize() != 4096 {
		t.Fatalf("size %d, sector %d", d.Size(), d.SectorSize())
	}
	if err := d.Grow(8192); !errors.Is(err, blockdev.ErrTooSmall) {
		t.Fatalf("grow to less: %v", err)
	}
}

func TestFail(t *testing.T) {
	eio := errors.New("input/output error")
	d := New(1<<20, 512)
	var seen []string
	d.Fail(func(o Op) error {
		seen = append(seen, o.String())
		if o.Kind == OpSync || o.N == 2 && o.Kind != OpRead || o.Kind == OpRead && o.Off == 512 {
			return eio
		}
		return nil
	})
	write(t, d, 0, 512, 1)
	if err := second(d.WriteAt(fill(512, 2), 0)); !errors.Is(err, eio) {
		t.Fatalf("second write: %v", err)
	}
	must(t, second(d.ReadAt(make([]byte, 512), 0)))
	if err := second(d.ReadAt(make([]byte, 512), 512)); !errors.Is(err, eio) {
		t.Fatalf("read: %v", err)
	}
	must(t, d.Zero(1024, 512, blockdev.Release))
	must(t, d.Grow(2<<20))
	if err := d.Sync(); !errors.Is(err, eio) || !errors.Is(err, blockdev.ErrSyncFailed) {
		t.Fatalf("sync: %v", err)
	}
	d.Fail(nil)
	for _, err := range []error{d.Sync(), second(d.WriteAt(fill(512, 3), 0)), d.Zero(0, 512, blockdev.Overwrite)} {
		if !errors.Is(err, blockdev.ErrSyncFailed) || !errors.Is(err, eio) {
			t.Fatalf("after a failed sync: %v", err)
		}
	}
	must(t, second(d.ReadAt(make([]byte, 512), 0)))
	if got := d.Peek(0, 512); !bytes.Equal(got, fill(512, 1)) {
		t.Fatal("the failed sync dropped a write")
	}
	if len(d.Unsynced()) != 2 || d.Reads() != 3 {
		t.Fatalf("unsynced %v, reads %d", d.Unsynced(), d.Reads())
	}
	want := []string{
		"write: 512 bytes at 0x0", "write: 512 bytes at 0x0", "read: 512 bytes at 0x0", "read: 512 bytes at 0x200",
		"zero: 512 bytes at 0x400", "grow: to 2097152 bytes", "sync",
	}
	if !slices.Equal(seen, want) {
		t.Fatalf("hook saw %q", seen)
	}
	if s := OpWriteDsync.String() + OpSync.String() + OpGrow.String() + OpKind(0).String(); s != "write dsyncsyncgrowop(0)" {
		t.Fatal(s)
	}
}

func TestHold(t *testing.T) {
	d := New(1<<20, 512)
	came := make(chan Op, 1)
	release := d.Hold(func(o Op) bool {
		if o.Kind != OpWrite {
			return false
		}
		came <- o
		return true
	})
	result := make(chan error)
	go func() { result <- second(d.WriteAt(fill(512, 1), 0)) }()
	<-came
	must(t, d.Sync()) // others pass
	if d.Find([]byte{1}) != nil {
		t.Fatal("a held write took effect")
	}
	release()
	release()
	must(t, <-result)
	if got := d.Find([]byte{1}); len(got) != 512 {
		t.Fatalf("found %d", len(got))
	}

	release = d.Hold(func(o Op) bool { came <- o; return true })
	go func() { result <- second(d.WriteAt(fill(512, 2), 0)) }()
	<-came
	after := d.Crash(rand.New(rand.NewPCG(0, 0)))
	release()
	if err := <-result; !errors.Is(err, ErrCrashed) {
		t.Fatalf("held over a crash: %v", err)
	}
	if after.Find([]byte{2}) != nil || d.Find([]byte{2}) != nil {
		t.Fatal("a write held over a crash took effect")
	}
}

// Durable has all that was synced and nothing else, whatever becomes of the disk that it was made of.
func TestDurable(t *testing.T) {
	d := New(1<<20, 512)
	must(t, second(d.WriteAt(fill(2048, 1), 0)))
	must(t, d.Sync())
	must(t, second(d.WriteAt(fill(1024, 2), 512)))
	must(t, second(d.WriteAtDsync(fill(512, 3), 512)))
	must(t, second(d.WriteAt(fill(512, 4), 4096)))
	got := d.Durable()
	must(t, second(d.WriteAt(fill(2048, 5), 0)))
	must(t, d.Sync())
	want := append(append(fill(512, 1), fill(512, 3)...), fill(1024, 1)...)
	if b := got.Peek(0, 8192); !bytes.Equal(b[:2048], want) || !zeros(b[2048:]) || len(got.Unsynced()) != 0 {
		t.Errorf("% x…", b[:8])
	}
}
