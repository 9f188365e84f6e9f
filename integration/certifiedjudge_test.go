package integration

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// left says which writes are on the file under the pool, by the number of the volume.
type left map[int]map[uint64]bool

func (c *certified) there() left {
	c.tool("sync", "-f", c.device)
	b, err := os.ReadFile(c.device)
	must(c.t, err)
	found := left{}
	for i := 0; i+stampSize <= len(b); i += sector {
		if !bytes.HasPrefix(b[i:], stampMagic) {
			continue
		}
		vol := int(binary.LittleEndian.Uint64(b[i+16:]) >> 48)
		if found[vol] == nil {
			found[vol] = map[uint64]bool{}
		}
		found[vol][binary.LittleEndian.Uint64(b[i+8:])] = true
	}
	return found
}

// question is what a certificate is asked of, and whether bytes of it are there.
type question struct {
	asked string
	is    func(left) bool
	known bool // something was written to it: it is found, whether it is there or gone
	job   bool // of blocks of a volume; is tells of all of it
}

// ofVolumes asks of all volumes that are so.
func (c *certified) ofVolumes(asked string, of func(i int, v *certifiedVolume) bool) question {
	q := question{asked: asked, is: func(l left) bool {
		return slices.ContainsFunc(c.numbers(of), func(i int) bool { return len(l[i]) > 0 })
	}}
	q.known = slices.ContainsFunc(c.numbers(of), func(i int) bool { return c.vols[i].wrote || c.vols[i].state == volumeThere })
	return q
}

func (c *certified) numbers(of func(i int, v *certifiedVolume) bool) (list []int) {
	for i, v := range c.vols {
		if of(i, v) {
			list = append(list, i)
		}
	}
	return list
}

// ofSnapshot asks of one that is there: of what was written between the snapshot before it and it, and of what it shows.
func (c *certified) ofSnapshot(i int, s certifiedSnap) question {
	v := c.vols[i]
	file := c.at(path.Join(c.dirs[v.dir], ".snap", v.name+"@"+s.name))
	return question{asked: "/" + c.path(v) + "@" + s.name, known: true, is: func(l left) bool {
		for w := range l[i] {
			if w > s.after && w <= s.upTo {
				return true
			}
		}
		b, err := os.ReadFile(file)
		must(c.t, err)
		return bytes.Contains(b, stampMagic)
	}}
}

func (c *certified) questions() (qs []question) {
	paths := map[string]int{}
	for i, v := range c.vols {
		qs = append(qs, c.ofVolumes("/"+c.path(v), func(k int, _ *certifiedVolume) bool { return k == i }))
		paths[c.path(v)] = i
		if v.state == volumeThere {
			for _, s := range v.snaps {
				qs = append(qs, c.ofSnapshot(i, s))
			}
		}
	}
	for d, name := range c.dirs {
		q := c.ofVolumes("/"+name, func(_ int, v *certifiedVolume) bool { return v.dir == d })
		q.known = true
		qs = append(qs, q)
	}
	for _, uid := range []int{0, 1000, 1001} {
		qs = append(qs, c.ofVolumes(fmt.Sprint("uid:", uid), func(_ int, v *certifiedVolume) bool { return v.uid == uid }))
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
			q := c.ofVolumes(strconv.FormatUint(r.ID, 10), func(k int, _ *certifiedVolume) bool { return k == i })
			q.job = true
			qs = append(qs, q)
		}
	}
	c.rng.Shuffle(len(qs), func(i, j int) { qs[i], qs[j] = qs[j], qs[i] })
	pool := c.ofVolumes(c.name, func(int, *certifiedVolume) bool { return true })
	pool.known = true
	return append([]question{pool}, qs...)
}

// verdict is what a certificate says.
type verdict struct {
	found, complete bool
	left            []certifiedPart
	reasons         []string
	text            string
}

type certifiedPart struct {
	Bytes int64
	State string
	By    string
}

func (c *certified) ask(q question) verdict {
	r := c.try("erase", "certificate", "-j", q.asked, c.name)
	var doc struct {
		Certificate struct {
			Complete bool
			Left     []certifiedPart
			Reasons  []string `json:"incomplete_because"`
		}
	}
	err := json.Unmarshal([]byte(r.stdout), &doc)
	d := doc.Certificate
	v := verdict{err == nil, err == nil && d.Complete, d.Left, d.Reasons, r.String()}
	if (r.code == 0) != v.complete || v.found && v.complete != (len(v.left)+len(v.reasons) == 0) {
		c.t.Error(r)
	}
	if !v.found && q.known {
		c.t.Errorf("nothing is known of %s, to which something was written\n%s", q.asked, v.text)
	}
	return v
}

// judge asks some questions. What was on the file before and is not afterwards was erased meanwhile. settled: nothing is queued.
func (c *certified) judge(some int, settled bool) {
	c.t.Helper()
	qs := c.questions()
	qs = qs[:min(some, len(qs))]
	before := c.there()
	said := make([]verdict, len(qs))
	for i, q := range qs {
		said[i] = c.ask(q)
	}
	after := c.there()
	for i, q := range qs {
		is := q.is(after)
		switch {
		case said[i].complete && is:
			c.t.Errorf("the certificate of %s is complete, and bytes of it are there: %+v\n%s", q.asked, after, said[i].text)
		case said[i].complete:
			c.complete++
			c.exact++
		case q.is(before) || !said[i].found:
			c.exact++
		default:
			c.loose++
			if wrong := c.notExcused(q, said[i]); settled && wrong != "" {
				c.t.Errorf("the certificate of %s is not complete, no byte of it is there, and %s\n%s", q.asked, wrong, said[i].text)
			}
		}
	}
}

// notExcused says what of a certificate that is not complete is false; no byte of what it is of is there, and nothing is queued. It may
// be too careful in one way: blocks that it says are shown are shown, and may have had bytes of it. Where nothing is left in the pool
// there is none.
func (c *certified) notExcused(q question, v verdict) string {
	alone := !slices.ContainsFunc(c.vols, func(v *certifiedVolume) bool { return v.state != volumeGone })
	kept := c.keptIDs()
	for _, p := range v.left {
		switch {
		case alone:
			return "nothing is left in the pool"
		case p.State == "shown":
			if blocks := c.blocksOf(p.By); blocks*block < p.Bytes {
				return fmt.Sprintf("%s shows %d blocks", p.By, blocks)
			}
		case p.State == "destroyed":
			name, _, _ := strings.Cut(p.By, "@")
			if !slices.ContainsFunc(slices.Sorted(maps.Values(kept)), func(k string) bool { return strings.HasPrefix(k, name) }) {
				return fmt.Sprintf("%s is not kept: %v", p.By, kept)
			}
		case p.State == "kept" && q.job:
		default:
			return fmt.Sprintf("nothing is %s", p.State)
		}
	}
	for _, why := range v.reasons {
		careful := strings.Contains(why, "of which more may be left") || strings.Contains(why, "it is not known who wrote")
		if alone || !q.job || !careful {
			return fmt.Sprintf("%q is no reason", why)
		}
	}
	return ""
}

// blocksOf is how many blocks a volume or snapshot has.
func (c *certified) blocksOf(name string) int64 {
	file, snap, of := strings.Cut(name, "@")
	if of {
		file = path.Join(path.Dir(file), ".snap", path.Base(file)+"@"+snap)
	}
	var st unix.Stat_t
	if err := unix.Stat(c.at(file), &st); err != nil {
		c.t.Errorf("%s is said to show something: %v", name, err)
		return 0
	}
	return st.Blocks * 512 / block
}
