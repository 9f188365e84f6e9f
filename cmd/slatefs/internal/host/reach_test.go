package host

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"slatefs/chain/blockdev"
	"slatefs/chain/meta"
	"slatefs/chain/super"
)

// writeSuper makes a file that says that it is a pool.
func writeSuper(t *testing.T, path string, id uuid.UUID, name string) {
	t.Helper()
	tree := meta.Tree{Root: meta.Ptr{Addr: 100, Twin: 200, Sum: 1}, Height: 2, Entries: 300}
	s := super.Block{
		Generation: 7, UUID: id, Name: name, Made: time.Unix(1_700_000_000, 0), StoreRoot: meta.Ptr{Addr: 21, Twin: 22, Sum: 23},
		Geometry: super.Geometry{
			Blocks: 2048, GroupBlocks: 256, ExtentBlocks: 16, RingOff: super.Bytes, Ring: 65536, Unit: 512,
			Window: 64,
		},
		GroupTable: tree, Catalog: tree, LastLayer: 10, LastJob: 9, LastIno: 12,
	}
	b, err := s.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(b, make([]byte, 1<<20)...), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := Peek(path); err != nil || got.UUID != id || got.Name != name {
		t.Fatalf("%+v, %v", got, err)
	}
}

// scratch is a host that keeps what it tells, and a place for pools.
func scratch(t *testing.T) (h Host, told *strings.Builder, dir string) {
	t.Helper()
	h, told, dir = hostIn(t), new(strings.Builder), t.TempDir()
	h.OnWarning = func(format string, args ...any) { fmt.Fprintf(told, format+"\n", args...) }
	return h, told, dir
}

// Nothing is opened for a command but the pool that it means.
func TestReach(t *testing.T) {
	h, _, dir := scratch(t)
	a, damaged, empty := filepath.Join(dir, "a"), filepath.Join(dir, "damaged"), filepath.Join(dir, "empty")
	writeSuper(t, a, uuid.UUID{1}, "a")
	writeSuper(t, damaged, uuid.UUID{2}, "b")
	f, err := os.OpenFile(damaged, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteAt([]byte{0xff}, 300)
	}
	if err != nil || f.Close() != nil || os.WriteFile(empty, make([]byte, 1<<20), 0o644) != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		device string
		id     byte
		words  string // empty: it is opened
	}{
		{a, 1, ""},
		{a, 0, ""}, // whatever lies there
		{empty, 0, ""},
		{damaged, 2, ""}, // as far as can be told
		{a, 2, "and pool a (01000000-0000-0000-0000-000000000000) lies there: nothing was done"},
		{empty, 1, "and no pool lies there: nothing was done"},
		{damaged, 1, "whether it lies there cannot be told"},
		{filepath.Join(dir, "none"), 1, "no such file"},
	} {
		ref := PoolRef{Device: c.device, Name: "x"}
		ref.UUID[0] = c.id
		dev, release, err := h.Reach(t.Context(), ref, blockdev.Options{}, false)
		if c.words != "" {
			refused(t, c.device, err, c.words)
			continue
		}
		if err != nil {
			t.Fatalf("%s as %d: %v", c.device, c.id, err)
		}
		name, id, err := Identify(dev)
		if c.device == a && (err != nil || name != "a" || id != uuid.UUID{1}) || c.device != a && err == nil {
			t.Errorf("%s is %s %v, %v", c.device, name, id, err)
		}
		if err := release(); err != nil {
			t.Error(err)
		}
	}
}

// A look at what lies somewhere opens no FIFO and no character device, and finds no pool in them.
func TestPeek(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{fifo, "/dev/zero", filepath.Dir(fifo)} {
		if _, err := Peek(path); err == nil || !strings.Contains(err.Error(), super.ErrNotPool.Error()) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// What is known of a pool follows it, a copy takes nothing from it, and one that surely has gone keeps nothing.
func TestCopiesAndMoves(t *testing.T) {
	h, told, dir := scratch(t)
	at := func(name string) string { return filepath.Join(dir, name) }
	id, other := uuid.UUID{1}, uuid.UUID{2}
	writeSuper(t, at("pool"), id, "lab")
	k := Known{UUID: id, Name: "lab", Device: at("pool")}
	if err := h.Remember(k); err != nil {
		t.Fatal(err)
	}
	writeSuper(t, at("copy"), id, "lab")
	if !h.StillThere(t.Context(), k) {
		t.Error("it is not there")
	}
	refused(t, "a copy", h.CopyOf(t.Context(), id, at("copy")), "pool lab (01000000-", "one of them is a copy",
		"slatefs pool reguid "+at("copy"))
	if err := os.Link(at("pool"), at("same")); err != nil {
		t.Fatal(err)
	}
	for _, device := range []string{at("pool"), at("same")} {
		if err := h.CopyOf(t.Context(), id, device); err != nil {
			t.Errorf("%s: %v", device, err)
		}
	}
	h.Gone(id, at("copy"))
	if _, err := h.KnownAs(id); err != nil {
		t.Errorf("the end of a copy is the pool's: %v", err)
	}
	writeSuper(t, at("pool"), other, "new") // over it
	if h.StillThere(t.Context(), k) || h.CopyOf(t.Context(), id, at("copy")) != nil {
		t.Error("a pool that was written over is there")
	}
	if err := h.Remember(Known{UUID: other, Name: "new", Device: at("pool")}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.KnownAs(id); err == nil || !strings.Contains(told.String(), "is forgotten: pool new lies there") {
		t.Errorf("what was known to lie there: %v, told %q", err, told)
	}
	h.Gone(other, at("same"))
	if list := h.KnownPools(); len(list) != 0 {
		t.Errorf("known: %+v", list)
	}
}

// What another host holds is not taken by the way.
func TestHeldElsewhere(t *testing.T) {
	h, _, _ := scratch(t)
	me, err := h.AsHolder(time.Unix(5, 0))
	if err != nil {
		t.Fatal(err)
	}
	for _, by := range []super.Host{{}, *me} {
		if err := h.HeldElsewhere("lab", by); err != nil {
			t.Errorf("held by %v: %v", by, err)
		}
	}
	me.Machine[0]++
	refused(t, "another", h.HeldElsewhere("lab", *me), "pool lab is held by host", "slatefs mount --take-over lab DIR")
}

// A file that others could take for another's is a copy only where both surely are files.
func TestIsCopy(t *testing.T) {
	_, _, dir := scratch(t)
	path := filepath.Join(dir, "a")
	writeSuper(t, path, uuid.UUID{1}, "a")
	dev, err := blockdev.Open(path, blockdev.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	for identity, want := range map[string]bool{dev.Identity(): false, "ino-1:2": true, "dev-7:0": false, "": false} {
		if got := (Live{Identity: identity}).IsCopy(dev); got != want {
			t.Errorf("beside %q: %v", identity, got)
		}
	}
}
