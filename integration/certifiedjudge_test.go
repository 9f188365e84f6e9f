package integration

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// there are the numbers of the volumes of which something is on the file under the pool.
func (c *certified) there() map[int]bool {
	c.tool("sync", "-f", c.device)
	b, err := os.ReadFile(c.device)
	must(c.t, err)
	found := map[int]bool{}
	for i := 0; i+stampSize <= len(b); i += sector {
		if bytes.HasPrefix(b[i:], stampMagic) {
			found[int(binary.LittleEndian.Uint64(b[i+16:])>>48)] = true
		}
	}
	return found
}

// question is what a certificate is asked of, and which volumes that is.
type question struct {
	asked string
	of    func(i int, v *certifiedVolume) bool
	upTo  bool // of a part of these
}

func (c *certified) questions() (qs []question) {
	paths := map[string]int{}
	for i, v := range c.vols {
		qs = append(qs, question{asked: "/" + c.path(v), of: func(k int, _ *certifiedVolume) bool { return k == i }})
		paths[c.path(v)] = i
		if v.state == volumeThere {
			for _, s := range v.snaps {
				qs = append(qs, question{asked: "/" + c.path(v) + "@" + s, upTo: true})
			}
		}
	}
	for d, name := range c.dirs {
		qs = append(qs, question{asked: "/" + name, of: func(_ int, v *certifiedVolume) bool { return v.dir == d }})
	}
	for _, uid := range []int{0, 1000, 1001} {
		qs = append(qs, question{asked: fmt.Sprint("uid:", uid), of: func(_ int, v *certifiedVolume) bool { return v.uid == uid }})
	}
	for line := range strings.Lines(c.slatefs("erase", "log", "-j", c.mnt)) {
		var r struct {
			Kind, Volume string
			ID           uint64
		}
		if json.Unmarshal([]byte(line), &r) != nil || r.Kind != "job" {
			continue
		}
		if i, known := paths[r.Volume]; known && c.vols[i].state == volumeGone {
			qs = append(qs, question{strconv.FormatUint(r.ID, 10), func(k int, _ *certifiedVolume) bool { return k == i }, true})
		}
	}
	c.rng.Shuffle(len(qs), func(i, j int) { qs[i], qs[j] = qs[j], qs[i] })
	return append([]question{{asked: c.name, of: func(int, *certifiedVolume) bool { return true }}}, qs...)
}

// judge asks some questions. What was on the file before and is not afterwards was erased meanwhile. settled: nothing is queued.
func (c *certified) judge(some int, settled bool) {
	c.t.Helper()
	qs := c.questions()
	qs = qs[:min(some, len(qs))]
	before := c.there()
	type verdict struct {
		complete bool
		text     string
	}
	said := make([]verdict, len(qs))
	for i, q := range qs {
		r := c.try("erase", "certificate", "-j", q.asked, c.name)
		var doc struct{ Certificate struct{ Complete bool } }
		err := json.Unmarshal([]byte(r.stdout), &doc)
		said[i] = verdict{doc.Certificate.Complete && err == nil, r.String()}
		if (r.code == 0) != said[i].complete {
			c.t.Error(r)
		}
	}
	after := c.there()
	for i, q := range qs {
		was, is := false, false
		for k, v := range c.vols {
			mine := q.of != nil && q.of(k, v)
			was, is = was || mine && before[k], is || mine && after[k]
		}
		switch {
		case said[i].complete && is:
			c.t.Errorf("the certificate of %s is complete, and bytes of it are there: %+v\n%s", q.asked, after, said[i].text)
		case said[i].complete:
			c.complete++
			c.exact++
		case was || q.upTo:
			c.exact++
		default:
			c.loose++
			excused := func(why string) bool { return strings.Contains(said[i].text, why) }
			if settled && !slices.ContainsFunc([]string{`"up_to":true`, `"state":"shown"`, "not found"}, excused) {
				c.t.Errorf("the certificate of %s is not complete, and no byte of it is there\n%s", q.asked, said[i].text)
			}
		}
	}
}
