package salvage

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"slatefs/chain"
	"slatefs/chain/blockdev"
	"slatefs/chain/blockdev/devtest"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wreckage is a pool as a killed process leaves it, with volumes that have been overwritten after a snapshot, some since the last
// checkpoint, and what they have held in their order.
func wreckage(t testing.TB) (d *devtest.Disk, held map[string][][]byte) {
	t.Helper()
	d = devtest.New(24<<20, 512)
	must(t, chain.Create(d, chain.Format{Name: "lab", Zeroed: true, Now: time.Now}))
	p, err := chain.Open(d, chain.Options{Now: time.Now})
	must(t, err)
	dir, err := p.Mkdir(chain.Req{}, chain.RootIno, "d", 0o755)
	must(t, err)
	held = map[string][][]byte{}
	for i := range 4 {
		name := fmt.Sprintf("v%d", i)
		a, err := p.Create(chain.Req{}, dir.Ino, name, 0o644)
		must(t, err)
		v, err := p.Volume(a.Ino)
		must(t, err)
		must(t, v.Resize(1<<20, false))
		now := make([]byte, 1<<20)
		for round := range 3 {
			for at := i; at < 256; at += 5 + round { // with holes between
				b := bytes.Repeat([]byte{byte(1 + at + 7*round)}, chain.BlockSize)
				_, err := v.WriteAt(b, int64(at)*chain.BlockSize)
				must(t, err)
				copy(now[at*chain.BlockSize:], b)
			}
			held["d/"+name] = append(held["d/"+name], bytes.Clone(now))
			if round == 0 {
				must(t, p.Snapshot(chain.Req{}, []chain.Ino{a.Ino}, "s"))
				must(t, p.Checkpoint())
			}
		}
	}
	must(t, p.Flush())
	return d, held
}

// rescued copies out of what is left. Of each block a copy has what the volume held once, or zeros; with exact, and where nothing is told
// as lost, what it held last.
func rescued(t *testing.T, dev blockdev.Device, held map[string][][]byte) (files, whole int) {
	t.Helper()
	s, err := Open(dev)
	if err != nil {
		return 0, 0 // there is no superblock
	}
	root, err := os.MkdirTemp("/dev/shm", "salvage") // a copy is synced
	must(t, err)
	defer func() { must(t, os.RemoveAll(root)) }()
	to, err := OpenDir(filepath.Join(root, "to"))
	must(t, err)
	r, err := s.Copy(context.Background(), to, true, func(done, total int64) {
		if done > total {
			t.Errorf("%d of %d", done, total)
		}
	})
	must(t, err)
	must(t, to.Close())
	for i := range r.Files {
		f := &r.Files[i]
		got, err := os.ReadFile(filepath.Join(root, "to", f.Copy))
		must(t, err)
		want := held[f.Path]
		if f.Whole() && r.Exact && want != nil {
			last := want[len(want)-1]
			if f.Snapshot != "" {
				last = want[0]
			}
			if whole++; !bytes.Equal(got, last) {
				t.Errorf("%s is whole, and is not what it was last", f.Title())
			}
		}
		for at := 0; at+chain.BlockSize <= len(got) && want != nil; at += chain.BlockSize {
			b := got[at : at+chain.BlockSize]
			known := bytes.Count(b, []byte{0}) == len(b)
			for _, w := range want {
				known = known || at < len(w) && bytes.Equal(b, w[at:at+chain.BlockSize])
			}
			if !known && r.Exact {
				t.Fatalf("%s shows at %d what it never held", f.Title(), at)
			}
		}
	}
	if names, err := os.ReadDir(root); err != nil || len(names) != 1 {
		t.Fatalf("beside the directory: %v, %v", names, err)
	}
	return len(r.Files), whole
}

// A device that has become shorter, or of which a part cannot be read (a physical volume is missing): what lies elsewhere is copied.
func TestSalvageOfAPart(t *testing.T) {
	d, held := wreckage(t)
	if files, whole := rescued(t, d.Clone(), held); files != 8 || whole != 8 {
		t.Fatalf("of a pool that is whole %d of %d files are", whole, files)
	}
	for _, cut := range []int64{1, 2, 3, 5, 7} {
		x := d.Clone()
		x.Cut(d.Size() * cut / 8)
		files, whole := rescued(t, x, held)
		t.Logf("%d/8 of the device: %d of %d files are whole", cut, whole, files)
	}
	lost := errors.New("no such physical volume")
	for _, part := range []int64{0, 1, 2, 4, 7} {
		lo, hi := d.Size()*part/8, d.Size()*(part+1)/8
		x := d.Clone()
		x.Fail(func(o devtest.Op) error {
			if o.Kind == devtest.OpRead && o.Off < hi && lo < o.Off+o.Len {
				return lost
			}
			return nil
		})
		files, whole := rescued(t, x, held)
		t.Logf("without part %d of 8: %d of %d files are whole", part, whole, files)
		if part > 0 && files == 0 {
			t.Errorf("without part %d of 8 nothing is found", part)
		}
	}
}

// Whatever a device has, a copy ends, is in the directory, and shows nothing that the checksums do not vouch for. Pages are changed,
// with their checksums made right in the superblock where they are in it.
func TestSalvageOfHostileImages(t *testing.T) {
	base, held := wreckage(t)
	rounds := 40
	if testing.Short() {
		rounds = 10
	}
	for seed := range uint64(rounds) {
		rng := rand.New(rand.NewPCG(seed, 11))
		d := base.Clone()
		for range 1 + rng.IntN(6) { // of metadata, which lies at the front
			d.Flip(rng.Int64N(2<<20), uint(rng.IntN(8)))
		}
		rescued(t, d, held)
		forge(d, rng)
		rescued(t, d, nil)
	}
}

// forge writes at random into both superblocks and makes their checksums right: positions, sizes, roots.
func forge(d *devtest.Disk, rng *rand.Rand) {
	for slot := range int64(2) {
		b := blockdev.Aligned(chain.BlockSize)
		copy(b, d.Peek(slot*chain.BlockSize, chain.BlockSize))
		for range 1 + rng.IntN(4) {
			at := 72 + rng.IntN(240)
			switch rng.IntN(3) {
			case 0:
				b[at] ^= 1 << rng.IntN(8)
			case 1:
				binary.LittleEndian.PutUint64(b[at:], rng.Uint64()>>rng.IntN(64))
			default:
				binary.LittleEndian.PutUint64(b[at:], ^uint64(0))
			}
		}
		binary.LittleEndian.PutUint64(b[16:], 0)
		binary.LittleEndian.PutUint64(b[16:], xxhash.Sum64(b))
		if _, err := d.WriteAt(b, slot*chain.BlockSize); err != nil {
			panic(err)
		}
	}
}
