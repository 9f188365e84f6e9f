package chain

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"slatefs/alloc"
	"slatefs/chain/catalog"
	"slatefs/chain/codec"
	"slatefs/chain/evidence"
	"slatefs/chain/journal"
	"slatefs/chain/meta"
	"slatefs/chain/omap"
	"slatefs/chain/runs"
	"slatefs/chain/super"
)

// update writes the golden files. A version is never edited: it is for a new version only, whose files have its number.
var update = flag.Bool("update", false, "write the golden files of a new version of the format")

var goldenTime = time.Unix(0, 1_700_000_000_123_456_789)

func goldenTree(n uint64) meta.Tree {
	return meta.Tree{Root: meta.Ptr{Addr: alloc.BlockID(100 + n), Twin: alloc.BlockID(200 + n), Sum: 0x1122334455667788 + n}, Height: 2, Entries: 300 + n, Weight: 400 + n}
}

// goldenMap is a map whose root is a leaf of 13 bits.
func goldenMap() meta.Map {
	var b [meta.MapSize]byte
	b[0], b[8], b[16] = 13, 3, 77
	meta.Ptr{Addr: 500, Birth: 4, Sum: 0x99}.Marshal(b[24:])
	m, err := meta.UnmarshalMap(b[:])
	if err != nil {
		panic(err)
	}
	return m
}

func goldenSuper() super.Block {
	return super.Block{
		Generation: 0x0102030405060708, UUID: [16]byte{0: 0xaa, 15: 0xbb}, Compatible: 0xc0, ReadOnly: 0,
		Geometry: super.Geometry{
			Blocks: 2048, GroupBlocks: 256, ExtentBlocks: 16, RingOff: 8192, Ring: 65536, Unit: 512, Window: 64,
		},
		At:        journal.Pos{Seq: 11, Off: 512, Sum: 13},
		StoreRoot: meta.Ptr{Addr: 21, Twin: 22, Sum: 23}, GroupTable: goldenTree(1), Catalog: goldenTree(2),
		LastLayer: 10, LastJob: 9, LastIno: 12, Made: goldenTime, Name: "golden",
	}
}

func encodeRecord(r record) []byte {
	e := codec.Encoder{}
	e.Byte(kindOf(r))
	r.encode(&e)
	return e.B
}

type goldenRecord struct {
	name string
	rec  record
}

// goldenRecords has one record of each kind, every field set to a value of its own.
func goldenRecords() []goldenRecord {
	rs := []alloc.Run{{Start: 1000, Len: 16}, {Start: 1 << 39, Len: 1}}
	old := []runs.Run{{Dev: 2000, Len: 3, Birth: 4}, {Dev: 1 << 39, Len: 1, Birth: 1<<48 - 1}}
	return []goldenRecord{
		{"claim", &recClaim{rs}},
		{"unclaim", &recUnclaim{rs}},
		{"map", &recMap{layer: 5, lb: 1 << 36, n: 300, dev: 1 << 39, clean: true, old: old, size: 1 << 48}},
		{"dirty", &recDirtyPlain{2, rs}},
		{"erased", &recErasedPlain{7, meta.Key{Hi: 5, Lo: 900}, rs, []alloc.Run{{Start: 3, Len: 4}}, goldenTime, true, goldenHow}},
		{"seal", &recSeal{7, true}},
		{"grant", &recGrant{alloc.Run{Start: 512, Len: 256}}},
		{"put", &recPut{key: meta.Key{Hi: 1<<56 | 2, Lo: 3}, val: []byte("value")}},
		{"put-delete", &recPut{key: meta.Key{Hi: 2<<56 | 1, Lo: 99}}},
		{"head", &recHead{2, 5, 1 << 30, goldenTime}},
		{"freeze", &recFreeze{vols: []Ino{2, 300}, name: "daily", when: goldenTime, who: "uid 0"}},
		{"rollback", &recRollback{2, 5, goldenTime, "uid 0"}},
		{"unname", &recUnname{layer: 5, held: true, when: goldenTime, who: "uid 0"}},
		{"destroy", &recDestroy{2, []LayerID{5, 6}, RootIno, goldenTime, "uid 0"}},
		{"detach", &recDetach{5, 8192, 1 << 30, 4000, goldenTime}},
		{"walk", &recWalk{8, 8192, old, true}},
		{"resize", &recResize{5, 1 << 40}},
		{"rename", &recRename{5, "weekly"}},
		{"recover", &recRecover{goldenTime}},
		{"reap", &recReap{layer: 5}},
		{"answer", &recAnswer{1 << 50, 17, 300}},
		{"sweep", &recSweep{layer: 5, when: goldenTime, runs: old}},
		{"job", &recJob{2, goldenTime}},
		{"home", &recHome{300, RootIno}},
		{"first", &recFirst{7}},
		{"revive", &recRevive{layer: 5, name: "weekly"}},
		{"forget", &recForget{[]meta.Key{{Hi: 13<<56 | 7}, {Hi: 14<<56 | 2, Lo: 20000}}}},
		{"extend", &recExtend{1 << 39, 1 << 38, goldenTime}},
		{"reduce", &recReduce{1 << 38}},
		{"apart", &recApart{7, old, []runs.Run{{Dev: 3000, Len: 2, Birth: 5}}, goldenTime, true, goldenHow}},
		{"dirty-born", &recDirty{2, 5, rs}},
		{"erased-born", &recErased{7, meta.Key{Hi: 5, Lo: 900}, old, []runs.Run{{Dev: 3, Len: 4, Birth: 5}}, goldenTime, true, goldenHow}},
		{"begin", &recBegin{11, 300}},
		{"ended", &recEnded{2, 1000, 300, "d/disk.raw", "uid 0", goldenTime, true}},
		{"copied", &recCopied{5, 9, 2}},
		{"closed", &recClosed{2, "d/disk.raw", true, []closedAccount{{5, 300}, {9, 1}}, goldenTime, goldenTime.Add(1)}},
		{"day", &recDay{true, 20000, 2}},
		{"cut", &recCut{goldenSum(), 7, goldenTime}},
		{"gone", &recGone{[]goneRow{{meta.Key{Hi: 16<<56 | 300}, 2}, {meta.Key{Hi: 13<<56 | 7}, 1}}}},
		{"signed", &recSigned{goldenSigned()}},
		{"shed", &recShed{2, 8, []LayerID{5, 6}, RootIno, goldenTime, "uid 0"}},
		{"home-some", &recHomeSome{300, RootIno}},
		{"holes", &recHoles{7, meta.Key{Hi: 5, Lo: 20000}}},
		{"event", &recEvent{300, 45, 1, goldenEvent().marshal()}},
		{"tag", &recTag{300, true, "backup", goldenTime}},
		{"tag-off", &recTag{layer: 300, tag: "backup", when: goldenTime}},
	}
}

var goldenHow = How{Method: "overwrite", Verify: "full", Program: "slatefs 1", Device: "ino-1", Releases: true}

func goldenDestroyed() *destroyed {
	return &destroyed{
		vol: 2, layer: 5, dir: 300, name: "daily", path: "d/disk.raw", size: 1 << 40, when: goldenTime, until: goldenTime.Add(1), who: "uid 0",
	}
}

func goldenLog() *evidence.Row {
	return &evidence.Row{
		Kind: evidence.Job, Number: 7, Volume: 2, Path: "disk.raw", Name: "daily", Layers: []LayerID{5, 300}, Reason: reasonSnapshot, Who: "uid 0", None: true,
		Freed: 300, Erased: 200, Released: 1, Kept: 100, KeptBy: "clone", How: goldenHow, Since: goldenTime, First: goldenTime.Add(1), Last: goldenTime.Add(2),
	}
}

func goldenAccount() *account {
	return &account{vol: 2, written: 300, zeroed: 200, released: 1, sealed: true, from: goldenTime, last: goldenTime.Add(1)}
}

func goldenVolume() *volumeAccount {
	return &volumeAccount{
		closed: 7, written: 300, from: goldenTime, last: goldenTime.Add(1), end: 9, ended: goldenTime.Add(2), path: "d/disk.raw", dir: 300, uid: 1000, who: "uid 0",
	}
}

func goldenSum() evidence.Summary {
	return evidence.Summary{
		At: evidence.Head{Seq: 300, Hash: evidence.Digest(nil)}, Before: 2, Exported: 301, From: goldenTime, To: goldenTime.Add(1),
		Freed: 300, Erased: 200, Released: 1, Unclaimed: 2, Kept: 100,
	}
}

func goldenSigned() evidence.Signature {
	return evidence.SignHead(ed25519.NewKeyFromSeed(make([]byte, 32)), emptyPool().uuid, evidence.Head{Seq: 300, Hash: evidence.Digest(nil)}, goldenTime)
}

func goldenChain() *logChain {
	return &logChain{head: evidence.Head{Seq: 400, Hash: evidence.Digest(nil)}, cut: goldenSum(), gone: 299, old: 7, signed: 3}
}

type goldenRow struct {
	name string
	kind catalog.Kind
	val  []byte
}

// goldenRows has one row of each kind that has a value of more than a byte.
func goldenRows() []goldenRow {
	p := emptyPool()
	file := inode{
		typ: TypeFile, mode: 0o640, uid: 1000, gid: 100, parent: 1, name: "disk.raw",
		mtime: goldenTime, ctime: goldenTime.Add(1), btime: goldenTime.Add(2), immutable: true, kept: true,
	}
	dir := inode{typ: TypeDir, mode: 0o755, mtime: goldenTime, ctime: goldenTime, btime: goldenTime, entries: 5, dirs: 2}
	link := inode{typ: TypeSymlink, mode: 0o777, parent: 1, name: "to", mtime: goldenTime, link: 8}
	l := &layer{
		id: 9, parent: p.tree.layers[5], vol: 2, name: "daily", named: true, size: 1 << 40, own: 6, refer: 7, lostHere: 3, created: goldenTime, who: "uid 0",
		was: origin{vol: 2, path: "disk.raw", none: true},
	}
	l.lost.Trees = []meta.Tree{goldenTree(3), goldenTree(4)}
	lr := rowOf(l)
	gone := rowOf(&layer{id: 10, parent: p.tree.layers[5], dir: 300, own: 6, refer: 7, created: goldenTime})
	lined := rowOf(&layer{id: 9, parent: p.tree.layers[5], vol: 2, created: goldenTime, line: []span{{300, 2, 5, true}, {2, 7, 9, false}}, wrote: true})
	tagged := rowOf(&layer{
		id: 9, parent: p.tree.layers[5], vol: 2, name: "auto-2026-11-29T1200Z", named: true, created: goldenTime, who: whoAuto,
		tags: []SnapTag{{"backup", goldenTime}, {"audit-7", goldenTime.Add(1)}},
	})
	j := &job{id: 8, vol: 2, volume: "disk.raw", layer: "daily", reason: reasonSnapshot, who: "uid 0", since: goldenTime, freshN: 1, readyN: 2, badN: 3, freed: 10, erased: 4}
	j.cursor.Hi, j.cursor.Lo = 4, 1000
	j.story = story{
		layers: []LayerID{9, 300}, kept: 0, none: true, rank: 3, released: 1, how: goldenHow, begun: goldenTime, last: goldenTime.Add(1),
	}
	keeps := &job{id: 8, volume: "d", freed: 300, story: story{kept: 300, keptBy: "clone"}}
	j.fresh.Trees, j.ready.Trees, j.bad.Trees = []meta.Tree{goldenTree(5)}, []meta.Tree{goldenTree(6)}, []meta.Tree{goldenTree(7)}
	kr := rowOfJob(keeps)
	left := &job{id: 8, reason: reasonRecovery, freed: 3, freshN: 3}
	rr := rowOfJob(left)
	jr := rowOfJob(j)
	parted := &job{id: 8, volume: "d", freed: 300, readyN: 300}
	parted.apart.Set(omap.Key{Hi: 4, Lo: 1000}, 3)
	parted.apart.Set(omap.Key{Hi: 1<<48 - 1, Lo: 1 << 39}, 1)
	pr := rowOfJob(parted)
	holed := &job{id: 8, volume: "d", freed: 300, readyN: 300, holes: holes{upTo: omap.Key{Hi: 5, Lo: 20000}, bad: true}}
	hr := rowOfJob(holed)
	late := deadline{within: 4 * time.Hour, late: 300, longest: 5 * time.Hour}
	dr := rowOfJob(&job{id: 8, volume: "d", freed: 300, readyN: 300, story: story{deadline: late}})
	lateLog := evidence.Row{Volume: 2, Path: "d", Reason: reasonVolume, Freed: 300, Erased: 300, Since: goldenTime, Deadline: late.outcome()}
	chained := append(bytes.Repeat([]byte{7}, 32), goldenLog().Marshal()...)
	signed := goldenSigned()
	wr2 := rowOf(&layer{id: 9, parent: p.tree.layers[5], dir: 300, was: origin{vol: 2, path: "d", within: time.Hour}})
	w := &walk{id: 8, layer: p.tree.layers[5], job: p.jobs.all[7], burial: true, next: 8192, pages: 4096}
	wr := rowOfWalk(w)
	ans := answers{all: []recAnswer{{1, 2, 3}, {1 << 50, 0, 300}}}
	return []goldenRow{
		{"inode-file", catalog.Inode, file.marshal()},
		{"inode-dir", catalog.Inode, dir.marshal()},
		{"inode-symlink", catalog.Inode, link.marshal()},
		{"name", catalog.Name, marshalNames([]nameEntry{{"disk.raw", 2, TypeFile}, {"d", 300, TypeDir}})},
		{"layer", catalog.Layer, lr.marshal(goldenMap())},
		{"layer-home", catalog.Layer, gone.marshal(goldenMap())},
		{"property", catalog.Property, marshalProp(propRefreservation, "auto")},
		{"job", catalog.Job, jr.marshal()},
		{"job-keeps", catalog.Job, kr.marshal()},
		{"walk", catalog.Walk, wr.marshal(goldenMap())},
		{"drops", catalog.Drop, marshalTrees([]meta.Tree{goldenTree(8)})},
		{"window", catalog.Window, marshalRuns([]alloc.Run{{Start: 1000, Len: 16}})},
		{"answers", catalog.Answer, marshalAnswers(ans.last())},
		{"log", catalog.Log, goldenLog().MarshalLine()},
		{"orphan", catalog.Orphan, (spot{300, "disk.raw", "d/disk.raw", "uid 0"}).marshal()},
		{"destroyed", catalog.Destroyed, goldenDestroyed().marshal()},
		{"group", 0, groupRow{1, alloc.InUse, alloc.Counts{InUse: 1, Claimed: 2, Meta: 3, Clean: 250}, meta.Ptr{Addr: 9, Twin: 10, Sum: 11}}.marshal()},
		{"group-uniform", 0, groupRow{n: 1, state: alloc.Clean, counts: alloc.Counts{Clean: 256}}.marshal()},
		{"entry-blocks", 0, runs.Entry{Len: 1 << 20}.Marshal()},
		{"entry-page", 0, runs.Entry{Len: 1, Page: true}.Marshal()},
		{"job-apart", catalog.Job, pr.marshal()},
		{"job-deadline", catalog.Job, dr.marshal()},
		{"log-deadline", catalog.Log, lateLog.MarshalLine()},
		{"layer-deadline", catalog.Layer, wr2.marshal(goldenMap())},
		{"layer-line", catalog.Layer, lined.marshal(goldenMap())},
		{"job-recovery", catalog.Job, rr.marshal()},
		{"account", catalog.Account, goldenAccount().marshal()},
		{"account-of-volume", catalog.OfVolume, goldenVolume().marshal()},
		{"elsewhere", catalog.Elsewhere, marshalElsewhere(span{vol: 2, from: 5, to: 9})},
		{"place", catalog.Place, marshalPlace(300)},
		{"chain-state", 0, goldenChain().marshal()},
		{"chain", catalog.Chain, chained},
		{"signed", catalog.Signed, signed.Marshal()},
		{"job-holes", catalog.Job, hr.marshal()},
		{"accounts-begin", catalog.OfVolume, marshalBegin(11, 300, 5)},
		{"event", catalog.Event, goldenEvent().marshal()},
		{"event-of-pool", catalog.Event, (&Event{Time: goldenTime, Last: goldenTime, Count: 1, Kind: "mounted"}).marshal()},
		{"events-state", 0, marshalEvents(300, 45)},
		{"layer-tags", catalog.Layer, tagged.marshal(goldenMap())},
	}
}

func goldenEvent() *Event {
	return &Event{
		Time: goldenTime, Last: goldenTime.Add(time.Minute), Count: 7, Kind: "writers-refused",
		Object: uuid.UUID{0: 0xaa, 15: 0xbb}, Path: "d/disk.raw", Text: "no space", Numbers: []EventNumber{{"bytes", 1 << 40}, {"available", 0}},
	}
}

// golden compares lines with a golden file, or writes it.
func golden(t *testing.T, file string, lines []string) {
	t.Helper()
	path := filepath.Join("testdata", file)
	text := strings.Join(lines, "\n") + "\n"
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	have := strings.Split(text, "\n")
	for i, line := range strings.Split(string(want), "\n") {
		if i >= len(have) || have[i] != line {
			t.Fatalf("%s, line %d: the format changed\nfile: %s\nnow:  %s", path, i+1, line, have[min(i, len(have)-1)])
		}
	}
	if text != string(want) {
		t.Fatalf("%s: %d lines are not in the file", path, len(have))
	}
}

func TestGoldenSuper(t *testing.T) {
	s := goldenSuper()
	b, err := s.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "super-v1.hex", strings.Split(strings.TrimSpace(hex.Dump(b)), "\n"))
	var back super.Block
	if err := back.Unmarshal(b); err != nil || !reflect.DeepEqual(back, s) {
		t.Errorf("%+v\nread back: %+v, %v", s, back, err)
	}
	s.FeatureNames = "checksums, wide runs"
	if b, err = s.Marshal(); err != nil {
		t.Fatal(err)
	}
	golden(t, "super-v1-features.hex", strings.Split(strings.TrimSpace(hex.Dump(b)), "\n"))
	if err := back.Unmarshal(b); err != nil || !reflect.DeepEqual(back, s) {
		t.Errorf("%+v\nread back: %+v, %v", s, back, err)
	}
}

func TestGoldenRecords(t *testing.T) {
	var lines []string
	seen := map[byte]bool{}
	for _, r := range goldenRecords() {
		b := encodeRecord(r.rec)
		seen[kindOf(r.rec)] = true
		lines = append(lines, fmt.Sprintf("%s %x", r.name, b))
		rs, err := decodeAll(b)
		if err != nil || len(rs) != 1 || !reflect.DeepEqual(rs[0], r.rec) {
			t.Errorf("%s: %+v\nread back: %+v, %v", r.name, r.rec, rs, err)
		}
	}
	for k := byte(0); k < 255; k++ {
		if known := newRecord(k) != nil; known != seen[k] {
			t.Errorf("record kind %d: known %v, in the golden file %v", k, known, seen[k])
		}
	}
	golden(t, "records-v1.txt", lines)
}

func TestGoldenRows(t *testing.T) {
	var lines []string
	for _, r := range goldenRows() {
		lines = append(lines, fmt.Sprintf("%s %d %x", r.name, r.kind, r.val))
	}
	golden(t, "rows-v1.txt", lines)
	p := emptyPool()
	for _, r := range goldenRows() {
		var err error
		var again []byte
		switch r.kind {
		case catalog.Inode:
			var n *inode
			if n, err = parseInode(r.val); err == nil {
				again = n.marshal()
			}
		case catalog.Layer:
			if _, err = p.persist.loadLayer(9, r.val); err == nil {
				l := p.tree.layers[9]
				l.parent = p.tree.layers[5]
				row := rowOf(l)
				again = row.marshal(l.top.Base())
			}
		case catalog.Job:
			if err = p.persist.loadJob(8, r.val); err == nil {
				j := p.jobs.all[8]
				row := rowOfJob(j)
				again = row.marshal()
			}
		case catalog.Walk:
			if err = p.persist.loadWalk(8, r.val); err == nil {
				row := rowOfWalk(p.tree.walks[8])
				again = row.marshal(row.source.Base())
			}
		case catalog.Log:
			var l *evidence.Row
			if l, err = evidence.UnmarshalLine(evidence.Job, 7, r.val); err == nil {
				again = l.MarshalLine()
			}
		case catalog.Chain:
			o := logged{key: catalog.Key(catalog.Chain, 9)}
			if err = o.read(r.val); err == nil {
				again = append(o.entry.Prev[:], o.row.Marshal()...)
			}
		case catalog.Signed:
			var s evidence.Signature
			if s, err = evidence.UnmarshalSignature(r.val); err == nil {
				again = s.Marshal()
			}
		case catalog.Orphan:
			var o spot
			if err = o.unmarshal(r.val); err == nil {
				again = o.marshal()
			}
		case catalog.Destroyed:
			var d destroyed
			if err = d.unmarshal(r.val); err == nil {
				again = d.marshal()
			}
		case catalog.Event:
			var e Event
			if err = e.unmarshal(r.val); err == nil {
				again = e.marshal()
			}
		case catalog.Account:
			var a account
			if err = a.unmarshal(r.val); err == nil {
				again = a.marshal()
			}
		case catalog.Elsewhere:
			var s span
			if s, err = parseElsewhere(meta.Key{Lo: 5}, r.val); err == nil {
				again = marshalElsewhere(s)
			}
		case catalog.Place:
			var up Ino
			if up, err = parsePlace(r.val); err == nil {
				again = marshalPlace(up)
			}
		case catalog.OfVolume:
			if r.name == "accounts-begin" {
				var from LayerID
				var before Ino
				var n int64
				if from, before, n, err = parseBegin(r.val); err == nil {
					again = marshalBegin(from, before, n)
				}
				break
			}
			var v volumeAccount
			if err = v.unmarshal(r.val); err == nil {
				again = v.marshal()
			}
		case catalog.Name, catalog.Link, catalog.Xattr, catalog.Property, catalog.Drop, catalog.Window, catalog.Answer, catalog.Daily,
			catalog.Closing:
			continue
		default: // not a row of the catalog
			continue
		}
		if err != nil || !bytes.Equal(again, r.val) {
			t.Errorf("%s: %x\nread and written: %x, %v", r.name, r.val, again, err)
		}
	}
}

// TestFormatTellsRecords: the table of records in docs/format.md has the kinds of the program, by number and name.
func TestFormatTellsRecords(t *testing.T) {
	doc, err := os.ReadFile("../docs/format.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(doc), "\n### Records\n")
	told := map[int]string{}
	for line := range strings.Lines(section) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			continue
		}
		if n, err := strconv.Atoi(strings.TrimSpace(cells[1])); err == nil {
			told[n] = strings.TrimSpace(cells[2])
		}
	}
	for n, k := range kinds {
		if told[n] != k.name {
			t.Errorf("record kind %d is %q, in docs/format.md %q", n, k.name, told[n])
		}
		delete(told, n)
	}
	for n, name := range told {
		t.Errorf("docs/format.md tells of record kind %d, %q, and there is none", n, name)
	}
}
