package fs

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slatefs/chain"
	"slatefs/chain/blockdev/devtest"
)

// TestMeterCounts asks for known things, on each transport, and finds them counted once each: by kind, and by volume.
func TestMeterCounts(t *testing.T) {
	onTransports(t, func(t *testing.T, v variant) {
		s, p, _ := mountPool(t, v)
		path := filepath.Join(s.Dir(), "v")
		fd := openAt(t, path, unix.O_CREAT|unix.O_RDWR|unix.O_DIRECT)
		must(t, unix.Ftruncate(fd, 1<<20))
		a, err := p.Resolve("v")
		must(t, err)
		before := s.FS().Answered()
		buf := pattern(64<<10, 3)
		for i := range 5 {
			_, err = unix.Pwrite(fd, buf[:8192], int64(i)*8192)
			must(t, err)
		}
		for i := range 7 {
			_, err = unix.Pread(fd, buf[:4096], int64(i)*4096)
			must(t, err)
		}
		_, err = unix.Pread(fd, buf[:8192], 1<<20-4096) // short, at the end
		must(t, err)
		must(t, unix.Fsync(fd))
		must(t, unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 4096))
		want := map[Kind][2]int64{KindRead: {8, 8 * 4096}, KindWrite: {5, 5 * 8192}, KindFlush: {1, 0}, KindFallocate: {1, 0}}
		var got map[Kind][2]int64
		for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) { // a request is counted after it was answered
			now := s.FS().Answered()
			got = map[Kind][2]int64{}
			for k := range want {
				got[k] = [2]int64{now[k].Count() - before[k].Count(), now[k].Bytes - before[k].Bytes}
				if now[k].Time <= 0 && got[k][0] > 0 || now[k].Failed != 0 {
					t.Fatalf("%v: %v, %d failed", k, now[k].Time, now[k].Failed)
				}
			}
			if fmt.Sprint(got) == fmt.Sprint(want) {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("counted %v, want %v", got, want)
			}
		}
		u := s.FS().VolumeUse(a.Ino)
		if u.Read.Count != 8 || u.Read.Bytes != 8*4096 || u.Write.Count != 5 || u.Write.Bytes != 5*8192 || u.Flush.Count != 1 ||
			u.Read.Time <= 0 || u.Write.Time <= 0 || u.Flush.Time <= 0 {
			t.Errorf("of the volume: %+v", u)
		}
		if u := s.FS().VolumeUse(a.Ino + 1000); u != (VolumeUse{}) {
			t.Errorf("of a volume that is not there: %+v", u)
		}
		if all := s.FS().Answered(); all[KindOpen].Count() == 0 || all[KindLookup].Count() == 0 || all[KindAttr].Count() == 0 {
			t.Errorf("neither opens nor lookups nor attributes: %+v", all)
		}
	})
}

// TestMeterCountsFailures has a device that fails: what was answered with EIO is counted, by kind, and what it failed of is not bytes.
func TestMeterCountsFailures(t *testing.T) {
	onTransports(t, func(t *testing.T, v variant) {
		if v.file {
			return // a file does not fail, and the loop without a ring counts as the one with it does
		}
		s, _, d := mountPool(t, v)
		fd := openAt(t, filepath.Join(s.Dir(), "v"), unix.O_CREAT|unix.O_RDWR|unix.O_DIRECT)
		buf := pattern(4096, 3)
		_, err := unix.Pwrite(fd, buf, 0)
		must(t, err)
		d.Fail(func(o devtest.Op) error {
			if o.Kind == devtest.OpRead && o.Len == 4096 {
				return unix.EIO
			}
			return nil
		})
		_, err = unix.Pread(fd, buf, 0)
		wantErr(t, "read", err, unix.EIO)
		d.Fail(nil)
		for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
			a := s.FS().Answered()
			if r := a[KindRead]; r.Count() == 1 && r.Failed == 1 && r.Bytes == 0 && a[KindWrite].Failed == 0 {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("counted %+v", a)
			}
		}
	})
}

// TestMeterSlots: what a slot counts is below its bound, and not below half of it.
func TestMeterSlots(t *testing.T) {
	for _, d := range []time.Duration{0, 1, LatencyUnit - 1, LatencyUnit, 2*LatencyUnit - 1, 100 * time.Microsecond, time.Second, time.Hour} {
		var m meter
		m.took(KindRead, int64(d), 1, false)
		var all [Kinds]Answered
		m.add(&all)
		for i, n := range all[KindRead].Slots {
			if n == 0 {
				continue
			}
			if bound := LatencyUnit << i; i < LatencySlots-1 && d >= bound || i > 0 && d < bound/2 {
				t.Errorf("%v is in the slot below %v", d, bound)
			}
		}
		if all[KindRead].Count() != 1 || all[KindRead].Time != d {
			t.Errorf("%v: %+v", d, all[KindRead])
		}
	}
}

// TestMetersForgetVolumes: what is counted does not grow with the volumes that there were, and what is there is not forgotten.
func TestMetersForgetVolumes(t *testing.T) {
	p, _ := newPool(t, classicInMemory)
	f := New(p, nil)
	a, err := p.Create(chain.Req{}, chain.RootIno, "stays", 0o644)
	must(t, err)
	f.countFor(a.Ino).took(KindWrite, 5, 4096)
	for i := range 5 * leastVolumes {
		f.countFor(chain.Ino(1<<20 + i)) // of one that was destroyed since
		if len(f.meters.vols) > leastVolumes+1 {
			t.Fatalf("%d volumes are counted, one is there", len(f.meters.vols))
		}
	}
	if u := f.VolumeUse(a.Ino); u.Write != (Use{1, 4096, 5}) {
		t.Errorf("of what stays: %+v", u)
	}
	if _, err := p.GetAttr(1 << 20); !errors.Is(err, chain.ErrNotFound) {
		t.Errorf("a volume that is not there: %v", err)
	}
}

// TestMeterAllocatesNothing: nobody who counts makes garbage.
func TestMeterAllocatesNothing(t *testing.T) {
	var m meter
	var v volumeMeter
	if n := testing.AllocsPerRun(100, func() {
		m.took(kindOf(codeRead), moment(), 4096, false)
		v.took(KindRead, 1, 4096)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkMeter is what a READ on the loop pays for being counted: its share of a turn's clock, a clock, six additions.
func BenchmarkMeter(b *testing.B) {
	var m meter
	var v volumeMeter
	b.Run("part=clock", func(b *testing.B) {
		for b.Loop() {
			moment()
		}
	})
	b.Run("part=count", func(b *testing.B) {
		for b.Loop() {
			m.took(kindOf(codeRead), 100_000, 4096, false)
			v.took(KindRead, 100_000, 4096)
		}
	})
}
