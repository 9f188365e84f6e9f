package chain

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"slatefs/chain/catalog"
	"slatefs/chain/codec"
	"slatefs/chain/ledger"
	"slatefs/chain/meta"
)

// XattrFlag is setxattr(2)'s.
type XattrFlag uint8

// The flags; 0 makes or replaces.
const (
	XattrCreate XattrFlag = iota + 1
	XattrReplace
)

// MaxXattr bounds the bytes of an attribute's value, MaxXattrs those of all attributes of an inode, names and values
// together, as file systems of Linux do. What has more already, from before there was this bound, keeps it.
const (
	MaxXattr  = 4 << 10
	MaxXattrs = 64 << 10
)

// An attribute's row is its name, then its value, in parts below the name's hash.

func checkXattr(name string) error {
	if !strings.HasPrefix(name, "user.") || len(name) > MaxName || len(name) == len("user.") {
		return fmt.Errorf("attribute %q: only user.*: %w", name, ErrUnsupported)
	}
	return nil
}

// GetXattr returns the value of a user.* attribute. ErrNoAttr: it has none of that name. ErrGone: there is no inode.
func (p *Pool) GetXattr(ino Ino, name string) ([]byte, error) {
	if err := checkXattr(name); err != nil {
		return nil, err
	}
	return lookUp(p.commits, func() ([]byte, error) {
		v, _, err := p.names.xattr(ino, name)
		if errors.Is(err, ErrNoAttr) {
			if _, gone := p.names.inode(ino); gone != nil {
				return nil, gone
			}
		}
		return v, err
	})
}

// SetXattr sets a user.* attribute. ErrNoSpace: the inode would have more than MaxXattrs bytes of them, or the pool has no
// room. ErrQuota: a directory's quota has none.
func (p *Pool) SetXattr(r Req, ino Ino, name string, val []byte, f XattrFlag) error {
	if err := checkXattr(name); err != nil {
		return err
	}
	if len(val) > MaxXattr {
		return fmt.Errorf("attribute %s: %d bytes, at most %d: %w", name, len(val), MaxXattr, ErrTooBig)
	}
	return p.works.grow(func(now time.Time) (Need, error) {
		_, err := p.names.inode(ino)
		if err == nil {
			err = p.names.notGoing(ino)
		}
		if err != nil {
			return Need{}, err
		}
		_, _, err = p.names.xattr(ino, name)
		was := err == nil
		switch {
		case was && f == XattrCreate:
			return Need{}, fmt.Errorf("inode %d: attribute %s: %w", ino, name, ErrExist)
		case !was && (f == XattrReplace || !errors.Is(err, ErrNoAttr)):
			return Need{}, err
		}
		need, err := p.namespace.admitXattr(ino, name, val)
		if err != nil {
			return Need{}, fmt.Errorf("inode %d: attribute %s: %w", ino, name, err)
		}
		if !need.None() {
			return need, nil
		}
		if was {
			if err := p.namespace.removeXattr(ino, name); err != nil {
				return Need{}, err
			}
		}
		if err := p.namespace.putXattr(ino, name, val); err != nil {
			return Need{}, err
		}
		if err := p.namespace.changed(ino, now); err != nil {
			return Need{}, err
		}
		return Need{}, p.namespace.answer(r, ino)
	})
}

func xattrRow(name string, val []byte) []byte {
	e := codec.Encoder{}
	e.Str(name)
	return append(e.B, val...)
}

// rowLens are the lengths of the rows of a value of n bytes.
func rowLens(n int) (lens []int) {
	for ; n >= catalog.PartSize; n -= catalog.PartSize {
		lens = append(lens, catalog.PartSize)
	}
	return append(lens, n)
}

// admitXattr refuses an attribute that there is no room for, with the one that it replaces away, or says what is to be waited
// for.
func (na *namespaces) admitXattr(ino Ino, name string, val []byte) (Need, error) {
	old, _, err := na.names.cat.Long(xattrKey(ino, name))
	if err != nil {
		return Need{}, wrapCorrupt(err)
	}
	if d := (codec.Decoder{B: old}); old != nil && d.Str() != name {
		return Need{}, fmt.Errorf("it has one of the same hash: %w", ErrNoSpace)
	}
	row := xattrRow(name, val)
	sum, err := na.xattrBytes(ino)
	if err != nil {
		return Need{}, err
	}
	if more := int64(len(row) - len(old)); more > 0 && sum+more > MaxXattrs {
		return Need{}, fmt.Errorf("%d bytes of attributes, at most %d: %w", sum+more, MaxXattrs, ErrNoSpace)
	}
	if lack := na.space.rowsLack(); lack > 0 {
		return na.space.orMore(ErrNoSpace, false, lack)
	}
	var words int64
	for _, n := range rowLens(len(row)) {
		words += ledger.AttrWords(n)
	}
	if old != nil {
		for _, n := range rowLens(len(old)) {
			words -= ledger.AttrWords(n)
		}
	}
	return Need{}, na.space.roomForWords(na.space.account(ino), words)
}

// xattrBytes is what an inode's attributes take. Symlinks have no account, and from Linux no attributes either.
func (na *namespaces) xattrBytes(ino Ino) (sum int64, err error) {
	if a := na.space.account(ino); a != nil {
		return a.Numbers().Attrs, nil
	}
	hi := catalog.Key(catalog.Xattr, uint64(ino)).Hi
	err = na.names.cat.Scan(meta.Key{Hi: hi}, func(k meta.Key, v []byte) bool {
		if k.Hi != hi {
			return false
		}
		na.mu.step(1)
		sum += int64(len(v))
		return true
	})
	return sum, wrapCorrupt(err)
}

func (na *namespaces) putXattr(ino Ino, name string, val []byte) error {
	row := xattrRow(name, val)
	return na.putLong(xattrKey(ino, name), row)
}

func (na *namespaces) changed(ino Ino, now time.Time) error {
	n, err := na.names.inode(ino)
	if err != nil {
		return err
	}
	n.ctime = now
	return na.names.putInode(ino, n)
}

func (na *namespaces) removeXattr(ino Ino, name string) error {
	_, parts, err := na.names.xattr(ino, name)
	if err != nil {
		return err
	}
	k, keys := xattrKey(ino, name), []meta.Key(nil)
	for i := range parts {
		keys = append(keys, meta.Key{Hi: k.Hi, Lo: k.Lo + uint64(i)})
	}
	return na.removal.dropAttrs(ino, keys)
}

// RemoveXattr removes a user.* attribute.
func (p *Pool) RemoveXattr(r Req, ino Ino, name string) error {
	if err := checkXattr(name); err != nil {
		return err
	}
	return p.works.change(func(now time.Time) error {
		if _, err := p.names.inode(ino); err != nil {
			return err
		}
		if err := p.namespace.removeXattr(ino, name); err != nil {
			return err
		}
		if err := p.namespace.changed(ino, now); err != nil {
			return err
		}
		return p.namespace.answer(r, ino)
	})
}

// ListXattr returns the names of the attributes. It takes the plan lock for some of them at a time.
func (p *Pool) ListXattr(ino Ino) (out []string, err error) {
	at := catalog.Key(catalog.Xattr, uint64(ino))
	hi := at.Hi
	see := func(k meta.Key, v []byte) bool {
		if k.Hi != hi {
			return false
		}
		p.mu.step(1)
		if k.Lo&0xff == 0 {
			d := codec.Decoder{B: v}
			out = append(out, d.Str())
		}
		return true
	}
	for more := true; more; more = more && at.Hi == hi {
		from, had := at, len(out)
		err = p.commits.underPlan(func() (err error) {
			out = out[:had]
			at, more, err = p.names.cat.ScanSome(from, pieceLen, see)
			return err
		})
		if err != nil {
			return nil, wrapCorrupt(err)
		}
	}
	if len(out) == 0 {
		_, err = p.GetAttr(ino)
	}
	return out, err
}
