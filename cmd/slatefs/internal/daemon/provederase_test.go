package daemon

import (
	"context"
	"errors"
	"time"

	"slatefs/chain"
	"slatefs/chain/blockdev"
)

// drain works off some of what is queued: as a rule it is zeroed.
func (w *provedWorld) drain(kind int) error {
	if kind < 76 {
		w.note("time passes")
		return w.house(func() bool { return true })
	}
	if err := w.pool.EraseDrain(context.Background()); err != nil {
		return err
	}
	n := int64(1+w.rng.IntN(40)) * chain.BlockSize
	if kind < 80 {
		n = 1 << 40
	}
	w.note("erase %d, release %v", n, kind == 80)
	_, err := w.erase(n, kind == 80)
	return err
}

// house lets two hours pass, and the housekeeping end what is kept, and close and cut what it finds, until it is enough.
func (w *provedWorld) house(enough func() bool) error {
	w.skip(2 * time.Hour)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.pool.Run(ctx) }()
	for (len(w.pool.Destroyed()) > 0 || !enough()) && w.pool.Failed() == nil {
		time.Sleep(time.Millisecond)
	}
	cancel()
	err := <-done
	err = errors.Join(err, chain.EachVolumeEver(w.pool, func(v chain.VolumeEver) error {
		for _, t := range w.all {
			if t.ino == v.Ino && t.kept && v.Gone {
				t.was, t.kept = v.Path, false
			}
		}
		return nil
	}), w.pool.Flush())
	for _, t := range w.all { // nothing was written to it
		if t.kept {
			t.was, t.kept = t.path(), false
		}
	}
	return err
}

// erase works off n bytes of what is queued, and notes what each job had. releases: the space is only given back.
func (w *provedWorld) erase(n int64, releases bool) (done int64, err error) {
	for done < n {
		h, err := w.pool.Next(n - done)
		if err != nil || h.Token == 0 {
			return done, errors.Join(err, w.pool.Failed())
		}
		found := w.jobs[h.Job]
		if found == nil {
			found = map[sectorStamp]bool{}
			w.jobs[h.Job] = found
		}
		if releases {
			if err := w.pool.WillRelease(h.Token); err != nil {
				return done, err
			}
		}
		for _, r := range h.Runs {
			w.stampsIn(r.Off, r.Len, found)
			if releases {
				w.stampsIn(r.Off, r.Len, w.below)
			}
			if err := w.disk.Zero(r.Off, r.Len, blockdev.Overwrite); err != nil {
				return done, err
			}
			done += r.Len
		}
		if err := w.disk.Sync(); err != nil {
			return done, err
		}
		if releases && w.rng.IntN(3) == 0 { // the report is lost, and another method goes over it
			w.note("  give back")
			w.pool.GiveBack(h.Token)
			return done, nil
		}
		how := chain.How{Method: "overwrite", Releases: releases}
		if _, err := w.pool.Report(blockdev.Done{Token: h.Token, Zeroed: h.Runs}, how); err != nil {
			return done, err
		}
		if err := w.pool.Flush(); err != nil {
			return done, err
		}
	}
	return done, nil
}
