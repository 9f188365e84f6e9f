package chain

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"slatefs/chain/catalog"
	"slatefs/chain/codec"
	"slatefs/chain/meta"
	"slatefs/chain/super"
)

// inode is the row of a file, directory or symlink. The size of a file is its head's.
type inode struct {
	typ                 FileType
	mode, uid, gid      uint32
	parent              Ino // 0: an orphan, unlinked and still open
	name                string
	mtime, ctime, btime time.Time
	atime               time.Time // if atimeSet: reads don't change it
	atimeSet            bool
	immutable           bool
	kept                bool   // preallocated
	entries             uint64 // of a directory
	dirs                uint64 // directories among them
	link                int64  // length of a symlink's target
	row                 []byte // as it is in the catalog; nil: it is not there
}

const (
	flagImmutable = 1 << iota
	flagKept
	flagAtime // the row ends with an access time
)

func (n *inode) marshal() []byte {
	e := codec.Encoder{}
	e.Byte(byte(n.typ))
	e.Uint(uint64(n.mode))
	e.Uint(uint64(n.uid))
	e.Uint(uint64(n.gid))
	e.Uint(uint64(n.parent))
	e.Str(n.name)
	e.Time(n.mtime)
	e.Time(n.ctime)
	e.Time(n.btime)
	var flags uint64
	if n.immutable {
		flags |= flagImmutable
	}
	if n.kept {
		flags |= flagKept
	}
	if n.atimeSet {
		flags |= flagAtime
	}
	e.Uint(flags)
	e.Uint(n.entries)
	e.Uint(n.dirs)
	e.Int(n.link)
	if n.atimeSet {
		e.Time(n.atime)
	}
	return e.B
}

func parseInode(b []byte) (*inode, error) {
	d := codec.Decoder{B: b}
	n := &inode{typ: FileType(d.Byte()), mode: d.Uint32(), uid: d.Uint32(), gid: d.Uint32(), row: b}
	n.parent, n.name = Ino(d.Uint()), d.Str()
	n.mtime, n.ctime, n.btime = d.Time(), d.Time(), d.Time()
	flags := d.Uint()
	n.immutable, n.kept, n.atimeSet = flags&flagImmutable != 0, flags&flagKept != 0, flags&flagAtime != 0
	n.entries, n.dirs, n.link = d.Uint(), d.Uint(), d.Int()
	if n.atimeSet {
		n.atime = d.Time()
	}
	if err := wrapCorrupt(d.Done()); err != nil {
		return nil, err
	}
	if !n.typ.known() || flags&^(flagImmutable|flagKept|flagAtime) != 0 {
		return nil, fmt.Errorf("inode of type %d, flags %#x: %w", n.typ, flags, ErrCorrupt)
	}
	if n.name != "" { // the root and orphans have none
		if err := checkName(n.name); err != nil {
			return nil, fmt.Errorf("inode: %w: %w", err, ErrCorrupt)
		}
	}
	return n, nil
}

// inode reads a row. The plan lock is held.
func (nm *nameTable) inode(ino Ino) (*inode, error) {
	nm.mu.assertHeld()
	nm.mu.step(1)
	v, ok, err := nm.cat.Get(catalog.Key(catalog.Inode, uint64(ino)))
	if err != nil {
		return nil, fmt.Errorf("inode %d: %w", ino, wrapCorrupt(err))
	}
	if !ok {
		return nil, fmt.Errorf("inode %d: %w", ino, ErrGone)
	}
	n, err := parseInode(v)
	if err != nil {
		return nil, fmt.Errorf("inode %d: %w", ino, err)
	}
	return n, nil
}

func (nm *nameTable) putInode(ino Ino, n *inode) error {
	r := recPut{key: catalog.Key(catalog.Inode, uint64(ino)), val: n.marshal(), was: n.row}
	n.row = r.val
	return nm.commits.do(&r)
}

// wrote notes that the volume was written at that time. The plan lock is held.
func (v *Volume) wrote(when time.Time) {
	v.p.mu.assertHeld()
	if v.mtime.IsZero() {
		v.p.names.aged = append(v.p.names.aged, v)
	}
	v.mtime = when
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// Names. A directory's entries lie under the hash of their name; a row holds all that share a hash.

// MaxName bounds the bytes of a name in a directory; with a snapshot's name and the @ between it must fit as well.
const MaxName = 255

// SnapDir is the name of the directory of snapshots that every directory has.
const SnapDir = ".snap"

func checkName(name string) error {
	switch {
	case name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00"):
		return fmt.Errorf("name %q: %w", name, ErrInvalid)
	case len(name) > MaxName:
		return fmt.Errorf("name of %d bytes, at most %d: %w", len(name), MaxName, ErrNameTooLong)
	case name == SnapDir:
		return fmt.Errorf("%s is the directory of snapshots: %w", SnapDir, ErrPerm)
	}
	return nil
}

// CheckSnapName refuses what is no name of a snapshot, by ErrInvalid: letters, digits and -_.: and spaces are, up to 128 bytes, with
// nothing that a shell or a path would read, as in zfs.
func CheckSnapName(name string) error {
	if name == "" || len(name) > 128 {
		return fmt.Errorf("snapshot name of %d bytes, 1 to 128: %w", len(name), ErrInvalid)
	}
	for _, r := range name {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("-_.: ", r):
		default:
			return fmt.Errorf("snapshot name %q: only letters, digits and -_.: %w", name, ErrInvalid)
		}
	}
	return nil
}

// CheckPoolName refuses what is no name of a pool, by ErrInvalid: see super.CheckName.
func CheckPoolName(name string) error {
	if err := super.CheckName(name); err != nil {
		return fmt.Errorf("%s: %w", strings.TrimSuffix(err.Error(), ": "+super.ErrInvalid.Error()), ErrInvalid)
	}
	return nil
}

// nameHash is the cookie of an entry too: 62 bits, never 0.
func nameHash(name string) uint64 { return xxhash.Sum64String(name)>>2 | 1 }

func nameKey(dir Ino, name string) meta.Key {
	return meta.Key{Hi: catalog.Key(catalog.Name, uint64(dir)).Hi, Lo: nameHash(name)}
}

type nameEntry struct {
	name string
	ino  Ino
	typ  FileType
}

func marshalNames(es []nameEntry) []byte {
	if len(es) == 0 {
		return nil
	}
	e := codec.Encoder{}
	e.Uint(uint64(len(es)))
	for _, n := range es {
		e.Str(n.name)
		e.Uint(uint64(n.ino))
		e.Byte(byte(n.typ))
	}
	return e.B
}

func parseNames(b []byte) ([]nameEntry, error) {
	d := codec.Decoder{B: b}
	var es []nameEntry
	for range d.Len() {
		es = append(es, nameEntry{d.Str(), Ino(d.Uint()), FileType(d.Byte())})
	}
	if err := wrapCorrupt(d.Done()); err != nil {
		return nil, err
	}
	for i, e := range es {
		if err := checkName(e.name); err != nil {
			return nil, fmt.Errorf("%w: %w", err, ErrCorrupt)
		}
		twice := slices.ContainsFunc(es[:i], func(o nameEntry) bool { return o.name == e.name })
		if twice || e.ino == 0 || !e.typ.known() {
			return nil, fmt.Errorf("name %q twice (%v), or of inode %d, type %d: %w", e.name, twice, e.ino, e.typ, ErrCorrupt)
		}
	}
	return es, nil
}

func (nm *nameTable) names(dir Ino, name string) ([]nameEntry, error) {
	nm.mu.step(1)
	v, ok, err := nm.cat.Get(nameKey(dir, name))
	if err != nil || !ok {
		return nil, wrapCorrupt(err)
	}
	return parseNames(v)
}

func (nm *nameTable) find(dir Ino, name string) (nameEntry, error) {
	es, err := nm.names(dir, name)
	if err != nil {
		return nameEntry{}, fmt.Errorf("%s in %s: %w", name, nm.pathOf(dir), err)
	}
	for _, e := range es {
		if e.name == name {
			return e, nil
		}
	}
	return nameEntry{}, fmt.Errorf("%s: %w", join(nm.pathOf(dir), name), ErrNotFound)
}

// fits refuses a name whose row has no room for it: names of one hash share a row, and a row that is too long would
// fail the checkpoint. Such names do not meet by chance, but can be made. It is asked before anything is changed.
func (nm *nameTable) fits(dir Ino, name string) error {
	es, err := nm.names(dir, name)
	if err != nil {
		return err
	}
	if len(marshalNames(append(es, nameEntry{name: name})))+nameRoom > meta.MaxValue {
		return fmt.Errorf("%s: too many names of one hash: %w", join(nm.pathOf(dir), name), ErrNoSpace)
	}
	return nil
}

// nameRoom is what the inode numbers of a row, of at most 4 long names or some more short ones, may still grow by.
const nameRoom = 128

// setName adds, changes or (ino 0) removes an entry's row.
func (nm *nameTable) setName(dir Ino, name string, ino Ino, typ FileType) error {
	es, err := nm.names(dir, name)
	if err != nil {
		return err
	}
	var out []nameEntry
	for _, e := range es {
		if e.name != name {
			out = append(out, e)
		}
	}
	if ino != 0 {
		out = append(out, nameEntry{name, ino, typ})
	}
	return nm.commits.do(&recPut{key: nameKey(dir, name), val: marshalNames(out)})
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// pathOf is the path of an inode from the root, for messages and jobs. The plan lock is held.
func (nm *nameTable) pathOf(ino Ino) string {
	nm.mu.assertHeld()
	var parts []string
	if ino == 0 { // of layers whose volume is gone
		return ""
	}
	for at := ino; at != RootIno; {
		n, err := nm.inode(at)
		if err == nil && n.parent == 0 && at == ino {
			if o, ok := nm.lostPlace(ino); ok && o.path != "" {
				return o.path
			}
		}
		if err != nil || n.parent == 0 || len(parts) > 256 {
			return fmt.Sprintf("inode %d", ino)
		}
		parts = append([]string{n.name}, parts...)
		at = n.parent
	}
	return strings.Join(parts, "/")
}

// nameOf is pathOf, and for the root the pool's name.
func (nm *nameTable) nameOf(ino Ino) string {
	if ino == RootIno {
		return "pool " + nm.name
	}
	return nm.pathOf(ino)
}

// xattrKey: 256 parts of a value lie behind a name's hash.
func xattrKey(ino Ino, name string) meta.Key {
	return meta.Key{Hi: catalog.Key(catalog.Xattr, uint64(ino)).Hi, Lo: xxhash.Sum64String(name) &^ 0xff}
}

func dirCount(t FileType) int64 {
	if t == TypeDir {
		return 1
	}
	return 0
}
