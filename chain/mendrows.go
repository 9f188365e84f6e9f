package chain

import (
	"fmt"
	"maps"
	"slices"

	"slatefs/chain/catalog"
	"slatefs/chain/meta"
)

// Names say of a directory what the inodes say of themselves, and what a volume's row names are its accounts. So these rows of the
// catalog follow from others. A page holds rows of any kind: what was on one that is lost is known to have been only these where as many
// as are missing is how many hung on it, which its parent says.

// lostRows are the rows of a page of the catalog that cannot be read.
type lostRows struct {
	from, to meta.Key // the keys that it can have had; to is not among them
	n        uint64
	why      error
}

func (l *lostRows) has(k meta.Key) bool { return !k.Less(l.from) && k.Less(l.to) }

// afterAll is behind all keys.
var afterAll = meta.Key{Hi: ^uint64(0), Lo: ^uint64(0)}

// catalog makes another tree of the rows that can be read and of those that follow from them. Where that is not all the tree is
// left as it is.
func (m *mending) catalog() error {
	cat := &m.p.names.cat
	lost, err := m.lostRows(cat)
	if err != nil || len(lost) == 0 || m.noMap != nil {
		return err
	}
	rows, err := m.derivedRows(cat, lost)
	if err != nil || rows == nil {
		return err
	}
	tree, err := m.copyRows(cat)
	if err == nil {
		tree, err = cat.Family.Apply(tree, rows)
	}
	if err != nil {
		return fmt.Errorf("catalog: %w", err)
	}
	cat.Tree, m.rows = tree, len(rows)
	return nil
}

// lostRows lists what cannot be read.
func (m *mending) lostRows(cat *catalog.Table) (lost []lostRows, err error) {
	end := func(k meta.Key) {
		if n := len(lost) - 1; n >= 0 && lost[n].to == afterAll {
			lost[n].to = k
		}
	}
	err = cat.Family.Survey(cat.Tree, func(k meta.Key, _ []byte) error {
		end(k)
		return nil
	}, func(from meta.Key, n uint64, err error) error {
		if !damaged(err) {
			return err
		}
		end(from)
		lost = append(lost, lostRows{from, afterAll, n, err})
		return nil
	})
	return lost, err
}

// derivedRows are the rows that are lost, by key; nil: they do not follow from the others.
func (m *mending) derivedRows(cat *catalog.Table, lost []lostRows) ([]meta.Edit, error) {
	names := map[meta.Key][]nameEntry{}
	found := map[meta.Key][]byte{}
	in := func(k meta.Key) bool { return slices.ContainsFunc(lost, func(l lostRows) bool { return l.has(k) }) }
	err := cat.Family.Survey(cat.Tree, func(k meta.Key, v []byte) error {
		kind, number := catalog.KindOf(k), catalog.NumberOf(k)
		if kind == catalog.Inode {
			i, err := parseInode(v)
			if err != nil || i.parent == 0 {
				return err
			}
			if at := nameKey(i.parent, i.name); in(at) {
				names[at] = append(names[at], nameEntry{i.name, Ino(number), i.typ})
			}
		}
		if kind == catalog.Account {
			var a account
			if err := a.unmarshal(v); err != nil {
				return err
			}
			if at := ofVolumeKey(a.vol, LayerID(number)); number != 0 && in(at) {
				found[at] = []byte{1}
			}
		}
		return nil
	}, func(meta.Key, uint64, error) error { return nil })
	if err != nil {
		return nil, err
	}
	for k, es := range names {
		found[k] = marshalNames(es)
	}
	keys := slices.SortedFunc(maps.Keys(found), func(a, b meta.Key) int {
		if a.Less(b) {
			return -1
		}
		return 1
	})
	var out []meta.Edit
	for i := range lost {
		n := uint64(0)
		for _, k := range keys {
			if lost[i].has(k) {
				n++
			}
		}
		if n != lost[i].n {
			return nil, nil
		}
		m.noRows = lost[i].why
	}
	for _, k := range keys {
		out = append(out, meta.Edit{Key: k, Val: found[k]})
	}
	return out, nil
}

// copyRowsAtOnce is how many rows are copied at once.
const copyRowsAtOnce = 1024

// copyRows makes another tree of the rows that can be read.
func (m *mending) copyRows(cat *catalog.Table) (tree meta.Tree, err error) {
	var some []meta.Edit
	take := func() error {
		t, err := cat.Family.Apply(tree, some)
		if err == nil {
			tree, some = t, some[:0]
		}
		return err
	}
	err = cat.Family.Survey(cat.Tree, func(k meta.Key, v []byte) error {
		if some = append(some, meta.Edit{Key: k, Val: slices.Clone(v)}); len(some) < copyRowsAtOnce {
			return nil
		}
		return take()
	}, func(meta.Key, uint64, error) error { return nil })
	if err == nil && len(some) > 0 {
		err = take()
	}
	return tree, err
}
