package chain

import (
	"bytes"
	"errors"
	"runtime"
	"testing"

	"slatefs/chain/blockdev/devtest"
	"slatefs/chain/catalog"
	"slatefs/chain/evidence"
	"slatefs/chain/ledger"
	"slatefs/chain/meta"
	"slatefs/chain/overlay"
)

// decodeAll is decodeRecords with what it allocated, in bytes.
func decodeAll(b []byte) (rs []record, err error) {
	err = decodeRecords(b, func(r record) error { rs = append(rs, r); return nil })
	return rs, err
}

// FuzzRecords: what decodes encodes to the same bytes again, and nothing allocates much more than there is.
func FuzzRecords(f *testing.F) {
	var all []byte
	for _, r := range goldenRecords() {
		b := encodeRecord(r.rec)
		f.Add(b)
		all = append(all, b...)
	}
	f.Add(all)
	f.Add([]byte{kindOf(&recClaim{}), 0xff, 0xff, 0xff, 0xff, 0x7f})
	f.Add([]byte{kindOf(&recMap{}), 1, 0x80, 0x00, 1, 0, 2, 0, 0}) // an integer that is longer than it must be; a bool that is 2
	f.Fuzz(func(t *testing.T, in []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		rs, err := decodeAll(in)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20+64*uint64(len(in)) {
			t.Fatalf("%d bytes allocated for %d", n, len(in))
		}
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("error of no kind: %v", err)
			}
			return
		}
		var out []byte
		for _, r := range rs {
			out = append(out, encodeRecord(r)...)
		}
		if !bytes.Equal(in, out) {
			t.Fatalf("% x\nis encoded as\n% x", in, out)
		}
	})
}

// FuzzInode: an inode's row says the same when it is written again.
func FuzzInode(f *testing.F) {
	for _, r := range goldenRows() {
		if r.kind == catalog.Inode {
			f.Add(r.val)
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		n, err := parseInode(in)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("error of no kind: %v", err)
			}
			return
		}
		if out := n.marshal(); !bytes.Equal(in, out) {
			t.Fatalf("% x\nis written as\n% x", in, out)
		}
	})
}

// FuzzNames: no row brings a name into a directory that nobody could have made.
func FuzzNames(f *testing.F) {
	for _, r := range goldenRows() {
		if r.kind == catalog.Name {
			f.Add(r.val)
		}
	}
	f.Add(marshalNames([]nameEntry{{"..", 2, TypeFile}}))
	f.Add(marshalNames([]nameEntry{{"a/b", 2, TypeFile}}))
	f.Add(marshalNames([]nameEntry{{".snap", 2, TypeDir}}))
	f.Add(marshalNames([]nameEntry{{"", 2, TypeDir}}))
	f.Add(marshalNames([]nameEntry{{"twice", 2, TypeDir}, {"twice", 3, TypeDir}}))
	f.Fuzz(func(t *testing.T, in []byte) {
		es, err := parseNames(in)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("error of no kind: %v", err)
			}
			return
		}
		for _, e := range es {
			if checkName(e.name) != nil {
				t.Fatalf("name %q", e.name)
			}
		}
		if out := marshalNames(es); len(es) > 0 && !bytes.Equal(in, out) {
			t.Fatalf("% x\nis written as\n% x", in, out)
		}
	})
}

// emptyPool is a pool in memory without a device's content, with the layers and jobs that the golden rows name.
func emptyPool() *Pool {
	s := goldenSuper()
	p := newPool(devtest.New(s.Size(), 512), Options{Now: newClock().now, ReadOnly: true}, s, 0)
	l := &layer{id: 5, top: overlay.Settled(meta.Map{})}
	p.tree.layers[l.id] = l
	p.jobs.all[7] = &job{id: 7}
	return p
}

// FuzzRows: rows of layers, jobs, walks, groups, the window and answers: an error or an object within bounds.
func FuzzRows(f *testing.F) {
	for _, r := range goldenRows() {
		f.Add(byte(r.kind), r.val)
	}
	f.Add(byte(0), groupRow{n: 1}.marshal())
	f.Add(byte(catalog.Property), marshalProp(propQuota, "9223372036854775807"))
	f.Add(byte(catalog.Property), marshalProp(propReservation, "-4096"))
	f.Fuzz(func(t *testing.T, kind byte, in []byte) {
		p := emptyPool()
		var err error
		switch catalog.Kind(kind) {
		case catalog.Layer:
			if _, err = p.persist.loadLayer(9, in); err == nil {
				l := p.tree.layers[9]
				if l.size < 0 || l.size > MaxSize || l.own < 0 || l.refer < 0 {
					t.Fatalf("layer %+v", l)
				}
			}
		case catalog.Job:
			if err = p.persist.loadJob(8, in); err == nil && (p.jobs.dirtyN < 0 || p.jobs.all[8].kept < 0 || p.jobs.all[8].kept*BlockSize < 0) {
				t.Fatalf("%d dirty blocks, %d kept", p.jobs.dirtyN, p.jobs.all[8].kept)
			}
		case catalog.Walk:
			if err = p.persist.loadWalk(8, in); err == nil && (p.tree.walks[8].next < 0 || p.tree.walks[8].pages < 0) {
				t.Fatalf("walk %+v", p.tree.walks[8])
			}
		case catalog.Account:
			var a account
			if err = a.unmarshal(in); err == nil && (a.left() < 0 || a.written < 0) {
				t.Fatalf("account %+v", a)
			}
		case catalog.OfVolume:
			err = new(volumeAccount).unmarshal(in)
		case catalog.Elsewhere:
			var s span
			if s, err = parseElsewhere(elsewhereKey(2, 5), in); err == nil && s.to < s.from {
				t.Fatalf("span %+v", s)
			}
		case catalog.Place:
			_, err = parsePlace(in)
		case catalog.Event:
			var e Event
			if err = e.unmarshal(in); err == nil && (e.Count < 0 || len(e.marshal()) > maxEventRow) {
				t.Fatalf("%+v", e)
			}
		case catalog.Window:
			err = wrapCorrupt(p.persist.loadWindow(0, in))
		case catalog.Answer:
			err = p.names.answers.unmarshal(in)
		case catalog.Property:
			var a ledger.Props
			name, val, perr := parseProp(in)
			takeProp(&a, false, name, val)
			if err = perr; a.Reservation < 0 || a.Quota < 0 || a.Refquota < 0 || a.Refreservation < 0 {
				t.Fatalf("%s=%s: %+v", name, val, a)
			}
		case catalog.Closing:
			return
		case catalog.Log, catalog.Daily:
			var l *evidence.Row
			if l, err = evidence.UnmarshalLine(evidence.Day, 7, in); err == nil && RecordOf("", p.uuid, l).Freed < 0 {
				t.Fatalf("%+v", l)
			}
		case catalog.Chain:
			o := logged{key: catalog.Key(catalog.Chain, 9)}
			if err = o.read(in); err == nil && p.jobs.record(o).Freed < 0 {
				t.Fatalf("%+v", o)
			}
			var c logChain
			if cerr := c.unmarshal(in); cerr == nil && (c.gone > c.cut.At.Seq || c.cut.At.Seq > c.head.Seq || c.cut.Records() < c.cut.Exported) {
				t.Fatalf("%+v", c)
			}
		case catalog.Signed:
			_, err = evidence.UnmarshalSignature(in)
		case catalog.Destroyed:
			if err = p.tree.noteDestroyed(9, in); err == nil && (p.destroyed.rows[9].size < 0 || p.destroyed.rows[9].size > MaxSize) {
				t.Fatalf("%+v", p.destroyed.rows[9])
			}
		case catalog.Orphan:
			var o spot
			err = o.unmarshal(in)
		case catalog.Inode, catalog.Name, catalog.Link, catalog.Xattr, catalog.Drop: // others have their own
		default:
			var r groupRow
			err = r.unmarshal(in)
		}
		if err = wrapCorrupt(err); err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, meta.ErrCorrupt) {
			t.Fatalf("error of no kind: %v", err)
		}
	})
}
