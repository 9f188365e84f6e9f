package chain

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/uuid"

	"slatefs/chain/blockdev/devtest"
	"slatefs/chain/super"
)

// A pool that was left by a crash gets another name and UUID; cut off at each operation of the device it has the old ones or
// the new ones, and all that it held.
func TestRelabel(t *testing.T) {
	d, c := newDisk(t, 4<<20), newClock()
	p, err := Open(d, Options{Now: c.now, CacheBytes: 1 << 20})
	ok(t, err)
	v := mustVolume(t, p, "v", 1<<20)
	write(t, v, fill('a', 64<<10), 0)
	ok(t, p.Flush()) // in the journal only
	old, err := Identify(d)
	ok(t, err)
	left := d.Clone().Crash(rand.New(rand.NewPCG(1, 2)))
	label := [16]byte{7, 7, 7}

	is := func(d *devtest.Disk) (relabelled bool) {
		t.Helper()
		i, err := Identify(d)
		ok(t, err)
		if relabelled = i.UUID == label; relabelled != (i.Name == "other") || !relabelled && (i.UUID != old.UUID || i.Name != old.Name) {
			t.Fatalf("it is %+v", i)
		}
		p, err := openAs(d, testHost(1, c), c, false)
		ok(t, err)
		mustCheck(t, p)
		v, err := p.Volume(v.ino)
		ok(t, err)
		expect(t, v, 0, fill('a', 64<<10))
		write(t, v, fill('b', 64<<10), 64<<10) // after which no other host's pool is found in the superblocks
		ok(t, p.Flush())
		ok(t, p.Close())
		return relabelled
	}
	olds, news := 0, 0
	for k := 1; ; k++ {
		d := left.Clone()
		d.CrashAt(k)
		err := Relabel(d, Options{Now: c.now, CacheBytes: 1 << 20, Host: testHost(1, c)}, "other", label)
		if !d.Crashed() {
			d.CrashAt(0)
			ok(t, err)
			if !is(d) {
				t.Error("nothing was changed")
			}
			if ids := super.Remains(d); !slices.Equal(ids, []uuid.UUID{label, label}) {
				t.Errorf("the slots have %v", ids)
			}
			break
		}
		for seed := range uint64(2) {
			if is(d.Clone().Crash(rand.New(rand.NewPCG(seed, 3)))) {
				news++
			} else {
				olds++
			}
		}
	}
	if olds < 10 || news < 2 {
		t.Errorf("cut off %d times before and %d times after: the test has lost its point", olds, news)
	}
}

func TestRelabelRefused(t *testing.T) {
	d, c := newDisk(t, 4<<20), newClock()
	old, err := Identify(d)
	ok(t, err)
	wantErr(t, "a name", Relabel(d, Options{Now: c.now}, "a\nb", [16]byte{}), ErrInvalid)
	p, err := openAs(d, testHost(1, c), c, false)
	ok(t, err)
	wantErr(t, "of another host", Relabel(d.Clone(), Options{Now: c.now, Host: testHost(2, c)}, "x", [16]byte{}), ErrHeld)
	ok(t, p.Close())
	ok(t, Relabel(d, Options{Now: c.now}, "", [16]byte{1}))
	if i, err := Identify(d); err != nil || i.Name != old.Name || i.UUID != [16]byte{1} {
		t.Errorf("%+v, %v", i, err)
	}
	// Of a damaged superblock the UUID is told, and that is all.
	for slot := range int64(super.Slots) {
		d.Flip(slot*BlockSize+300, 1)
	}
	if _, err := Identify(d); !errors.Is(err, ErrCorrupt) {
		t.Errorf("%v", err)
	}
	if ids := super.Remains(d); !slices.Equal(ids, []uuid.UUID{{1}, {1}}) {
		t.Errorf("remains of %x", ids)
	}
	if ids := super.Remains(devtest.New(1<<20, 512)); ids != nil {
		t.Errorf("an empty disk has remains of %x", ids)
	}
}

// The UUIDs of volumes and layers stand in erase logs and certificates: they are these for ever.
func TestDerivedUUIDs(t *testing.T) {
	p := &Pool{core: &core{uuid: uuid.UUID{9, 8, 7}}}
	for _, c := range []struct{ got, want string }{
		{p.VolumeUUID(2).String(), "aff2e30b-acb7-8d96-9e8a-b937cccc23bb"},
		{p.LayerUUID(2).String(), "9b738c75-c01f-87f0-b3cf-b885dc72dc91"},
		{p.LayerUUID(1 << 40).String(), "29e8d88d-af95-8fc5-9aca-2c387add1bc7"},
	} {
		if c.got != c.want {
			t.Errorf("%s, want %s", c.got, c.want)
		}
	}
}
