package chain

import (
	"fmt"
	"maps"
)

// freeze is a snapshot of volumes at one instant, under the structure lock, in three parts. All that may be refused, and all that
// is looked up, is done before, for one volume after another. The instant is one record, whose hold of the plan lock does not
// grow with them and reads nothing: it judges what was promised (ahead), and takes the numbers of the new heads. The heads are
// switched after it (switching).
type freeze struct {
	p     *Pool
	vols  []Ino
	name  string
	ahead *ahead
	later *switching
}

// prepareFreeze finds out whether volumes may be frozen under a name. What it has promised its takeBack takes back, or done ends.
func (p *Pool) prepareFreeze(vols []Ino, name string) (*freeze, error) {
	f := &freeze{p: p, vols: vols, name: name, ahead: p.space.beginAhead()}
	f.later = &switching{waits: make(map[Ino]int, len(vols)), homes: map[Ino]snapHome{}}
	err := f.look()
	if err != nil {
		f.ahead.takeBack()
	}
	return f, err
}

func (f *freeze) look() error {
	if len(f.vols) == 0 {
		return fmt.Errorf("snapshot of nothing: %w", ErrInvalid)
	}
	for i, ino := range f.vols {
		if err := f.p.commits.underPlan(func() error { return f.lookAt(i, ino) }); err != nil {
			return err
		}
	}
	f.ahead.name(fmt.Sprintf("snapshot %d volumes at @%s", len(f.vols), f.name))
	if len(f.vols) == 1 {
		path, err := lookUp(f.p.commits, func() (string, error) { return f.p.names.pathOf(f.vols[0]), nil })
		if err != nil {
			return err
		}
		f.ahead.name(fmt.Sprintf("snapshot %s@%s", path, f.name))
	}
	return f.ahead.judgeQuotas()
}

// lookAt admits one volume, but for what all take together. The plan lock is held, and nothing read.
func (f *freeze) lookAt(i int, ino Ino) error {
	p := f.p
	v, err := p.volumes.volume(ino)
	if err == nil {
		err = p.tree.admitDepth(v.ino, v.head())
	}
	if _, twice := f.later.waits[ino]; err == nil && twice {
		err = fmt.Errorf("%s: named twice: %w", p.names.pathOf(ino), ErrInvalid)
	}
	if err == nil && p.tree.named(ino, f.name) != nil {
		err = fmt.Errorf("%s@%s: %w", p.names.pathOf(ino), f.name, ErrExist)
	}
	if err != nil {
		return err
	}
	homes, err := p.tree.snapHomes([]Ino{ino})
	if err != nil || p.commits.missed() {
		return err // and it begins anew where it missed a page
	}
	maps.Copy(f.later.homes, homes)
	f.later.waits[ino] = i
	f.ahead.promise(v.account)
	return nil
}

// instant makes the record, in a room of the journal, which is given back.
func (f *freeze) instant(rec *recFreeze, got *room) error {
	p := f.p
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.commits.within(got)()
	if err := p.writable(); err != nil {
		return err
	}
	if all := f.ahead.judge(); all.Err != nil {
		return all.Err
	}
	rec.when = p.opt.Now()
	if err := p.commits.do(rec); err != nil {
		return err
	}
	f.ahead.end()
	p.poke()
	return nil
}
