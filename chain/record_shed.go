package chain

import (
	"fmt"
	"slices"
	"time"

	"slatefs/chain/codec"
)

// layersAtOnce bounds the layers of one such record.
const layersAtOnce = 8

// recShed: a volume that is going loses its youngest layers, head first. Nobody can reach it meanwhile, and without a head
// nothing is written to it. What recDestroy does of all layers at once comes to be of all of them, and all that is freed comes
// to one job, which does not end before the last ones are gone.
type recShed struct {
	vol  Ino
	n    uint64    // layers
	held []LayerID // of them, open .snap files
	dir  Ino       // that layers which clones hold are charged to from then on
	when time.Time
	who  string
}

func (r *recShed) encode(e *codec.Encoder) {
	e.Uint(uint64(r.vol))
	e.Uint(r.n)
	e.Births(r.held)
	e.Uint(uint64(r.dir))
	e.Time(r.when)
	e.Str(r.who)
}

func (r *recShed) decode(d *codec.Decoder) {
	r.vol, r.n, r.held = Ino(d.Uint()), d.Uint(), d.Births()
	r.dir, r.when, r.who = Ino(d.Uint()), d.Time(), d.Str()
}

func (*recShed) cuts() bool { return true }

func (r *recShed) warm(p *Pool) { p.names.warm(r.vol) }

func (r *recShed) apply(p *Pool) error {
	j, all := p.jobs.growing[r.vol], p.tree.byVol[r.vol]
	n := int(min(r.n, layersAtOnce))
	if r.n > layersAtOnce || n > len(all) || n == 0 && (j == nil || len(all) > 0) {
		return fmt.Errorf("volume %d loses %d of %d layers at once: %w", r.vol, r.n, len(all), ErrCorrupt)
	}
	if j == nil {
		j = p.jobs.newJob(r.vol, p.names.pathOf(r.vol), "", reasonVolume, r.who, r.when)
		j.more, p.jobs.growing[r.vol] = true, j
	}
	p.jobs.touchJob(j)
	some := slices.Clone(all[len(all)-n:])
	if err := noneHasTags(some); err != nil {
		return err
	}
	mine := make([]bool, n)
	for i, l := range some {
		head := l.head
		if mine[i] = p.tree.letGo(l, slices.Contains(r.held, l.id), r.who); head {
			delete(p.tree.heads, r.vol)
			p.tree.accounts.headChanged(r.vol)
		}
	}
	for i := n - 1; i >= 0; i-- { // walks are numbered in this order
		up := some[i].parent
		p.tree.buryOne(some[i], j)
		if up != nil && (up.vol != r.vol || up.id < some[0].id) {
			p.tree.lossBelow(up)
		}
	}
	for i, l := range some {
		if !l.dead {
			p.tree.leaveTo(l, r.dir, j, mine[i])
		}
	}
	if len(p.tree.byVol[r.vol]) == 0 {
		p.tree.accounts.ended(r.vol)
		j.more = false
		delete(p.jobs.growing, r.vol)
	}
	p.jobs.endJob(j)
	return nil
}
