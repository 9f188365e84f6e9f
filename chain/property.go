package chain

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"slatefs/chain/ledger"
	"slatefs/chain/property"
	"slatefs/chain/size"
)

// PropValue is a property as it holds for an inode.
type PropValue struct {
	property.Property
	Value string // canonical
	Set   bool   // on the inode itself
	From  Ino    // the directory that it is inherited from, 0: none
}

// Source says where the value comes from, in zfs's words; path turns an inode into what users see.
func (v PropValue) Source(path func(Ino) string) string {
	switch {
	case v.Set:
		return "local"
	case v.From != 0:
		return "inherited from " + path(v.From)
	}
	return "default"
}

func scopeOf(ino Ino, n *inode) (property.Scope, error) {
	switch {
	case ino == RootIno:
		return property.OnPool, nil
	case n.typ == TypeDir:
		return property.OnDir, nil
	case n.typ == TypeFile:
		return property.OnVolume, nil
	}
	return 0, fmt.Errorf("a symlink has no properties: %w", ErrInvalid)
}

// Prop is a property as it holds for a volume, a directory or (RootIno) the pool. ErrInvalid: it can't have it.
func (p *Pool) Prop(ino Ino, name string) (PropValue, error) {
	return lookUp(p.commits, func() (PropValue, error) {
		return p.namespace.prop(ino, name)
	})
}

func (na *namespaces) prop(ino Ino, name string) (PropValue, error) {
	d, err := na.known.Named(name)
	if err != nil {
		return PropValue{}, asInvalid(err)
	}
	n, err := na.names.inode(ino)
	if err != nil {
		return PropValue{}, err
	}
	on, err := scopeOf(ino, n)
	if err == nil && d.On&on == 0 {
		err = fmt.Errorf("%s is a property of %v: %w", name, d.On, ErrInvalid)
	}
	if err != nil {
		return PropValue{}, fmt.Errorf("%s: %w", na.names.nameOf(ino), err)
	}
	if name == propPreallocated { // it is a flag of the inode
		return PropValue{Property: d, Value: map[bool]string{false: "off", true: "on"}[n.kept], Set: n.kept}, nil
	}
	v := PropValue{Property: d, Value: d.Default}
	if d.Host { // whatever stands in the pool
		return v, nil
	}
	for at := ino; ; {
		val, ok, err := na.names.propRow(at, name)
		if err != nil {
			return PropValue{}, err
		}
		if ok {
			if v.Value, v.Set = val, at == ino; !v.Set {
				v.From = at
			}
			return v, nil
		}
		if d.Inherits&on == 0 || at == RootIno || n.parent == 0 {
			return v, nil
		}
		at = n.parent
		if n, err = na.names.inode(at); err != nil {
			return PropValue{}, err
		}
	}
}

// Stray are the properties of hosts that stand in the pool all the same, by name: an earlier program put them there, or somebody
// else. They mean nothing; SetProps takes them away by Inherit.
func (p *Pool) Stray() ([]string, error) {
	return lookUp(p.commits, func() (names []string, err error) {
		for _, d := range p.known {
			if !d.Host {
				continue
			}
			_, ok, err := p.names.propRow(RootIno, d.Name)
			if err != nil {
				return names, err
			}
			if ok {
				names = append(names, d.Name)
			}
		}
		return names, nil
	})
}

// Properties are kept in the catalog under the hash of their name, as attributes are.

// maxProp bounds the bytes of a property's name and value.
const maxProp = 500

// Setting gives one property a value, as people write it. Inherit: it loses its own.
type Setting struct {
	Name, Value string
	Inherit     bool
}

// SetProps sets properties of a volume, a directory or (RootIno) the pool, all or none. Durable after the next Flush.
//
// Errors: ErrInvalid for what cannot be set there or to that; for what promises or bounds space also ErrNoSpace and
// ErrQuota, with the numbers.
func (p *Pool) SetProps(_ Req, ino Ino, settings ...Setting) error {
	return p.works.changeWithSpace(int64(len(settings))*(maxProp+64)+inodeBytes, nil, func(time.Time) (Need, error) {
		canonical, err := p.namespace.parseSettings(ino, settings)
		if err != nil {
			return Need{}, err
		}
		if need, err := p.space.admitted(p.namespace.trySettings(ino, canonical)); err != nil || !need.None() {
			return need, err
		}
		for _, s := range canonical {
			if err := p.namespace.putProp(ino, s); err != nil {
				return Need{}, err
			}
		}
		return Need{}, nil
	})
}

// trySettings tries canonical settings on the ledger.
func (na *namespaces) trySettings(ino Ino, settings []Setting) Forecast {
	a := na.space.account(ino)
	to := a.Set()
	var words []string
	for _, s := range settings {
		takeProp(&to, a.Dir(), s.Name, s.Value)
		words = append(words, s.Name+"="+readable(s.Value))
	}
	return na.space.tryProps(fmt.Sprintf("set %s on %s", strings.Join(words, " "), na.names.nameOf(ino)), a, to)
}

// readable prints a canonical value with its size as people write it.
func readable(val string) string {
	if n, err := strconv.ParseInt(val, 10, 64); err == nil {
		return size.Format(n)
	}
	return val
}

func (na *namespaces) putProp(ino Ino, s Setting) error {
	if s.Name == propPreallocated {
		v, err := na.volumes.volume(ino)
		if err != nil {
			return err
		}
		return v.setKept(s.Value == "on")
	}
	na.names.policies++
	if s.Inherit {
		return na.commits.do(&recPut{key: propKey(ino, s.Name)})
	}
	return na.commits.do(&recPut{key: propKey(ino, s.Name), val: marshalProp(s.Name, s.Value)})
}

// takeDefault gives a new volume the refreservation that its directory says, which costs nothing yet: it has no size.
func (na *namespaces) takeDefault(dir, ino Ino) error {
	v, err := na.prop(dir, propRefreservation)
	if err != nil || v.Value == v.Default {
		return err
	}
	return na.putProp(ino, Setting{Name: propRefreservation, Value: v.Value})
}

// parseSettings checks settings and makes their values canonical.
func (na *namespaces) parseSettings(ino Ino, settings []Setting) ([]Setting, error) {
	n, err := na.names.inode(ino)
	if err != nil {
		return nil, err
	}
	on, err := scopeOf(ino, n)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", na.names.nameOf(ino), err)
	}
	out := slices.Clone(settings)
	for i, s := range out {
		v, err := na.prop(ino, s.Name) // it may be set here
		if err != nil {
			return nil, err
		}
		switch {
		case slices.ContainsFunc(out[:i], func(o Setting) bool { return o.Name == s.Name }):
			err = fmt.Errorf("set twice: %w", ErrInvalid)
		case s.Inherit:
			out[i].Value = v.Default
		case v.Host:
			err = fmt.Errorf("it is kept on the host: %w", ErrInvalid)
		default:
			if out[i].Value, err = v.Parse(s.Value, on); err == nil && len(s.Name)+len(out[i].Value) > maxProp {
				err = fmt.Errorf("%d bytes, at most %d: %w", len(out[i].Value), maxProp-len(s.Name), ErrTooBig)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", na.names.nameOf(ino), s.Name, asInvalid(err))
		}
	}
	return out, nil
}

// newProps are the properties of a volume that would be made in a directory with settings.
func (na *namespaces) newProps(dir Ino, settings []Setting) (to ledger.Props, err error) {
	v, err := na.prop(dir, propRefreservation)
	if err != nil {
		return to, err
	}
	takeProp(&to, false, v.Name, v.Value)
	for _, s := range settings {
		d, err := na.known.Named(s.Name)
		switch {
		case err != nil:
		case d.On&property.OnVolume == 0:
			err = fmt.Errorf("%s is a property of %v: %w", s.Name, d.On, ErrInvalid)
		default:
			var val string
			if val, err = d.Parse(s.Value, property.OnVolume); err == nil {
				takeProp(&to, false, s.Name, val)
			}
		}
		if err != nil {
			return to, asInvalid(err)
		}
	}
	return to, nil
}
