package chain

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"slatefs/chain/blockdev"
	"slatefs/chain/blockdev/devtest"
)

// The golden pool is 2 MiB that goldenStory left, as a killed process leaves them: what came before the checkpoint is in
// pages, what came after it in the journal. Every later program of this version must open it.
const (
	goldenPool = "testdata/pool-v1.img.gz"
	goldenSize = 2 << 20
)

// storyTime is the n-th look at a test's clock.
func storyTime(n int) time.Time { return newClock().t.Add(time.Duration(n) * time.Millisecond) }

// goldenStory makes the pool. It is never edited: a new version has its own.
func goldenStory(t testing.TB) *devtest.Disk {
	t.Helper()
	d := devtest.New(goldenSize, 512)
	f := Format{
		Name: "golden", UUID: [16]byte{9, 8, 7}, Zeroed: true,
		GroupBlocks: 128, ExtentBlocks: 16, RingBytes: 64 << 10, WindowBlocks: 32, Now: newClock().now,
	}
	if err := Create(d, f); err != nil {
		t.Fatal(err)
	}
	p, err := Open(d, Options{Now: newClock().now})
	if err != nil {
		t.Fatal(err)
	}
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	dir, err := p.Mkdir(Req{UID: 7, GID: 8}, RootIno, "dir", 0o750)
	ok(err)
	_, err = p.Symlink(Req{}, dir.Ino, "link", "../disk.raw")
	ok(err)
	v := mustVolume(t, p, "disk.raw", 128<<10)
	ok(p.SetXattr(Req{}, v.ino, "user.note", bytes.Repeat([]byte("long "), 300), 0))
	write(t, v, fill('a', 32<<10), 0)
	write(t, v, fill('b', 700), 50_000)
	takeSnapshot(t, p, "first", v)
	write(t, v, fill('c', 8192), 4096)
	_, err = p.Clone(Req{UID: 7}, v.ino, "first", dir.Ino, "clone.raw")
	ok(err)
	ok(v.Punch(16<<10, 8<<10))
	gone := mustVolume(t, p, "gone", 64<<10)
	write(t, gone, fill('x', 16<<10), 0)
	ok(p.DestroyVolume(Req{Actor: "golden"}, gone.ino, DestroyOptions{}))
	ok(p.Checkpoint())

	takeSnapshot(t, p, "second", v)
	write(t, v, fill('d', 4096), 0)
	write(t, existing(t, p, "dir/clone.raw"), fill('e', 4096), 8192)
	ok(p.RenameSnapshot(Req{}, v.ino, "first", "1st"))
	ok(v.Truncate(100_000))
	w := mustVolume(t, p, "late", 16<<10)
	ok(w.Allocate(0, 16<<10, false))
	ok(p.Rename(Req{}, RootIno, "late", dir.Ino, "later", 0))
	ok(p.Flush())
	return d
}

// goldenContent is what every file of the golden pool shows.
func goldenContent() map[string][]byte {
	disk := make([]byte, 128<<10)
	put := func(b []byte, off int, src []byte) []byte {
		b = bytes.Clone(b)
		copy(b[off:], src)
		return b
	}
	first := put(put(disk, 0, fill('a', 32<<10)), 50_000, fill('b', 700))
	second := put(put(first, 4096, fill('c', 8192)), 16<<10, fill(0, 8<<10))
	return map[string][]byte{
		"disk.raw@1st":    first,
		"disk.raw@second": second,
		"disk.raw":        put(second, 0, fill('d', 4096))[:100_000],
		"dir/clone.raw":   put(first, 8192, fill('e', 4096)),
		"dir/later":       make([]byte, 16<<10),
	}
}

func readGolden(t testing.TB) *devtest.Disk {
	t.Helper()
	f, err := os.Open(goldenPool)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b := blockdev.Aligned(goldenSize)
	if _, err := io.ReadFull(z, b); err != nil {
		t.Fatal(err)
	}
	d := devtest.New(goldenSize, 512)
	if _, err := d.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return d
}

func writeGolden(t testing.TB, d *devtest.Disk) {
	t.Helper()
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err == nil {
		_, err = z.Write(d.Peek(0, goldenSize))
	}
	if err == nil {
		err = z.Close()
	}
	if err == nil {
		err = os.WriteFile(goldenPool, b.Bytes(), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestGoldenPool(t *testing.T) {
	fresh := goldenStory(t)
	if *update {
		writeGolden(t, fresh)
	}
	for name, d := range map[string]*devtest.Disk{"the file": readGolden(t), "made now": fresh} {
		t.Run(name, func(t *testing.T) {
			p, err := Open(d, readOnly())
			if err != nil {
				t.Fatal(err)
			}
			holdsGolden(t, p)
			if r, err := p.Check(context.Background()); err != nil || len(r.Errors)+len(r.Leaks) > 0 {
				t.Errorf("check: %+v, %v", r, err)
			}
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
			for range 2 { // with the recovery, and after it
				p = openPool(t, d)
				holdsGolden(t, p)
				mustCheck(t, p)
				if err := p.Close(); err != nil {
					t.Fatal(err)
				}
			}
			p = openPool(t, d)
			eraseAll(t, p)
			holdsGolden(t, p)
			if at := d.Find(fill('x', 512)); len(at) > 0 {
				t.Errorf("bytes of the destroyed volume are at %v", at)
			}
		})
	}
}

// holdsGolden compares content and attributes.
func holdsGolden(t *testing.T, p *Pool) {
	t.Helper()
	for path, want := range goldenContent() {
		name, snap, at := strings.Cut(path, "@")
		v := existing(t, p, name)
		var r readerAt = v
		size := v.Size()
		if at {
			_, id, err := p.SnapLookup(RootIno, name+"@"+snap)
			if err != nil {
				t.Fatal(err)
			}
			s, err := p.Snap(id)
			if err != nil {
				t.Fatal(err)
			}
			r, size = s, s.Size()
		}
		if size != int64(len(want)) {
			t.Errorf("%s: %d bytes, want %d", path, size, len(want))
			continue
		}
		expect(t, r, 0, want)
	}
	dir, err := p.Resolve("dir")
	if err != nil || dir.UID != 7 || dir.GID != 8 || dir.Mode != 0o750 || dir.Type != TypeDir || dir.Size != 3 || !dir.Btime.Equal(storyTime(2)) {
		t.Errorf("dir: %+v, %v", dir, err)
	}
	link, err := p.Resolve("dir/link")
	if err != nil || link.Ino != 3 {
		t.Errorf("link: %+v, %v", link, err)
	}
	if to, err := p.Readlink(link.Ino); to != "../disk.raw" || err != nil {
		t.Errorf("link to %q, %v", to, err)
	}
	disk, err := p.Resolve("disk.raw")
	if err != nil || disk.Ino != 4 || disk.Mode != 0o600 {
		t.Errorf("disk.raw: %+v, %v", disk, err)
	}
	if x, err := p.GetXattr(disk.Ino, "user.note"); !bytes.Equal(x, bytes.Repeat([]byte("long "), 300)) || err != nil {
		t.Errorf("attribute of %d bytes, %v", len(x), err)
	}
	ls, err := p.Tree(disk.Ino)
	if err != nil || len(ls) != 4 || ls[0].Name != "1st" || ls[0].ID != 1 || len(ls[0].Children) != 2 {
		t.Errorf("layers: %+v, %v", ls, err)
	}
	if u := p.Usage(); u.Volumes != 3 || u.Snapshots != 2 || u.Total != goldenSize {
		t.Errorf("usage: %+v", u)
	}
	if p.Name() != "golden" || p.UUID() != [16]byte{9, 8, 7} {
		t.Errorf("pool %s, %x", p.Name(), p.UUID())
	}
}
