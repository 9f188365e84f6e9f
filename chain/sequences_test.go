package chain

import (
	"errors"
	"fmt"
	"testing"

	"slatefs/chain/blockdev"
	"slatefs/chain/blockdev/devtest"
)

// All sequences of up to three control operations, with a crash at each of their syncs.
func TestSequences(t *testing.T) {
	ops := map[string]func(p *Pool, v *Volume, i int) error{
		"snapshot": func(p *Pool, v *Volume, i int) error {
			return p.Snapshot(Req{}, []Ino{v.ino}, fmt.Sprintf("s%d", i))
		},
		"rollback": func(p *Pool, v *Volume, _ int) error { return p.Rollback(Req{}, v.ino, "base", false) },
		"destroy":  func(p *Pool, v *Volume, _ int) error { return destroyNewest(p, v) },
		"clone": func(p *Pool, v *Volume, i int) error {
			_, err := p.Clone(Req{}, v.ino, "", RootIno, fmt.Sprintf("c%d", i))
			return err
		},
		"unlink":     func(p *Pool, _ *Volume, _ int) error { return unlinkNewest(p) },
		"checkpoint": func(p *Pool, _ *Volume, _ int) error { return p.Checkpoint() },
		"erase":      func(p *Pool, _ *Volume, _ int) error { _, err := eraseSome(p, 1<<30); return err },
		"detach":     func(_ *Pool, v *Volume, _ int) error { return v.detach(2, 6) },
	}
	var names []string
	for n := range ops {
		names = append(names, n)
	}
	base := newDisk(t, 2<<20)
	points := 0
	run := func(seq []string, crashAt int) (*devtest.Disk, error) {
		d := base.Clone()
		p := openPool(t, d)
		v := mustVolume(t, p, "v", 64<<10)
		write(t, v, fill('o', 32<<10), 0)
		mustSnapshot(t, v, "base")
		write(t, v, fill('n', 8<<10), 4096)
		if err := p.Flush(); err != nil {
			t.Fatal(err)
		}
		syncs := 0
		d.Fail(func(op devtest.Op) error {
			if op.Kind == devtest.OpSync {
				if syncs++; syncs == crashAt {
					return errPower
				}
			}
			return nil
		})
		for i, n := range seq {
			if err := ops[n](p, v, i); err != nil {
				return d, err
			}
		}
		d.Fail(nil)
		mustCheck(t, p)
		return d, nil
	}
	var visit func(seq []string)
	visit = func(seq []string) {
		if len(seq) > 0 {
			for at := 1; ; at++ {
				d, err := run(seq, at)
				if err == nil {
					break
				}
				if !errors.Is(err, errPower) && !errors.Is(err, blockdev.ErrSyncFailed) {
					t.Fatalf("%v: %v", seq, err)
				}
				points++
				p, _ := reopen(t, d, uint64(at))
				mustCheck(t, p)
				eraseAll(t, p)
				mustCheck(t, p)
			}
		}
		if len(seq) < 2 || len(seq) == 2 && !testing.Short() {
			for _, n := range names {
				visit(append(append([]string{}, seq...), n))
			}
		}
	}
	visit(nil)
	t.Logf("%d crash points", points)
}

func destroyNewest(p *Pool, v *Volume) error {
	infos, err := p.Snapshots(v.ino)
	if err != nil || len(infos) < 2 { // base stays
		return err
	}
	return p.DestroySnapshots(Req{}, v.ino, []string{infos[len(infos)-1].Name}, DestroyOptions{Defer: true})
}

func unlinkNewest(p *Pool) error {
	last := ""
	if err := p.ReadDir(RootIno, 0, func(e DirEntry) bool {
		if e.Name != "v" {
			last = max(last, e.Name)
		}
		return true
	}); err != nil || last == "" {
		return err
	}
	return p.Unlink(Req{}, RootIno, last)
}
