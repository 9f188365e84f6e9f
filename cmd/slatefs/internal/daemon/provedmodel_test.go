package daemon

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/certificate"
)

// certified counts what certificates said, by what they were of, and what of it was right.
type certified struct {
	complete, exact int
	cuts            int            // runs in which the log was cut
	loose           map[string]int // by what they were of, and what kept them from being complete, though no byte was there
}

// judge asks for a certificate of each thing that is or was, and compares it with what is there: it may never be complete if a byte is.
func (w *provedWorld) judge(c *certified) error {
	vols, layers, there := map[chain.Ino]bool{}, map[chain.LayerID]bool{}, w.there()
	for s := range there {
		vols[w.stamps[s.write].vol], layers[w.stamps[s.write].layer] = true, true
	}
	ask := func(kind, asked string, is bool) error { return w.one(c, kind, asked, is) }
	var errs []error
	any := func(of func(*thing) bool) bool {
		return slices.ContainsFunc(w.all, func(t *thing) bool { return !t.dir && vols[t.ino] && of(t) })
	}
	for _, t := range w.all {
		switch {
		case t.gone:
		case t.dir:
			errs = append(errs, ask("directory", "/"+t.path(), any(func(v *thing) bool { return v.below(t) })))
		default:
			errs = append(errs, ask("volume", "/"+t.path(), vols[t.ino]))
			infos, err := w.pool.Snapshots(t.ino)
			errs = append(errs, err)
			for _, i := range infos {
				errs = append(errs, w.oneSnapshot(c, "/"+t.path()+"@"+i.Name, layers[i.Layer], i.Refer > 0))
			}
		}
	}
	for _, name := range w.goneNames() {
		if _, err := w.pool.Resolve(name); err == nil {
			continue
		}
		errs = append(errs, ask("gone", "/"+name, any(func(v *thing) bool {
			return v.gone && (v.path() == name || strings.HasPrefix(v.path(), name+"/"))
		})))
	}
	for uid := range uint32(3) {
		uid += 1000
		errs = append(errs, ask("owner", ownerPrefix+strconv.Itoa(int(uid)), any(func(v *thing) bool { return v.uid == uid })))
	}
	seen := map[uuid.UUID]bool{}
	for _, s := range w.stamps {
		v, l := w.pool.VolumeUUID(s.vol), w.pool.LayerUUID(s.layer)
		if !seen[v] {
			errs = append(errs, ask("volume", v.String(), vols[s.vol]))
		}
		if !seen[l] {
			errs = append(errs, ask("layer", l.String(), layers[s.layer]))
		}
		seen[v], seen[l] = true, true
	}
	for _, id := range slices.Sorted(maps.Keys(w.jobs)) {
		if len(w.jobs[id]) == 0 {
			continue // it was nobody's
		}
		errs = append(errs, w.oneJob(c, id, there))
	}
	return errors.Join(append(errs, ask("pool", "lab", len(there) > 0))...)
}

// oneSnapshot judges the certificate of a snapshot by its name. shows: it is there, and shows something, whoever wrote that: it need not be
// complete then.
func (w *provedWorld) oneSnapshot(c *certified, asked string, there, shows bool) error {
	d, err := w.certificate(asked)
	if shows && !there && len(d.Left)+len(d.Reasons) > 0 {
		c.exact++
		return err
	}
	return w.judged(c, "snapshot", d, there, err)
}

// oneJob judges the certificate of a job: of all that was in its blocks, and was written by its volume or in its layers.
func (w *provedWorld) oneJob(c *certified, id uint64, there map[sectorStamp]bool) error {
	d, err := w.certificate(strconv.FormatUint(id, 10))
	is := false
	for s := range w.jobs[id] {
		by := w.stamps[s.write]
		is = is || there[s] && slices.ContainsFunc(d.Records, func(r certificate.Record) bool {
			return r.Shown.VolumeUUID == w.pool.VolumeUUID(by.vol).String() || slices.Contains(r.Shown.Layers, w.pool.LayerUUID(by.layer).String())
		})
	}
	return w.judged(c, "job", d, is, err)
}

// certificate is one of one thing, before it is signed.
func (w *provedWorld) certificate(asked string) (certificate.Document, error) {
	d := certificate.Document{Asked: []string{asked}, Made: w.now()}
	_, _, err := w.s.fill(context.Background(), &d)
	return d, err
}

// one judges the certificate of one thing.
func (w *provedWorld) one(c *certified, kind, asked string, there bool) error {
	d, err := w.certificate(asked)
	return w.judged(c, kind, d, there, err)
}

func (w *provedWorld) judged(c *certified, kind string, d certificate.Document, there bool, err error) error {
	asked := d.Asked[0]
	switch {
	case err != nil && !there: // nothing is known of it
		return nil
	case err != nil:
		return fmt.Errorf("%s %s: bytes of it are there, and %w", kind, asked, err)
	}
	complete := len(d.Left)+len(d.Reasons) == 0
	if complete {
		c.complete++
	}
	switch {
	case complete && there:
		return fmt.Errorf("the certificate of %s %s is complete, and bytes of it are there: %+v, records %+v", kind, asked, d.Account, d.Records)
	case complete == !there:
		c.exact++
		return nil
	}
	why := whyLoose(d)
	if _, may := certificateMay[why]; !may {
		return fmt.Errorf("the certificate of %s %s is not complete, and no byte of it is there: %+v, %q", kind, asked, d.Left, d.Reasons)
	}
	c.loose[kind+": "+why]++
	return nil
}

// whyLoose is what keeps a certificate from being complete, by the first reason of these.
func whyLoose(d certificate.Document) string {
	var own, others bool
	for _, p := range d.Left {
		switch {
		case p.State == "crash", p.State == certificate.Kept:
			return p.State
		case p.UpTo:
			others = true
		default:
			own = true
		}
	}
	for _, r := range d.Reasons {
		switch {
		case strings.Contains(r, "of which more may be left"):
			return "more of the volume"
		case strings.Contains(r, "nothing is claimed"):
			return "erase=none"
		case strings.HasSuffix(r, "is not over"):
			return "not over"
		default:
			return r
		}
	}
	switch {
	case own:
		return "own"
	case others:
		return "up to"
	}
	return "none"
}

// certificateMay has what may keep a certificate from being complete though no byte is there, with the share of all that it may be
// of at most, in per mille.
var certificateMay = map[string]int{
	"crash":              200, // nobody knows whose it was
	"own":                40,  // its blocks, but all bytes in them were written over in place
	"up to":              50,  // others' blocks, which may have bytes of it
	"more of the volume": 30,  // a job's: the volume has more blocks, which may have bytes of those
	"kept":               30,  // a job's: of what others showed it is not known who wrote it
	"erase=none":         20,  // a job's: nothing is claimed
	"not over":           20,  // a job's
}

// report tells the shares, and wants them to be small.
func (c *certified) report(t *testing.T) {
	if c.complete == 0 || c.complete == c.exact {
		t.Errorf("%d of %d certificates are complete: that proves nothing", c.complete, c.exact)
	}
	all := c.exact
	for _, n := range c.loose {
		all += n
	}
	var parts []string
	shares := map[string]int{}
	for why, n := range c.loose {
		parts = append(parts, fmt.Sprintf("%s %d‰", why, n*1000/max(all, 1)))
		_, reason, _ := strings.Cut(why, ": ")
		shares[reason] += n
	}
	for why, n := range shares {
		if n*1000 > certificateMay[why]*all+200_000 { // so many may one bad run bring
			t.Errorf("%d of %d certificates are incomplete without need: %s", n, all, why)
		}
	}
	slices.Sort(parts)
	t.Logf("%d certificates, %d complete; the log was cut in %d runs; without need incomplete: %s",
		all, c.complete, c.cuts, strings.Join(parts, ", "))
}

// TestCertificateModel: after each step of random trees of directories, volumes, snapshots and clones that are written, moved,
// destroyed, brought back, erased and hit by crashes, while the pool grows and its log is cut, a certificate of each volume,
// snapshot, directory, owner and job that is or was, and of the pool, is complete exactly when no byte of it is on the device.
func TestCertificateModel(t *testing.T) {
	checks := flag.Lookup("rapid.checks")
	if checks.Value.String() == checks.DefValue {
		if err := checks.Value.Set("10"); err != nil { // rapid takes a fifth of that in short tests
			t.Fatal(err)
		}
		defer func() { _ = checks.Value.Set(checks.DefValue) }()
	}
	base, dir, c, run := provedDisk(t), t.TempDir(), &certified{loose: map[string]int{}}, 0
	steps := rapid.SliceOfN(rapid.Uint32(), 20, 100)
	rapid.Check(t, func(rt *rapid.T) {
		run++
		w, err := newProvedWorld(base, fmt.Sprint(dir, "/", run))
		for _, seed := range steps.Draw(rt, "steps") {
			if err == nil {
				err = w.step(seed)
			}
			if err == nil {
				err = w.judge(c)
			}
		}
		if l := w.pool.Log().State(); l.Cut.Records() > 0 {
			c.cuts++
		}
		if err = errors.Join(err, w.close()); err != nil {
			rt.Fatalf("%v\n%s", err, w.told())
		}
	})
	c.report(t)
}
