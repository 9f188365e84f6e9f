package certificate

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"slatefs/chain/evidence"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/show"
)

// Collector goes along a log, from the oldest record that is there, proves that it is one chain, and takes what a certificate is of.
// Nothing is read twice: a log may be long.
type Collector struct {
	Found map[string]bool // which of what was asked for something is of

	Records []Record

	want    map[string][]string // by a job's ID or a UUID: what was asked for
	pool    Pool
	cut     *evidence.Summary
	first   uint64
	renamed bool
	since   *time.Time // of the first record that has a time
	at      evidence.Head
	links   *Links // from the first record that is taken on
	tooMany bool
	reach   *uint64 // the record that links shall go back to
	reached *Links  // from there on
}

// NewCollector begins with a pool's log, behind a record, for IDs of jobs, and UUIDs of volumes, layers or the pool. cut is what is not
// in it any
// more; nil: nothing.
func NewCollector(p Pool, begin evidence.Head, cut *evidence.Summary, asked []string) *Collector {
	c := &Collector{Found: map[string]bool{}, want: map[string][]string{}, pool: p, cut: cut, at: begin, first: begin.Seq + 1}
	c.renamed = begin.Seq == 0 && begin != evidence.Genesis(p.UUID)
	for _, q := range asked {
		c.Take(q, q)
	}
	return c
}

// Head is the last record that was added.
func (c *Collector) Head() evidence.Head { return c.at }

// Reach has the links go back to a record, an anchor's, so that who has that anchor can compare it. If these are too many, they begin
// with the first
// record that is taken, as without.
func (c *Collector) Reach(seq uint64) { c.reach = &seq }

// Add takes the next record. e has its row; a record that is in no chain has just a Shown.
func (c *Collector) Add(e evidence.Entry, shown control.EraseRecord) error {
	wanted := c.Wanted(shown.ID, append([]string{shown.VolumeUUID, shown.PoolUUID.String()}, shown.Layers...)...)
	if c.since == nil {
		c.since = shown.Since
	}
	if e.Seq == 0 {
		if wanted {
			c.Records = append(c.Records, Record{Shown: shown})
		}
		return nil
	}
	next, err := c.at.Follow(e)
	if err != nil {
		return fmt.Errorf("the erase log: %w", err)
	}
	if wanted {
		row, err := evidence.Unmarshal(e.Row)
		if err != nil {
			return fmt.Errorf("the erase log: record %d: %w", e.Seq, err)
		}
		c.Records = append(c.Records, Record{e.Seq, e.Row, control.RecordOf(c.pool.Name, c.pool.UUID, row)})
		if c.links == nil && !c.tooMany {
			c.links = &Links{After: c.at}
		}
	}
	if c.reach != nil && *c.reach == c.at.Seq {
		c.reached = &Links{After: c.at}
	}
	if c.links != nil && !c.links.add(e.Digest) {
		c.links, c.tooMany = nil, true
	}
	if c.reached != nil && !c.reached.add(e.Digest) {
		c.reached, c.reach = nil, nil
	}
	c.at = next
	return nil
}

// Take makes records of these UUIDs, or of the job of an ID, ones of what was asked for as q.
func (c *Collector) Take(q string, keys ...string) {
	for _, k := range keys {
		k = strings.ToLower(k)
		c.want[k] = append(c.want[k], q)
	}
}

// Wanted tells whether something is of what was asked for, by the ID of a job, 0 for none, or UUIDs.
func (c *Collector) Wanted(job uint64, uuids ...string) (yes bool) {
	keys := uuids
	if job != 0 {
		keys = append(keys, strconv.FormatUint(job, 10))
	}
	for _, k := range keys {
		for _, q := range c.want[k] {
			c.Found[q], yes = true, true
		}
	}
	return yes
}

// Fill puts what was collected into a document: the records and what follows from them, and the log, but for the signature of its head.
func (c *Collector) Fill(d *Document) {
	d.Records, d.Log = c.Records, Log{First: c.first, Renamed: c.renamed, Since: c.since, Cut: c.cut, Links: c.links}
	if c.links == nil && !c.tooMany {
		d.Log.Links = &Links{After: c.at}
	}
	if l := d.Log.Links; l != nil && c.reached != nil && c.reached.After.Seq < l.After.Seq {
		d.Log.Links = c.reached
	}
	d.Amounts, d.Method, d.Deadline = AmountsOf(d.Records), MethodOf(d.Records), DeadlineOf(d.Records)
}

// ThingsIn names the volumes and snapshots of records, each once, by the last name that a record has.
func ThingsIn(list []Record) (things []Thing) {
	at := map[string]int{}
	add := func(t Thing) {
		if t.UUID == "" {
			return
		}
		i, ok := at[t.UUID]
		if !ok {
			i, at[t.UUID] = len(things), len(things)
			things = append(things, t)
		}
		things[i] = t
	}
	for _, r := range list {
		e := r.Shown
		switch {
		case e.Snapshot == "" || len(e.Layers) != 1:
		case e.Reason == evidence.ReasonRollback:
			add(Thing{"job", e.Title(), e.Layers[0]})
		default:
			add(Thing{"snapshot", control.Subject(e.Volume, e.Snapshot), e.Layers[0]})
		}
		add(Thing{"volume", e.Volume, e.VolumeUUID})
	}
	return things
}

// MethodOf says in the words of the sample certificate how the blocks of records were erased.
func MethodOf(list []Record) Method {
	methods, verifies, tools := words{}, words{}, words{}
	for _, r := range list {
		if r.Shown.Erased > 0 && r.Shown.Claimed() && r.Counts() {
			methods.add(r.Shown.Method)
			verifies.add(r.Shown.Verify)
			tools.add(r.Shown.Program)
		}
	}
	m := Method{Type: "Clear", Used: "Overwrite", Details: methods.text(methodWords), Tool: tools.text(nil), Verify: "None", Verified: "-"}
	if len(methods) == 0 {
		m.Used, m.Details, m.Tool = methodNone, "nothing was erased", orElse(m.Tool, "-")
		return m
	}
	switch {
	case len(verifies) == 1 && verifies[0] == "full":
		m.Verify, m.Verified = "Full", "every block was read back as zeros after the sync, by the tool; what did not is not counted as erased"
	case len(verifies) == 1 && verifies[0] == "sample":
		m.Verify, m.Verified = "Quick sampling", "the first and last block of each run and one in each MiB were read back as zeros after the sync, by the tool"
	case len(verifies) > 1:
		m.Verify, m.Verified = "Other: "+verifies.text(nil), "what was read back was zeros; the records say what was"
	default:
		m.Verified = "nothing was read back; each write was synced"
	}
	return m
}

// methodNone is said where no record tells of a method.
const methodNone = "None"

// methodWords are what a method does.
var methodWords = map[string]string{
	"overwrite": "overwrite: zeros were written over it, and synced",
	"zeroout":   "zeroout: the device zeroed it (WRITE ZEROES), or the kernel wrote zeros, and it was synced",
	"unmap":     "unmap: the device zeroed it and may have given the space away, promising zeros, and it was synced",
}

// DeadlineOf says whether what was promised of records was kept; empty: nothing was.
func DeadlineOf(list []Record) string {
	promised, late, lateBytes, longest := 0, 0, int64(0), 0.0
	for _, r := range list {
		kept, set := r.Shown.InTime()
		if !set {
			continue
		}
		promised++
		longest = max(longest, r.Shown.Longest)
		if !kept {
			late, lateBytes = late+1, lateBytes+r.Shown.Late
		}
	}
	took := (time.Duration(longest) * time.Second).String()
	switch {
	case promised == 0:
		return ""
	case late == 0:
		return fmt.Sprintf("kept, in all %d records that have one; the longest took %s", promised, took)
	}
	return fmt.Sprintf("NOT kept in %d of %d records: %s were late; the longest took %s", late, promised, show.FormatSize(lateBytes), took)
}

// MethodsWords says what methods do: METHOD, METHOD.
func MethodsWords(methods string) string {
	var w words
	w.add(methods)
	return w.text(methodWords)
}

// Counts tells whether a record is of bytes that no other one has: what closes an account adds up what others say.
func (r Record) Counts() bool { return r.Shown.Kind != "closed" && r.Shown.Kind != "cut" }

// words is a list without doubles, in the order of their coming.
type words []string

func (w *words) add(s string) {
	for _, one := range strings.Split(s, ", ") {
		seen := one == ""
		for _, have := range *w {
			seen = seen || have == one
		}
		if !seen {
			*w = append(*w, one)
		}
	}
}

func (w words) text(meaning map[string]string) string {
	var out []string
	for _, one := range w {
		out = append(out, orElse(meaning[one], one))
	}
	return strings.Join(out, "; ")
}
