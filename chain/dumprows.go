package chain

import (
	"fmt"
	"time"

	"slatefs/chain/catalog"
	"slatefs/chain/codec"
	"slatefs/chain/meta"
)

// dumpKinds are the words for rows of the catalog, by kind.
var dumpKinds = [...]string{
	catalog.Inode: "inode", catalog.Name: "name", catalog.Link: "link", catalog.Xattr: "xattr", catalog.Layer: "layer", catalog.Job: "job",
	catalog.Walk: "walk", catalog.Property: "property", catalog.Orphan: "orphan", catalog.Drop: "drops", catalog.Window: "window",
	catalog.Answer: "answers", catalog.Log: "log", catalog.Daily: "daily", catalog.Destroyed: "destroyed", catalog.Chain: "chain",
	catalog.Signed: "signed", catalog.Account: "account", catalog.OfVolume: "of-volume", catalog.Closing: "closing",
	catalog.Elsewhere: "elsewhere", catalog.Place: "place", catalog.Event: "event",
}

// The values of rows.
type (
	dumpInode struct {
		Type      int        `json:"type"` // 1 file, 2 directory, 3 symlink
		Mode      uint32     `json:"mode"`
		UID       uint32     `json:"uid"`
		GID       uint32     `json:"gid"`
		Parent    uint64     `json:"parent"`
		Name      string     `json:"name"`
		Mtime     *time.Time `json:"mtime"`
		Ctime     *time.Time `json:"ctime"`
		Btime     *time.Time `json:"btime"`
		Immutable bool       `json:"immutable"`
		Kept      bool       `json:"preallocated"`
		Entries   uint64     `json:"entries"`
	}
	dumpName struct {
		Name  string `json:"name"`
		Inode uint64 `json:"inode"`
		Type  int    `json:"type"`
	}
	dumpLayer struct {
		Parent  uint64     `json:"parent"`
		Volume  uint64     `json:"volume"`
		Name    string     `json:"name"`
		Head    bool       `json:"head"`
		Named   bool       `json:"named"`
		Dead    bool       `json:"dead"`
		Swept   bool       `json:"swept"`
		Kept    bool       `json:"kept"`
		Size    int64      `json:"size"`
		Own     int64      `json:"own"`   // blocks
		Refer   int64      `json:"refer"` // blocks
		Lost    int64      `json:"lost"`  // blocks of the parent's own
		Created *time.Time `json:"created"`
		Who     string     `json:"who"`
		Tags    []string   `json:"tags,omitempty"` // that hold a snapshot
	}
	dumpJob struct {
		Volume uint64     `json:"volume"`
		Path   string     `json:"path"`
		Name   string     `json:"name"` // of the snapshot
		Reason string     `json:"reason"`
		Who    string     `json:"who"`
		Since  *time.Time `json:"since"`
		Fresh  int64      `json:"fresh"` // blocks, as are the next
		Ready  int64      `json:"ready"`
		Bad    int64      `json:"bad"`
		Freed  int64      `json:"freed"`
		Erased int64      `json:"erased"`
		Cursor [2]uint64  `json:"cursor"`
	}
	dumpWalk struct {
		Layer  uint64 `json:"layer"`
		Job    uint64 `json:"job"`
		Burial bool   `json:"burial"`
		Next   int64  `json:"next"`
	}
	dumpProperty struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
)

// rowLine tells a row, and what hangs on it.
func (d *dumper) rowLine(k meta.Key, v []byte) error {
	l := DumpRow{Kind: "row", Of: fmt.Sprintf("kind %d", catalog.KindOf(k)), Number: catalog.NumberOf(k), Lo: k.Lo}
	if kind := int(catalog.KindOf(k)); kind < len(dumpKinds) && dumpKinds[kind] != "" {
		l.Of = dumpKinds[kind]
	}
	value, behind, err := d.value(k, v)
	if l.Value = value; err != nil {
		l.Error, l.Value = err.Error(), nil
		d.lost++
	}
	if l.Value == nil {
		l.Bytes = v
	}
	if err := d.emit(l); err != nil || behind == nil {
		return err
	}
	return behind()
}

// value is what is in a row, and what tells what hangs on it; nil: it has no fields here, or nothing does.
func (d *dumper) value(k meta.Key, v []byte) (value any, behind func() error, err error) {
	n := catalog.NumberOf(k)
	switch catalog.KindOf(k) { //nolint:exhaustive // the others are told as bytes
	case catalog.Inode:
		i, err := parseInode(v)
		if err != nil {
			return nil, nil, err
		}
		return dumpInode{
			Type: int(i.typ), Mode: i.mode, UID: i.uid, GID: i.gid, Parent: uint64(i.parent), Name: i.name, Mtime: whenOf(i.mtime),
			Ctime: whenOf(i.ctime), Btime: whenOf(i.btime), Immutable: i.immutable, Kept: i.kept, Entries: i.entries,
		}, nil, nil
	case catalog.Name:
		es, err := parseNames(v)
		names := []dumpName{}
		for _, e := range es {
			names = append(names, dumpName{e.name, uint64(e.ino), int(e.typ)})
		}
		return names, nil, err
	case catalog.Link:
		return string(v), nil, nil
	case catalog.Property:
		name, val, err := parseProp(v)
		return dumpProperty{name, val}, nil, err
	case catalog.Layer:
		return d.layer(LayerID(n), v)
	case catalog.Job:
		return d.job(n, v)
	case catalog.Walk:
		return d.walk(n, v)
	case catalog.Drop:
		x := codec.Decoder{B: v}
		trees := x.Trees()
		return nil, func() error { return d.listOf(trees, "drops") }, wrapCorrupt(x.Done())
	case catalog.Window:
		x := codec.Decoder{B: v}
		return blockRuns(x.Runs()), nil, wrapCorrupt(x.Done())
	}
	return nil, nil, nil
}

func (d *dumper) layer(id LayerID, v []byte) (any, func() error, error) {
	l, parent, err := parseLayer(id, v)
	if err != nil {
		return nil, nil, err
	}
	m, _ := l.top.Bottom()
	of := "layer " + id.String()
	value := dumpLayer{
		Parent: uint64(parent), Volume: uint64(l.vol), Name: l.name, Head: l.head, Named: l.named, Dead: l.dead, Swept: l.swept, Kept: l.kept,
		Size: l.size, Own: l.own, Refer: l.refer, Lost: l.lostHere, Created: whenOf(l.created), Who: l.who,
	}
	for _, t := range l.tags {
		value.Tags = append(value.Tags, t.Name)
	}
	return value, func() error {
		if err := d.listOf(l.lost.Trees, of+": dead list"); err != nil || l.swept {
			return err
		}
		return d.mapOf(m, of)
	}, nil
}

func (d *dumper) job(id uint64, v []byte) (any, func() error, error) {
	x := codec.Decoder{B: v}
	j := dumpJob{Volume: x.Uint(), Path: x.Str(), Name: x.Str(), Reason: x.Str(), Who: x.Str(), Since: whenOf(x.Time())}
	for _, n := range []*int64{&j.Fresh, &j.Ready, &j.Bad, &j.Freed, &j.Erased} {
		*n = x.Int()
	}
	cursor := x.Key()
	j.Cursor = [2]uint64{cursor.Hi, cursor.Lo}
	parts := [][]meta.Tree{x.Trees(), x.Trees(), x.Trees()}
	if x.Err != nil {
		return nil, nil, wrapCorrupt(x.Err)
	}
	return j, func() error {
		for i, part := range []string{"fresh", "ready", "bad"} {
			if err := d.listOf(parts[i], fmt.Sprintf("job %d: %s", id, part)); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

func (d *dumper) walk(id uint64, v []byte) (any, func() error, error) {
	x := codec.Decoder{B: v}
	w := dumpWalk{Layer: x.Uint(), Job: x.Uint(), Burial: x.Bool(), Next: x.Int()}
	_, m := x.Int(), x.Map()
	if x.Err != nil {
		return nil, nil, wrapCorrupt(x.Err)
	}
	if w.Burial { // what it has behind it may be gone
		return w, nil, nil
	}
	return w, func() error { return d.mapOf(m, fmt.Sprintf("walk %d", id)) }, nil
}
