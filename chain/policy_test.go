package chain

import (
	"fmt"
	"slices"
	"testing"
)

func setProp(t testing.TB, p *Pool, ino Ino, name, val string) {
	t.Helper()
	ok(t, p.SetProps(Req{}, ino, Setting{Name: name, Value: val}))
}

func jobOf(t testing.TB, p *Pool, volume string) JobInfo {
	t.Helper()
	for _, j := range p.EraseJobs() {
		if j.Volume == volume {
			return j
		}
	}
	t.Fatalf("no job of %s: %+v", volume, p.EraseJobs())
	return JobInfo{}
}

// What a volume frees under erase=none the background passes by. The policy comes from the volume, the nearest directory
// or the pool, and a job keeps the one it was made with.
func TestPolicy(t *testing.T) {
	d := newDisk(t, 8<<20)
	p := openPool(t, d)
	plant(t, p, "d/", "d/e/", "d/none", "d/e/zero", "d/e/deep", "top")
	dir, err := p.Resolve("d")
	ok(t, err)
	setProp(t, p, dir.Ino, PropErase, EraseNone)
	zero := existing(t, p, "d/e/zero")
	setProp(t, p, zero.ino, PropErase, EraseZero)
	for _, path := range []string{"d/none", "d/e/zero", "d/e/deep", "top"} {
		v := existing(t, p, path)
		write(t, v, fill('n', 64<<10), 0)
		write(t, v, fill('o', 64<<10), 64<<10)
		ok(t, v.Punch(0, 64<<10))
	}
	setProp(t, p, dir.Ino, PropErase, EraseZero) // too late for the jobs that are there
	for _, path := range []string{"d/none", "d/e/deep"} {
		a, err := p.Resolve(path)
		ok(t, err)
		ok(t, p.Unlink(Req{}, a.Parent, a.Name))
	}
	ok(t, p.EraseDrain(t.Context()))
	_, err = eraseSome(p, 1<<62)
	ok(t, err)
	p = again(t, p, true)
	_, err = eraseSome(p, 1<<62)
	ok(t, err)
	left := map[string]int64{}
	for _, j := range p.EraseJobs() {
		if j.Dirty > 0 {
			left[fmt.Sprint(j.Volume, " ", j.Reason, " ", j.None)] = j.Dirty
		}
	}
	if len(left) != 2 || left["d/none "+reasonOverwritten+" true"] != 64<<10 || left["d/e/deep "+reasonOverwritten+" true"] != 64<<10 {
		t.Errorf("left: %v", left)
	}
	if u := p.Usage(); u.Unscheduled != 128<<10 || u.Dirty != u.Unscheduled {
		t.Errorf("usage: %+v", u)
	}
	if n := len(d.Find(fill('n', 512))); n == 0 {
		t.Error("erase=none left nothing on the device") // it is just not scheduled
	}
}

// Every reuse is of zeroed blocks all the same: a volume that fills the pool gets the blocks of erase=none, and zeros.
func TestPolicyReuse(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	setProp(t, p, RootIno, PropErase, EraseNone)
	v := mustVolume(t, p, "a", 2<<20)
	write(t, v, fill('s', 2<<20), 0)
	ok(t, p.Unlink(Req{}, RootIno, "a"))
	ok(t, p.EraseDrain(t.Context()))
	if id, runs := lend(t, p, 1<<20); len(runs) > 0 {
		t.Fatalf("job %d is handed out: %v", id, runs)
	}
	w := mustVolume(t, p, "b", 4<<20)
	ok(t, w.Allocate(0, 2<<20, false))
	for off := int64(0); off < 2<<20; off += 4 << 10 {
		write(t, w, fill('x', 512), off) // the rest of each block is what the block held
	}
	got, err := readBytes(w, 2<<20)
	ok(t, err)
	if i := slices.Index(got, 's'); i >= 0 {
		t.Fatalf("byte %d is of the volume that was destroyed", i)
	}
	recs, err := p.EraseLog()
	ok(t, err)
	for _, r := range recs {
		if !r.None {
			t.Errorf("a record without the policy: %+v", r)
		}
	}
	if j := jobOf(t, p, "a"); !j.None || j.Erased == 0 {
		t.Errorf("%+v", j)
	}
}

func readBytes(r readerAt, n int64) ([]byte, error) {
	b := make([]byte, n)
	_, err := r.ReadAt(b, 0)
	return b, err
}

// What is put first goes first, after a crash too; else the oldest does. Inside a step it goes by the device.
func TestFirst(t *testing.T) {
	p := openPool(t, newDisk(t, 8<<20))
	for i := range 4 {
		name := fmt.Sprint("v", i)
		v := mustVolume(t, p, name, 1<<20)
		for at := range int64(4) {
			write(t, v, fill(byte('a'+i), 16<<10), (3-at)*64<<10)
			takeSnapshot(t, p, fmt.Sprint("s", at), v)
		}
		ok(t, p.Unlink(Req{}, RootIno, name))
	}
	ok(t, p.EraseDrain(t.Context()))
	order := func() (out []string) {
		for _, j := range p.EraseJobs() {
			if !slices.Contains(out, j.Volume) && j.Dirty > 0 && j.Volume != "" {
				out = append(out, j.Volume)
			}
		}
		return out
	}
	if got := order(); !slices.Equal(got, []string{"v0", "v1", "v2", "v3"}) {
		t.Errorf("order %v", got)
	}
	for _, name := range []string{"v2", "v3"} {
		ok(t, p.EraseFirst(Req{}, jobOf(t, p, name).ID))
	}
	wantErr(t, "first of nothing", p.EraseFirst(Req{}, 999), ErrNotFound)
	for i := range 2 {
		p = again(t, p, i == 0)
		ok(t, p.EraseDrain(t.Context()))
		if got := order(); !slices.Equal(got, []string{"v3", "v2", "v0", "v1"}) {
			t.Errorf("order %v", got)
		}
	}
	id, runs := lend(t, p, 1<<20)
	if jobOfToken(p, id) != jobOf(t, p, "v3").ID || len(runs) == 0 {
		t.Errorf("job %d goes first: %v", jobOfToken(p, id), runs)
	}
	for i := range runs[1:] {
		if runs[i].End() > runs[i+1].Off {
			t.Errorf("run at %d after %d", runs[i+1].Off, runs[i].Off)
		}
	}
	for _, r := range runs {
		ok(t, p.dev.Zero(r.Off, r.Len, 1))
	}
	ok(t, p.dev.Sync())
	ok(t, report(p, id, runs, nil))
}

// What a volume overwrites follows its policy, though the job that collects it never ends.
func TestPolicyChanges(t *testing.T) {
	p := openPool(t, newDisk(t, 8<<20))
	plant(t, p, "d/", "e/", "d/vm")
	v := existing(t, p, "d/vm")
	e, err := p.Resolve("e")
	ok(t, err)
	setProp(t, p, e.Ino, PropErase, EraseNone)
	free := func(n int64) {
		write(t, v, fill('a', int(n)*BlockSize), 0)
		ok(t, v.Punch(0, n*BlockSize))
	}
	want := func(zero, none int64) {
		t.Helper()
		var got [2]int64
		for _, j := range p.EraseJobs() {
			got[map[bool]int{true: 1}[j.None]] += j.Dirty / BlockSize
		}
		if got != [2]int64{zero, none} {
			t.Errorf("to erase: %d blocks, not scheduled: %d, want %d and %d", got[0], got[1], zero, none)
		}
	}
	free(2)
	want(2, 0)
	setProp(t, p, v.ino, PropErase, EraseNone)
	free(3)
	want(2, 3)
	setProp(t, p, v.ino, PropErase, EraseZero)
	free(4)
	want(6, 3)
	ok(t, p.SetProps(Req{}, v.ino, Setting{Name: PropErase, Inherit: true}))
	free(5)
	want(11, 3)
	ok(t, p.Rename(Req{}, Ino(v.account.Up().ID()), "vm", e.Ino, "vm", 0)) // what it inherits now
	free(6)
	want(11, 9)
	p = again(t, p, false)
	v = existing(t, p, "e/vm")
	free(7)
	want(11, 16)
	_, err = eraseSome(p, 1<<62)
	ok(t, err)
	want(0, 16)
}
