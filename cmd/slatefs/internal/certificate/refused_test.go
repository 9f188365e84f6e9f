package certificate

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"slatefs/chain/evidence"
	"slatefs/cmd/slatefs/internal/control"
)

// No bit of any form can be changed unseen, and no byte can be added or left out.
func TestFlippedBits(t *testing.T) {
	log, head := logOf(pool, 3)
	for form, whole := range forms(sealed(t, sample(log, head, 2), key)) {
		step := 1
		if testing.Short() {
			step = 13
		}
		for at := 0; at < len(whole); at += step { // one bit of each byte, each of the eight in turn
			b, bit := bytes.Clone(whole), at%8
			b[at] ^= 1 << bit
			if _, err := Read(b); err == nil {
				t.Fatalf("%s: byte %d, bit %d was changed, and nobody sees it", form, at, bit)
			}
		}
		for name, b := range map[string][]byte{
			"a line more": append(bytes.Clone(whole), '\n'), "a line before": append([]byte("\n"), whole...), "the end is missing": whole[:len(whole)-1],
			"CRLF": bytes.ReplaceAll(whole, []byte("\n"), []byte("\r\n")), "nothing": nil,
		} {
			if _, err := Read(b); err == nil {
				t.Errorf("%s: %s is taken", form, name)
			}
		}
	}
}

// What a signer would have to lie about, or a log that is not the one that was signed, is refused although it is signed.
func TestVerifyRefuses(t *testing.T) {
	log, head := logOf(pool, 6)
	foreign, foreignHead := logOf(uuid.UUID{8}, 6)
	short, shortHead := logOf(pool, 4)
	longer, _ := logOf(pool, 8)
	anchorOf := func(id uuid.UUID, h evidence.Head, at time.Time) Anchor {
		return Anchor{id, evidence.SignHead(key, id, h, at)}
	}
	good := func() Document { return sample(log, head, 2, 4) }
	for name, c := range map[string]struct {
		change func(*Document)
		trust  Trust
		want   error
		lacks  string // of what is not proved
	}{
		"nothing is wrong":       {want: nil},
		"another pool's key":     {trust: Trust{Keys: []ed25519.PublicKey{other.Public().(ed25519.PublicKey)}}, want: ErrKey},
		"a head by another key":  {change: func(d *Document) { d.Log.Head = HeadOf(evidence.SignHead(other, pool, head, morning)) }, want: ErrKey},
		"a head of another pool": {change: func(d *Document) { d.Log.Head = HeadOf(evidence.SignHead(key, uuid.UUID{8}, head, morning)) }, want: ErrChain},
		"a removed record": {change: func(d *Document) {
			d.Log.Links.Digests = append(bytes.Clone(d.Log.Links.Digests[:32]), d.Log.Links.Digests[64:]...)
		}, want: ErrChain},
		"an inserted record": {change: func(d *Document) { d.Log.Links.Digests = append(d.Log.Links.Digests, make([]byte, 32)...) }, want: ErrChain},
		"reordered records": {change: func(d *Document) {
			l := bytes.Clone(d.Log.Links.Digests)
			d.Log.Links.Digests = append(append(append([]byte{}, l[32:64]...), l[:32]...), l[64:]...)
		}, want: ErrChain},
		"records in another order": {change: func(d *Document) { d.Records[0], d.Records[1] = d.Records[1], d.Records[0] }, want: ErrChain},
		"a record twice": {change: func(d *Document) {
			d.Records[1], d.Amounts = d.Records[0], AmountsOf([]Record{d.Records[0], d.Records[0]})
		}, want: ErrChain},
		"a record of another place":        {change: func(d *Document) { d.Records[1].Row = log[4].Row }, want: ErrChain},
		"a record that is shown otherwise": {change: func(d *Document) { d.Records[0].Shown.Volume = "tenants/vm-999.raw" }, want: ErrChain},
		"more erased than its row says":    {change: func(d *Document) { d.Records[0].Shown.Erased++; d.Amounts.Erased++ }, want: ErrChain},
		"a bit of a row": {change: func(d *Document) {
			d.Records[0].Row = append(bytes.Clone(d.Records[0].Row[:20]), d.Records[0].Row[21:]...)
		}, want: ErrChain},
		"sums that are not its records'":  {change: func(d *Document) { d.Amounts.Erased += 4096 }, want: ErrClaims},
		"an account that does not add up": {change: func(d *Document) { d.Account = &Account{Written: 2, Zeroed: 1} }, want: ErrClaims},
		"complete, and something is left": {change: func(d *Document) { d.Account = &Account{Written: 2, Zeroed: 1, Left: 1} }, want: ErrClaims},
		"a part of nothing":               {change: func(d *Document) { d.Left = []Part{{State: Shown}} }, want: ErrClaims},
		"a part in no state":              {change: func(d *Document) { d.Left = []Part{{Bytes: 1, State: "gone"}} }, want: ErrClaims},
		"another pool's log": {change: func(d *Document) {
			d.Log.Links, d.Log.Head = LinksOf(foreign, 1), HeadOf(evidence.SignHead(key, pool, foreignHead, morning))
		}, want: ErrChain},
		"a log that began as another pool's": {change: func(d *Document) {
			d.Log.Links, d.Log.Head, d.Log.Renamed = LinksOf(foreign, 1), HeadOf(evidence.SignHead(key, pool, foreignHead, morning)), true
		}, want: nil}, // which the proof says
		"a record from before the log":              {change: func(d *Document) { d.Log.First = 3 }, want: ErrChain},
		"an export with another record":             {trust: Trust{Export: foreign}, want: ErrChain},
		"an export that ends before":                {trust: Trust{Export: short}, lacks: "the export has 0 of"},
		"the whole export":                          {trust: Trust{Export: log}, want: nil},
		"an anchor of the same head":                {trust: Trust{Anchors: []Anchor{anchorOf(pool, head, morning)}}, want: nil},
		"an anchor of before":                       {trust: Trust{Anchors: []Anchor{anchorOf(pool, shortHead, morning)}}, want: nil},
		"an anchor of later":                        {trust: Trust{Anchors: []Anchor{anchorOf(pool, evidence.Head{Seq: 9}, morning.Add(9*time.Hour))}}, lacks: "all 1 anchors of the pool are newer"},
		"a rolled-back log":                         {trust: Trust{Anchors: []Anchor{anchorOf(pool, evidence.Head{Seq: 9}, morning)}}, want: ErrAnchor},
		"an anchor with another hash":               {trust: Trust{Anchors: []Anchor{anchorOf(pool, evidence.Head{Seq: 6}, morning)}}, want: ErrAnchor},
		"an anchor with another one before":         {trust: Trust{Anchors: []Anchor{anchorOf(pool, evidence.Head{Seq: 3}, morning)}}, want: ErrAnchor},
		"an anchor of what it begins after":         {trust: Trust{Anchors: []Anchor{anchorOf(pool, evidence.Head{Seq: 1}, morning)}}, want: ErrAnchor},
		"a newer one of another log, in the export": {trust: Trust{Export: longer, Anchors: []Anchor{anchorOf(pool, evidence.Head{Seq: 7}, morning.Add(9*time.Hour))}}, want: ErrAnchor},
		"an anchor that it does not reach":          {trust: Trust{Anchors: []Anchor{anchorOf(pool, evidence.Head{}, morning)}}, lacks: "that 1 of 1 anchors"},
		"one that the certificate made itself":      {trust: Trust{Anchors: []Anchor{anchorOf(pool, evidence.Head{}, morning), anchorOf(pool, head, morning)}}, lacks: "that 1 of 2 anchors of the pool are of its log, the newest of record 0, "},
		"one before its links, and a newer one":     {trust: Trust{Anchors: []Anchor{anchorOf(pool, evidence.Genesis(pool), morning), anchorOf(pool, shortHead, morning)}}, lacks: "that 1 of 2"},
		"another one that the export reaches":       {trust: Trust{Export: log, Anchors: []Anchor{anchorOf(pool, evidence.Head{}, morning)}}, want: ErrAnchor},
		"one that the export reaches":               {trust: Trust{Export: log, Anchors: []Anchor{anchorOf(pool, evidence.Genesis(pool), morning)}}, want: nil},
		"anchors of another pool":                   {trust: Trust{Anchors: []Anchor{anchorOf(uuid.UUID{8}, foreignHead, morning)}}, want: ErrAnchor},
		"no anchors":                                {trust: Trust{Anchors: []Anchor{}}, want: ErrAnchor},
	} {
		d := good()
		if c.change != nil {
			c.change(&d)
		}
		s, err := Read(sealed(t, d, key).JSON())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if c.trust.Keys == nil {
			c.trust.Keys = trust.Keys
		}
		if proved, err := s.Verify(c.trust); !errors.Is(err, c.want) || err != nil && c.want == nil {
			t.Errorf("%s: %v, want %v (%q)", name, err, c.want, proved)
		} else if lacks := Lacking(proved); len(lacks) > 1 || (len(lacks) == 1) != (c.lacks != "") || c.lacks != "" && !strings.HasPrefix(lacks[0], notProved+c.lacks) {
			t.Errorf("%s: lacks %q, want %q", name, lacks, c.lacks)
		}
	}
}

// A log that forked is not taken on the word of anchors that are not compared, and not on the word of its own.
func TestFork(t *testing.T) {
	log, head := logOf(pool, 8)
	fork, forked := log[:2:2], log[1].Head()
	for range 6 { // from record 3 on
		e := evidence.NewEntry(forked, log[4].Row)
		fork, forked = append(fork, e), e.Head()
	}
	signed := func(e evidence.Entry) Anchor { return Anchor{pool, evidence.SignHead(key, pool, e.Head(), morning)} }
	kept := []Anchor{signed(log[0]), signed(log[4])}
	for name, c := range map[string]struct {
		log    []evidence.Entry
		from   uint64 // of its links
		more   []Anchor
		export []evidence.Entry
		want   error
		proved string
	}{
		"forked, links behind all":            {log: fork, from: 8, proved: "NOT PROVED: that 2 of 2 anchors of the pool are of its log, the newest of record 5, "},
		"forked, an anchor of its own agrees": {log: fork, from: 7, more: []Anchor{signed(fork[5])}, proved: "NOT PROVED: that 2 of 3 anchors of the pool are of its log"},
		"the same, and the exported log":      {log: fork, from: 7, more: []Anchor{signed(fork[5])}, export: fork, want: ErrAnchor},
		"forked, links from the anchor":       {log: fork, from: 6, want: ErrAnchor},
		"genuine, links from the newest":      {log: log, from: 6, proved: "NOT PROVED: that 1 of 2 anchors of the pool are of its log, the newest of record 1, "},
		"the same, and the exported log ":     {log: log, from: 6, export: log, proved: "2 of 2 anchors of the pool were compared, "},
		"genuine, links from the oldest":      {log: log, from: 2, proved: "2 of 2 anchors of the pool were compared, "},
	} {
		d := sample(c.log, c.log[7].Head(), 8)
		d.Log.Links = LinksOf(c.log, c.from)
		proved, err := sealed(t, d, key).Verify(Trust{Keys: trust.Keys, Anchors: append(c.more, kept...), Export: c.export})
		if !errors.Is(err, c.want) || c.want == nil && (err != nil || !strings.HasPrefix(proved[len(proved)-1], c.proved)) {
			t.Errorf("%s: %v, %q", name, err, proved)
		}
	}
	c := NewCollector(Pool{UUID: pool}, evidence.Genesis(pool), nil, []string{"8"})
	c.Reach(5)
	for i, e := range log {
		if err := c.Add(e, control.EraseRecord{ID: uint64(i + 1)}); err != nil {
			t.Fatal(err)
		}
	}
	var d Document
	if c.Fill(&d); d.Log.Links.After != log[4].Head() || len(d.Records) != 1 || c.Head() != head {
		t.Errorf("links after %v, %d records", d.Log.Links.After, len(d.Records))
	}
}
