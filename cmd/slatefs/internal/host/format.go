package host

import (
	"context"
	"errors"

	"slatefs/chain/blockdev"
	"slatefs/chain/super"
)

// Format is what the newest superblock of a pool says of its format.
type Format struct {
	Name     string
	Version  int
	Features []string // that are set, of each kind, as people read them; none: the pool has what its version has
	ReadOnly bool     // this program may only read the pool, for a feature that it does not know
}

// FormatOf reads the format of a pool, mounted or not, and changes nothing. What this program cannot read at all is
// super.ErrVersion or super.ErrFeature, with their names.
func (h Host) FormatOf(ctx context.Context, ref PoolRef) (f Format, err error) {
	var s super.Block
	if ref.Live != nil { // its daemon has the device
		s, err = Peek(ref.Device)
	} else {
		s, err = h.readSuper(ctx, ref)
	}
	if err != nil {
		return f, err
	}
	f = Format{Name: s.Name, Version: super.Version, ReadOnly: s.UnknownReadOnly() != 0}
	for _, kind := range []struct {
		what string
		set  uint64
	}{{"compatible", s.Compatible}, {"read-only compatible", s.ReadOnly}, {"incompatible", s.Incompatible}} {
		if kind.set != 0 {
			f.Features = append(f.Features, kind.what+" "+s.Named(kind.set))
		}
	}
	return f, nil
}

func (h Host) readSuper(ctx context.Context, ref PoolRef) (s super.Block, err error) {
	dev, release, err := h.Reach(ctx, ref, blockdev.Options{ReadOnly: true}, false)
	if err != nil {
		return s, err
	}
	s, _, err = super.Read(dev)
	return s, errors.Join(err, release())
}
