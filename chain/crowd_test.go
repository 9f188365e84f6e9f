package chain

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"slatefs/chain/blockdev/devtest"
)

// crowder is one of many that do anything at once, each in a directory of its own.
type crowder struct {
	p       *Pool
	rng     *rand.Rand
	dir     Ino
	frees   bool // what is being done only takes away: a full pool is no reason to refuse it
	refused int  // for want of space
}

func (c *crowder) name() string { return fmt.Sprint("f", c.rng.IntN(6)) }

// step does something. What a full pool and a name that is there or not may refuse is no error.
func (c *crowder) step() error {
	c.frees = false
	err := c.act()
	if errors.Is(err, ErrNoSpace) {
		if c.refused++; c.frees {
			return fmt.Errorf("a full pool refuses to have something taken away: %w", err)
		}
		return nil
	}
	for _, may := range []error{
		ErrExist, ErrNotFound, ErrIsDir, ErrNotDir, ErrNotEmpty, ErrInvalid, ErrNoAttr, ErrHasSnapshots, ErrHasClones,
	} {
		if errors.Is(err, may) {
			return nil
		}
	}
	return err
}

func (c *crowder) act() error {
	p, r := c.p, Req{}
	a, err := p.Lookup(c.dir, c.name())
	if err != nil || c.rng.IntN(10) == 0 {
		return c.plant()
	}
	switch k := c.rng.IntN(100); {
	case k < 20:
		return p.SetXattr(r, a.Ino, fmt.Sprint("user.", c.rng.IntN(40)), make([]byte, c.rng.IntN(MaxXattr)), 0)
	case k < 25:
		c.frees = true
		return p.RemoveXattr(r, a.Ino, fmt.Sprint("user.", c.rng.IntN(40)))
	case k < 32:
		return p.Rename(r, c.dir, c.name(), c.dir, c.name(), RenameFlag(c.rng.IntN(2))*RenameExchange)
	case k < 40:
		c.frees = true
		return p.Unlink(r, c.dir, c.name())
	case k < 42:
		c.frees = true
		return p.Rmdir(r, c.dir, c.name())
	case k < 46:
		mode := uint32(c.rng.IntN(0o777))
		_, err := p.SetAttr(r, a.Ino, SetAttr{Mode: &mode})
		return err
	case k < 50:
		c.frees = true
		return p.Flush()
	}
	v, err := p.Volume(a.Ino)
	if err != nil {
		return err
	}
	return c.use(v)
}

func (c *crowder) plant() error {
	var err error
	switch c.rng.IntN(4) {
	case 0:
		_, err = c.p.Symlink(Req{}, c.dir, c.name(), strings.Repeat("t", 1+c.rng.IntN(MaxLink)))
	case 1:
		_, err = c.p.Mkdir(Req{}, c.dir, c.name(), 0o755)
	default:
		_, err = c.p.Create(Req{}, c.dir, c.name(), 0o644)
	}
	return err
}

func (c *crowder) use(v *Volume) error {
	off, n := c.rng.Int64N(2<<20), 1+c.rng.Int64N(200<<10)
	snap := fmt.Sprint("s", c.rng.IntN(4))
	switch k := c.rng.IntN(50); {
	case k < 30:
		_, err := v.WriteAt(fill(byte(k), int(n)), off)
		return err
	case k < 33:
		return v.Punch(off, n)
	case k < 35:
		return v.Truncate(off)
	case k < 40:
		return c.p.Snapshot(Req{}, []Ino{v.ino}, snap)
	case k < 43:
		c.frees = true
		return c.p.DestroySnapshots(Req{}, v.ino, []string{snap}, DestroyOptions{Defer: true})
	case k < 45:
		_, err := c.p.Clone(Req{}, v.ino, "", c.dir, c.name())
		return err
	case k < 47:
		return c.p.Rollback(Req{}, v.ino, snap, false)
	}
	c.frees = true
	return c.p.DestroyVolume(Req{}, v.ino, DestroyOptions{Snapshots: true, Defer: true})
}

// leave takes away all that there is in the crowder's directory, while others may still fill the pool.
func (c *crowder) leave() error {
	var all []DirEntry
	if err := c.p.ReadDir(c.dir, 0, func(e DirEntry) bool { all = append(all, e); return true }); err != nil {
		return err
	}
	for _, e := range all {
		var err error
		switch e.Type {
		case TypeDir:
			err = c.p.Rmdir(Req{}, c.dir, e.Name)
		case TypeSymlink:
			err = c.p.Unlink(Req{}, c.dir, e.Name)
		case TypeFile:
			err = c.p.DestroyVolume(Req{}, e.Ino, DestroyOptions{Snapshots: true, Defer: true})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Many do anything at once on pools that are too small for them: no pool turns read-only, all come to their end, and check
// finds nothing. Who is refused for want of space, and how often, is a matter of who came first. But nobody is refused what
// takes away, and when all have taken away what they made, there is space for each of them.
func TestCrowd(t *testing.T) {
	for name, make := range map[string]func() *devtest.Disk{
		"tiny":  func() *devtest.Disk { return newDisk(t, 6<<20) },
		"small": func() *devtest.Disk { return newPool64(t, 64<<20) },
		"4096 a sector": func() *devtest.Disk {
			d := devtest.New(64<<20, 4096)
			ok(t, Create(d, Format{Name: "small", Zeroed: true, Now: newClock().now}))
			return d
		},
		"dirty": func() *devtest.Disk {
			d := devtest.New(64<<20, 512)
			ok(t, Create(d, Format{Name: "small", Now: newClock().now}))
			return d
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := openPool(t, make())
			stop := keepRunning(t, p)
			endEraser := keepErasing(t, p)
			all := crowdIn(t, p)
			endEraser()
			stop()
			ok(t, p.Failed())
			p.mu.Lock()
			if p.commits.room.open != 0 || p.commits.room.pages != 0 || len(p.commits.room.waiting) != 0 {
				t.Errorf("rooms are left: %+v", p.commits.room)
			}
			p.mu.Unlock()
			eraseAll(t, p)
			for i, c := range all {
				a, err := p.Create(Req{}, c.dir, "again", 0o644)
				ok(t, err)
				v, err := p.Volume(a.Ino)
				ok(t, err)
				write(t, v, fill(byte(i), 128<<10), 0)
			}
		})
	}
}

// crowdIn lets twelve do anything, and leave.
func crowdIn(t *testing.T, p *Pool) (all []*crowder) {
	steps := 400
	if testing.Short() {
		steps = 120
	}
	var wg sync.WaitGroup
	for i := range 12 {
		a, err := p.Mkdir(Req{}, RootIno, fmt.Sprint("d", i), 0o755)
		ok(t, err)
		c := &crowder{p: p, rng: rand.New(rand.NewPCG(uint64(i), 8)), dir: a.Ino}
		all = append(all, c)
		wg.Go(func() {
			for range steps {
				if err := c.step(); err != nil {
					t.Errorf("crowder %d: %v", i, err)
					return
				}
			}
			if err := c.leave(); err != nil {
				t.Errorf("crowder %d leaves: %v", i, err)
			}
		})
	}
	wg.Wait()
	for i, c := range all {
		t.Logf("crowder %d was refused %d of %d for want of space", i, c.refused, steps)
	}
	return all
}

// keepErasing erases what there is, until the end of the test, or until stop.
func keepErasing(t *testing.T, p *Pool) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var eraser sync.WaitGroup
	eraser.Go(func() {
		for ctx.Err() == nil {
			select {
			case <-p.Ready():
				if _, err := eraseSome(p, 1<<20); err != nil {
					t.Errorf("eraser: %v", err)
					return
				}
			case <-ctx.Done():
			}
		}
	})
	return func() { cancel(); eraser.Wait() }
}

// On a pool that is full to the last block, with nothing to be erased, names are changed until all rows are dirty: the next
// checkpoint has the pages for it, what would need more is refused, and what frees goes on.
func TestFullPoolChangesNames(t *testing.T) {
	rounds := 1000
	if testing.Short() {
		rounds = 250
	}
	for name, d := range map[string]*devtest.Disk{"tiny": newDisk(t, 6<<20), "small": newPool64(t, 64<<20)} {
		t.Run(name, func(t *testing.T) {
			p := openPool(t, d)
			stop := keepRunning(t, p)
			var inos []Ino
			big := mustVolume(t, p, "v", 256<<20)
			for i := range 4000 {
				a, err := p.Create(Req{}, RootIno, fmt.Sprintf("%0200d", i), 0o644)
				if errors.Is(err, ErrNoSpace) {
					break
				}
				ok(t, err)
				inos = append(inos, a.Ino)
				if i%100 == 99 { // so that the store is no larger than it must be
					ok(t, p.Checkpoint())
				}
			}
			v := big
			rng := rand.New(rand.NewPCG(1, 2))
			for misses := 0; misses < 50; {
				if _, err := v.WriteAt(fill('x', BlockSize), rng.Int64N(256<<20/BlockSize)*BlockSize); errors.Is(err, ErrNoSpace) {
					misses++
				} else {
					ok(t, err)
				}
			}
			for i := range 50 {
				if err := p.Snapshot(Req{}, []Ino{v.ino}, fmt.Sprint("s", i)); err != nil && !errors.Is(err, ErrNoSpace) {
					t.Fatal(err)
				}
				_, _ = v.WriteAt(fill('y', BlockSize), rng.Int64N(256<<20)) // it may be refused
			}
			ok(t, p.Checkpoint())
			t.Logf("%d files, %d of %d pages free, %d blocks clean", len(inos), p.blocks.store.FreePages(), p.blocks.store.UsedPages(), p.Usage().Clean/BlockSize)
			var wg sync.WaitGroup
			for w := range 4 {
				wg.Go(func() {
					rng := rand.New(rand.NewPCG(uint64(w), 3))
					for i := range rounds {
						mode := uint32(i % 0o777)
						at := rng.IntN(len(inos))
						_, err := p.SetAttr(Req{}, inos[at], SetAttr{Mode: &mode})
						if err == nil && i%3 == 0 {
							other := fmt.Sprintf("%0200d", rng.IntN(len(inos)))
							err = p.Rename(Req{}, RootIno, fmt.Sprintf("%0200d", at), RootIno, other, RenameExchange)
						}
						if err == nil && i%50 == 0 {
							err = p.SetXattr(Req{}, inos[at], "user.x", make([]byte, MaxXattr), 0)
						}
						if err != nil && !errors.Is(err, ErrNoSpace) && !errors.Is(err, ErrNotFound) {
							t.Errorf("change %d: %v", i, err)
							return
						}
					}
				})
			}
			wg.Wait()
			ok(t, p.Checkpoint())
			for i := range inos {
				ok(t, p.Unlink(Req{}, RootIno, fmt.Sprintf("%0200d", i)))
			}
			ok(t, p.DestroyVolume(Req{}, v.ino, DestroyOptions{Snapshots: true}))
			stop()
			eraseAll(t, p)
		})
	}
}
