package chain

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// rapidTimes checks a property so many times, and a fifth of that in short tests, unless the command line has its own number.
func rapidTimes(t *testing.T, n int, prop func(*rapid.T)) {
	t.Helper()
	checks := flag.Lookup("rapid.checks")
	if checks.Value.String() == checks.DefValue {
		ok(t, checks.Value.Set(strconv.Itoa(n)))
		defer func() { ok(t, checks.Value.Set(checks.DefValue)) }()
	}
	rapid.Check(t, prop)
}

// verdicts counts what evidence said, and what of it was right.
type verdicts struct {
	complete, exact int
	loose           map[string]int // by what kept it from being complete, though no byte was there
}

// fewRuns is what one bad run may bring beside the share that is allowed, times a thousand.
const fewRuns = 300_000

// looseFor are the reasons for which evidence may be incomplete though no byte is there, each with the share of all verdicts that it may
// have at most, in per mille.
var looseFor = map[string]int{
	"crash":   250, // nobody knows whose it was
	"initial": 20,  // and of the pool, what was there before
	"writing": 20,  // the volume is being written, in another layer
	"up to":   30,  // others' blocks, which may have bytes of it
	"own":     30,  // its blocks, but all bytes in them were written over in place: by a guest with zeros, or by the layer that has them now
}

// judge compares what is there with what evidence says. It may never call complete what is there.
func (w *stampedWorld) judge(v *verdicts, end bool) error {
	vols, layers := w.there()
	seenVol, seenLayer := map[Ino]bool{}, map[LayerID]bool{}
	var some Subject
	someThere := false
	for _, s := range w.stamps {
		if !seenVol[s.vol] {
			seenVol[s.vol] = true
			if err := w.one(v, Subject{Volumes: []Ino{s.vol}}, vols[s.vol], end); err != nil {
				return err
			}
			if s.vol%2 == 0 {
				some.Volumes = append(some.Volumes, s.vol)
				someThere = someThere || vols[s.vol]
			}
		}
		if !seenLayer[s.layer] {
			seenLayer[s.layer] = true
			if err := w.one(v, Subject{Layer: s.layer}, layers[s.layer], end); err != nil {
				return err
			}
		}
	}
	if len(some.Volumes) > 1 {
		if err := w.one(v, some, someThere, end); err != nil {
			return err
		}
	}
	return w.one(v, Subject{Pool: true}, len(vols) > 0, end)
}

func (w *stampedWorld) one(v *verdicts, s Subject, there, end bool) error {
	e, err := EvidenceOf(w.p, s)
	if errors.Is(err, ErrNotFound) && s.Layer > w.p.tree.nextLayer { // a crash took the layer, and nothing is said of it
		return nil
	}
	if err != nil {
		return fmt.Errorf("evidence of %+v: %w", s, err)
	}
	if e.Complete {
		v.complete++
	}
	switch {
	case e.Complete && there:
		return fmt.Errorf("evidence of %+v is complete, and bytes of it are there: %+v", s, e)
	case e.Complete == !there:
		v.exact++
		return nil
	case end && slices.ContainsFunc(e.Remains, func(r Remain) bool { return r.State != RemainReleased }):
		return fmt.Errorf("all is erased, and evidence of %+v is not complete: %+v", s, e)
	}
	why := looseReason(e)
	if _, may := looseFor[why]; !may {
		return fmt.Errorf("evidence of %+v is not complete, and no byte of it is there: %+v", s, e)
	}
	v.loose[why]++
	return nil
}

// looseReason is what keeps evidence from being complete.
func looseReason(e Evidence) string {
	why := "none"
	for _, r := range e.Remains {
		switch {
		case r.State == RemainCrash || r.State == RemainInitial || r.State == RemainWriting:
			return string(r.State)
		case !r.UpTo && e.Left == 0 && r.State != RemainReleased:
			return string(r.State)
		case !r.UpTo:
			why = "own"
		case why == "none":
			why = "up to"
		}
	}
	return why
}

// report tells the shares, and wants them to be small.
func (v *verdicts) report(t *testing.T) {
	if v.complete == 0 || v.complete == v.exact {
		t.Errorf("%d of %d verdicts are complete: that proves nothing", v.complete, v.exact)
	}
	all, loose := v.exact, 0
	for _, n := range v.loose {
		all += n
		loose += n
	}
	var parts []string
	for why, n := range v.loose {
		share := n * 1000 / max(all, 1)
		parts = append(parts, fmt.Sprintf("%s %d‰", why, share))
		if n*1000 > looseFor[why]*all+fewRuns {
			t.Errorf("%d verdicts of %d are incomplete without need: %s", n, all, why)
		}
	}
	slices.Sort(parts)
	t.Logf("%d verdicts, %d complete; without need incomplete %d: %s", all, v.complete, loose, strings.Join(parts, ", "))
}

// TestEvidenceModel: evidence of every volume and layer that ever was, and of the pool, after each step of random trees of volumes,
// clones, rollbacks, destroys, undestroys and crashes, is complete exactly when no byte is there that was written there.
func TestEvidenceModel(t *testing.T) {
	base := newDisk(t, stampedPool)
	v := &verdicts{loose: map[string]int{}}
	steps := rapid.SliceOfN(rapid.Uint32(), 20, 100)
	rapidTimes(t, 20, func(rt *rapid.T) {
		w, err := newStampedWorld(base, rapid.Bool().Draw(rt, "whole blocks"))
		if err == nil {
			err = w.run(v, steps.Draw(rt, "steps"))
		}
		if err != nil {
			rt.Fatalf("%v\n%s", err, w.told())
		}
	})
	v.report(t)
}

// run runs steps, and judges after each; then it ends all, and judges.
func (w *stampedWorld) run(v *verdicts, steps []uint32) error {
	for _, s := range steps {
		if err := w.step(s); err != nil {
			return err
		}
		if err := w.judge(v, false); err != nil {
			return err
		}
	}
	if err := w.end(); err != nil {
		return err
	}
	if err := w.judge(v, true); err != nil {
		return err
	}
	for range 3 {
		if err := w.closeAccounts(); err != nil {
			return err
		}
	}
	if err := w.judge(v, true); err != nil {
		return err
	}
	return w.close()
}
