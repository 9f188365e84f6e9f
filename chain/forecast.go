package chain

import (
	"fmt"

	"slatefs/chain/ledger"
	"slatefs/chain/size"
)

// What an operation would need, by the very trial that admits it. Nothing changes. Err of a forecast is what the
// operation would be refused with now; to wait for the background, as operations do, is left out.

// forecast makes one under the plan lock.
func forecast(cl *commitLog, fn func() Forecast) Forecast {
	f, _ := lookUp(cl, func() (Forecast, error) { //nolint:errcheck // it is in the forecast
		f := fn()
		return f, f.Err
	})
	return f
}

// ForecastSnapshot is for Snapshot.
func (p *Pool) ForecastSnapshot(vols []Ino, name string) Forecast {
	for _, ino := range vols {
		p.tree.measureDepth(ino)
	}
	if err := CheckSnapName(name); err != nil {
		return Forecast{Err: err}
	}
	p.structure.Lock()
	defer p.structure.Unlock()
	f, err := p.prepareFreeze(vols, name)
	if err != nil {
		all := f.ahead.forecast
		all.Err = err
		return all
	}
	defer f.ahead.takeBack()
	return forecast(p.commits, f.ahead.judge)
}

// ForecastRollback is for Rollback. Of several volumes the needs are added up, and judged by what is available before the first of
// them has given anything back.
func (p *Pool) ForecastRollback(ino Ino, name string, force bool, more ...Ino) (all Forecast) {
	for i, ino := range append([]Ino{ino}, more...) {
		f := forecast(p.commits, func() Forecast {
			_, _, f := p.volumes.admitRollback(ino, name, force)
			return f
		})
		if f.Err != nil || len(more) == 0 {
			return f
		}
		if i == 0 {
			all.Avail = f.Avail
		}
		all.Need, all.Meta = all.Need+max(0, f.Need), all.Meta+f.Meta
	}
	all.What = fmt.Sprintf("roll back %d volumes to @%s", len(more)+1, name)
	if all.Need > max(0, all.Avail) {
		all.Err = all.refuse()
	}
	return all
}

// ForecastSet is for SetProps.
func (p *Pool) ForecastSet(ino Ino, settings ...Setting) Forecast {
	return forecast(p.commits, func() Forecast {
		canonical, err := p.namespace.parseSettings(ino, settings)
		if err != nil {
			return Forecast{Err: err}
		}
		return p.namespace.trySettings(ino, canonical)
	})
}

// ForecastResize is for Volume.Resize. A smaller size needs nothing but that nobody has it open.
func (p *Pool) ForecastResize(ino Ino, size int64, force bool) Forecast {
	return forecast(p.commits, func() Forecast {
		v, err := p.volumes.volume(ino)
		if err == nil && (size < 0 || size > MaxSize) {
			err = sizeTooBig(size)
		}
		if err == nil && !force {
			err = v.admitShrink(size)
		}
		if err != nil {
			return Forecast{Err: err}
		}
		return p.space.tryResize(v, size)
	})
}

// ForecastCreate is for Create, SetProps and a Truncate to the size.
func (p *Pool) ForecastCreate(dir Ino, name string, bytes int64, settings ...Setting) Forecast {
	return forecast(p.commits, func() Forecast {
		if _, _, err := p.namespace.admitName(dir, name, ledger.NameWords); err != nil {
			return Forecast{Err: err}
		}
		to, err := p.namespace.newProps(dir, settings)
		if err == nil && (bytes < 0 || bytes > MaxSize) {
			err = sizeTooBig(bytes)
		}
		if err != nil {
			return Forecast{Err: err}
		}
		like := ledger.Numbers{Props: to, Refres: to.Refreservation}
		if to.Auto {
			like.Refres = blocksOf(bytes)
		}
		return p.space.try(trial{
			what: fmt.Sprintf("create %s of %s", join(p.names.pathOf(dir), name), size.Exact(bytes)), why: promise(like),
			Change: ledger.Change{Do: func() {
				a := p.space.ledger.Open(ledger.ID(p.names.nextIno+1), false, p.space.account(dir))
				p.space.ledger.Set(a, to)
				p.space.ledger.Resize(a, blocksOf(bytes))
			}},
		})
	})
}
