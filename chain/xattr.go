package chain

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"slatefs/chain/meta"
)

// XattrFlag is setxattr(2)'s.
type XattrFlag uint8

// The flags; 0 makes or replaces.
const (
	XattrCreate XattrFlag = iota + 1
	XattrReplace
)

// MaxXattr bounds the bytes of an attribute's value.
const MaxXattr = 4 << 10

// An attribute's row is its name, then its value, in parts below the name's hash.

func checkXattr(name string) error {
	if !strings.HasPrefix(name, "user.") || len(name) > MaxName || len(name) == len("user.") {
		return fmt.Errorf("attribute %q: only user.*: %w", name, ErrUnsupported)
	}
	return nil
}

func (p *Pool) xattr(ino Ino, name string) (val []byte, parts int, err error) {
	row, ok, err := p.cat.long(xattrKey(ino, name))
	if err != nil {
		return nil, 0, wrapCorrupt(err)
	}
	d := decoder{b: row}
	if !ok || d.str() != name || d.err != nil {
		return nil, 0, fmt.Errorf("inode %d: attribute %s: %w", ino, name, ErrNoAttr)
	}
	return d.b, len(row)/partSize + 1, nil
}

// GetXattr returns the value of a user.* attribute. ErrNoAttr: it has none of that name. ErrGone: there is no inode.
func (p *Pool) GetXattr(ino Ino, name string) ([]byte, error) {
	if err := checkXattr(name); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	v, _, err := p.xattr(ino, name)
	if errors.Is(err, ErrNoAttr) {
		if _, gone := p.inode(ino); gone != nil {
			return nil, gone
		}
	}
	return v, err
}

// SetXattr sets a user.* attribute.
func (p *Pool) SetXattr(_ Req, ino Ino, name string, val []byte, f XattrFlag) error {
	if err := checkXattr(name); err != nil {
		return err
	}
	if len(val) > MaxXattr {
		return fmt.Errorf("attribute %s: %d bytes, at most %d: %w", name, len(val), MaxXattr, ErrTooBig)
	}
	return p.change(func(now time.Time) error {
		if _, err := p.inode(ino); err != nil {
			return err
		}
		if err := p.notGoing(ino); err != nil {
			return err
		}
		_, _, err := p.xattr(ino, name)
		switch {
		case err == nil && f == XattrCreate:
			return fmt.Errorf("inode %d: attribute %s: %w", ino, name, ErrExist)
		case err != nil && f == XattrReplace:
			return err
		case p.free() < leastPages:
			return fmt.Errorf("inode %d: attribute %s: %w", ino, name, ErrNoSpace)
		case err == nil:
			if err := p.removeXattr(ino, name); err != nil {
				return err
			}
		}
		e := encoder{}
		e.str(name)
		e.b = append(e.b, val...)
		if err := p.putLong(xattrKey(ino, name), e.b); err != nil {
			return err
		}
		return p.changed(ino, now)
	})
}

func (p *Pool) changed(ino Ino, now time.Time) error {
	n, err := p.inode(ino)
	if err != nil {
		return err
	}
	n.ctime = now
	return p.putInode(ino, n)
}

func (p *Pool) removeXattr(ino Ino, name string) error {
	_, parts, err := p.xattr(ino, name)
	if err != nil {
		return err
	}
	k := xattrKey(ino, name)
	for i := range parts {
		if err := p.do(&recPut{key: meta.Key{Hi: k.Hi, Lo: k.Lo + uint64(i)}}); err != nil {
			return err
		}
	}
	return nil
}

// RemoveXattr removes a user.* attribute.
func (p *Pool) RemoveXattr(_ Req, ino Ino, name string) error {
	if err := checkXattr(name); err != nil {
		return err
	}
	return p.change(func(now time.Time) error {
		if _, err := p.inode(ino); err != nil {
			return err
		}
		if err := p.removeXattr(ino, name); err != nil {
			return err
		}
		return p.changed(ino, now)
	})
}

// ListXattr returns the names of the attributes.
func (p *Pool) ListXattr(ino Ino) ([]string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	hi := rowKey(rowXattr, uint64(ino)).Hi
	err := p.cat.scan(meta.Key{Hi: hi}, func(k meta.Key, v []byte) bool {
		if k.Hi != hi {
			return false
		}
		if k.Lo&0xff == 0 {
			d := decoder{b: v}
			out = append(out, d.str())
		}
		return true
	})
	if err == nil && len(out) == 0 {
		_, err = p.inode(ino)
	}
	return out, wrapCorrupt(err)
}
