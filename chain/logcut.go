package chain

import (
	"time"

	"slatefs/chain/catalog"
	"slatefs/chain/evidence"
)

// daysAtOnce bounds the lines that one batch makes records of.
const daysAtOnce = 16

// closeDays makes records of the lines whose day is over, or that are too many.
func (hk *keeper) closeDays() error {
	return hk.works.change(func(time.Time) error {
		for range daysAtOnce {
			if !hk.jobs.lineDue() {
				return nil
			}
			r := hk.jobs.oldestLine()
			if err := hk.commits.do(&recDay{r.Kind == evidence.Nothing, r.Number, Ino(r.Volume)}); err != nil {
				return err
			}
		}
		return nil
	})
}

// cutAtOnce bounds the records that one cut takes out of the log.
const cutAtOnce = 4096

// cutLog exports the oldest records and takes them out of the log, an eighth more than must go. What is known of them then is
// their sums.
func (hk *keeper) cutLog() error {
	hk.mu.Lock()
	bound := hk.jobs.logBound()
	most := min(hk.jobs.closed()-bound+bound/8, cutAtOnce)
	cut, exp := recCut{sum: hk.jobs.chain.cut, old: hk.jobs.chain.old}, hk.jobs.export
	hk.mu.Unlock()
	recs, err := hk.takeOldest(&cut, most)
	if err != nil || len(recs) == 0 {
		return err
	}
	if exp != nil {
		if err := exp(recs); err == nil {
			cut.sum.Exported += int64(len(recs))
		} else if !hk.exportFailed(len(recs), bound, err) {
			return nil
		}
	}
	err = hk.works.change(func(now time.Time) error {
		cut.when = now
		return hk.commits.do(&cut)
	})
	if err == nil {
		hk.log.Warn("the erase log was cut: of its oldest records only sums are known now", "pool", hk.name, "records", len(recs),
			"exported", cut.sum.Exported, "of", cut.sum.Records(), "begins", cut.sum.At.Seq+1, "from", cut.sum.From, "to", cut.sum.To)
	}
	return err
}

// takeOldest reads so many of the oldest records, and adds them to what a cut says.
func (hk *keeper) takeOldest(cut *recCut, most int64) (recs []EraseRecord, err error) {
	for pos := logStart(0); !pos.end && int64(len(recs)) < most; {
		some, err := hk.jobs.readLog(&pos)
		if err != nil {
			return nil, err
		}
		for _, o := range some[:min(int64(len(some)), most-int64(len(recs)))] {
			kind := catalog.KindOf(o.key)
			if kind == catalog.Daily { // the lines are not for it
				return recs, nil
			}
			if kind == catalog.Log {
				cut.old, cut.sum.Before = catalog.NumberOf(o.key), cut.sum.Before+1
			} else if cut.sum.At, err = cut.sum.At.Follow(o.entry); err != nil {
				return nil, o.wrap(err)
			}
			cut.sum.Add(o.row)
			recs = append(recs, hk.jobs.record(o))
		}
	}
	return recs, nil
}

// exportFailed notes it, and tells whether the records leave all the same.
func (hk *keeper) exportFailed(n int, bound int64, err error) (lost bool) {
	hk.mu.Lock()
	hk.jobs.exportAt = hk.opt.Now().Add(time.Minute)
	lost = hk.jobs.closed() > 2*bound
	hk.mu.Unlock()
	hk.log.Error("the erase log could not be exported", "pool", hk.name, "records", n, "lost", lost, "error", err)
	return lost
}

// dropLogged takes the rows of some records out of the catalog that have left the log.
func (hk *keeper) dropLogged() error {
	rows, err := lookUp(hk.commits, hk.jobs.leaving)
	if err != nil || len(rows) == 0 {
		return err
	}
	return hk.works.change(func(time.Time) error { return hk.commits.do(&recGone{rows}) })
}
