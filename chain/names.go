package chain

import (
	"fmt"
	"time"

	"slatefs/chain/catalog"
	"slatefs/chain/codec"
	"slatefs/chain/fault"
	"slatefs/chain/meta"
	"slatefs/chain/property"
)

// nameTable is the catalog: inodes, names, attributes and properties, and the path of each. It reads and writes rows, and asks
// nobody whether that is allowed.
type nameTable struct {
	*core
	commits   *commitLog
	destroyed *destroyedIndex

	cat      catalog.Table           // mu
	singles  map[catalog.Kind][]byte // structure, mu: rows that every checkpoint compares
	parts    map[meta.Key]int        // structure, mu: catalog rows of each object
	gone     []meta.Key              // mu: rows of objects that ended since the last checkpoint
	answers  answers                 // mu
	aged     []*Volume               // mu: whose time of a write is in no row yet
	policies uint64                  // mu
	going    map[Ino]*fault.Backoff  // mu: inodes that are removed in steps
	nextIno  Ino                     // mu
}

// lostPlace is where an inode without a name had it last.
func (nm *nameTable) lostPlace(ino Ino) (o spot, ok bool) {
	if _, d := nm.destroyed.destroyedVolume(ino); d != nil {
		return spot{d.dir, d.name, d.path, d.who}, true
	}
	v, ok, err := nm.cat.Get(catalog.Key(catalog.Orphan, uint64(ino)))
	return o, ok && err == nil && o.unmarshal(v) == nil
}

// homeOf is the directory that an inode is in, or was when it lost its name.
func (nm *nameTable) homeOf(ino Ino, n *inode) Ino {
	if n.parent == 0 {
		if o, ok := nm.lostPlace(ino); ok {
			return o.dir
		}
	}
	return n.parent
}

func (nm *nameTable) updateDir(dir Ino, d *inode, entries, dirs int64, now time.Time) error {
	d.entries += uint64(entries)
	d.dirs += uint64(dirs)
	d.mtime, d.ctime = now, now
	return nm.putInode(dir, d)
}

func (nm *nameTable) directory(dir Ino) (*inode, error) {
	d, err := nm.inode(dir)
	if err == nil {
		err = nm.notGoing(dir)
	}
	if err != nil {
		return nil, err
	}
	if d.typ != TypeDir {
		return nil, fmt.Errorf("%s: %w", nm.pathOf(dir), ErrNotDir)
	}
	return d, nil
}

// notGoing is the error for who asks for something that is going.
func (nm *nameTable) notGoing(ino Ino) error {
	if _, going := nm.going[ino]; going {
		return fmt.Errorf("inode %d: is no more: %w", ino, ErrGone)
	}
	return nil
}

func (nm *nameTable) eachRow(kind catalog.Kind, load func(uint64, []byte) error) error {
	return nm.cat.Rows(kind, func(n uint64, v []byte, parts int) error {
		nm.parts[catalog.Key(kind, n)] = parts
		return load(n, v)
	})
}

func (nm *nameTable) propRow(ino Ino, name string) (val string, ok bool, err error) {
	nm.mu.step(1)
	row, ok, err := nm.cat.Get(propKey(ino, name))
	if err != nil || !ok {
		return "", false, wrapCorrupt(err)
	}
	key, val, err := parseProp(row)
	return val, key == name, err
}

// unscheduled tells whether what a volume frees now is passed by.
func (nm *nameTable) unscheduled(vol Ino) bool {
	v, _ := nm.nearest(vol, PropErase)
	return v == EraseNone
}

// within is the deadline of what a volume frees now, or (0) of what is nobody's, which is the pool's.
func (nm *nameTable) within(vol Ino) time.Duration {
	if vol == 0 {
		vol = RootIno
	}
	v, ok := nm.nearest(vol, PropDeadline)
	if !ok {
		return 0
	}
	d, err := property.ParseDelay(v)
	if err != nil {
		return 0 // it was checked when it was set
	}
	return d
}

// nearest is a property as it holds for a volume, which may have lost its name: its own, or the nearest directory's above.
func (nm *nameTable) nearest(vol Ino, name string) (val string, ok bool) {
	for at := vol; at != 0; {
		if v, ok, err := nm.propRow(at, name); ok && err == nil {
			return v, true
		}
		if at == RootIno {
			return "", false
		}
		n, err := nm.inode(at)
		if err == nil {
			at = n.parent
		}
		if err == nil && at == 0 { // it has no name any more: the directory's where it was
			o, _ := nm.lostPlace(vol)
			at = o.dir
		}
		if err != nil || at == 0 {
			at = RootIno
		}
	}
	return "", false
}

func (nm *nameTable) xattr(ino Ino, name string) (val []byte, parts int, err error) {
	row, ok, err := nm.cat.Long(xattrKey(ino, name))
	if err != nil {
		return nil, 0, wrapCorrupt(err)
	}
	d := codec.Decoder{B: row}
	if !ok || d.Str() != name || d.Err != nil {
		return nil, 0, fmt.Errorf("inode %d: attribute %s: %w", ino, name, ErrNoAttr)
	}
	return d.B, len(row)/catalog.PartSize + 1, nil
}

func propKey(ino Ino, name string) meta.Key {
	return meta.Key{Hi: catalog.Key(catalog.Property, uint64(ino)).Hi, Lo: nameHash(name)}
}

func marshalProp(key, val string) []byte {
	e := codec.Encoder{}
	e.Str(key)
	e.Str(val)
	return e.B
}

func parseProp(row []byte) (key, val string, err error) {
	d := codec.Decoder{B: row}
	key, val = d.Str(), d.Str()
	return key, val, wrapCorrupt(d.Done())
}

// look looks rows up, so that they are in memory when a change has begun. Whoever needs one says what is wrong with it.
func (nm *nameTable) look(inos ...Ino) {
	for _, ino := range inos {
		_, _ = nm.inode(ino) //nolint:errcheck // see above
	}
}

// brought calls fn, which looks names up and changes nothing, until it misses none: the plan lock, which is held, is given up
// while pages are read.
func (nm *nameTable) brought(fn func()) {
	nm.commits.beginCold(nil)
	defer nm.commits.endCold()
	for fn(); nm.commits.fetchMissed(); {
		fn()
	}
}

// readAll reads the catalog as the last checkpoint left it. The structure lock is held, and not the plan lock.
func (nm *nameTable) readAll() *errand {
	nm.structure.assertHeld()
	er, f := &errand{}, *nm.cat.Family
	f.Fetch = func(p meta.Ptr, decode func([]byte) (any, error)) (any, error) {
		val, err := f.Store.Get(p, decode)
		er.take(p, fetchedPage{val, err})
		return val, err
	}
	for cur := f.Seek(nm.cat.Tree, meta.Key{}); ; {
		if _, _, ok, err := cur.Next(); err != nil || !ok { // whoever looks there says so
			return er
		}
	}
}

// warm looks up what a job of a volume will be told of it, so that it is in memory: its path, and whether it is scheduled.
func (nm *nameTable) warm(ino Ino) {
	nm.within(ino)
	if ino != 0 {
		nm.pathOf(ino)
		nm.unscheduled(ino)
	}
}

// path is pathOf, for who does not hold the plan lock.
func (nm *nameTable) path(ino Ino) string {
	path, _ := lookUp(nm.commits, func() (string, error) { return nm.pathOf(ino), nil }) //nolint:errcheck // there is none
	return path
}

// entriesAfter is one piece of ReadDir; it goes on after next. The plan lock is held.
func (nm *nameTable) entriesAfter(dir Ino, after uint64) (piece []DirEntry, next uint64, more bool, err error) {
	nm.mu.assertHeld()
	if _, err := nm.directory(dir); err != nil {
		return nil, 0, false, err
	}
	hi := catalog.Key(catalog.Name, uint64(dir)).Hi
	var inner error
	at, more, err := nm.cat.ScanSome(meta.Key{Hi: hi, Lo: after + 1}, pieceLen, func(k meta.Key, v []byte) bool {
		if k.Hi != hi {
			return false
		}
		var es []nameEntry
		es, inner = parseNames(v)
		nm.mu.step(len(es))
		for _, e := range es {
			piece = append(piece, DirEntry{e.name, e.ino, e.typ, k.Lo})
		}
		return inner == nil
	})
	if err == nil {
		err = inner
	}
	if err != nil {
		return nil, 0, false, fmt.Errorf("%s: %w", nm.pathOf(dir), wrapCorrupt(err))
	}
	return piece, at.Lo - 1, more && at.Hi == hi, nil
}
