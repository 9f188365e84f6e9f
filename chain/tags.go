package chain

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"slatefs/chain/codec"
	"slatefs/chain/omap"
)

// Tags hold snapshots, as zfs's user references do: while one has any, nothing destroys it, and so nothing that it goes with: its
// volume, what is renamed over that, clones by the snapshot that they hang on. Only the end of the whole pool does. They are in
// the layer's row, and there are few, so that a row stays short. A layer has none when it has lost its name.
//
// A rollback destroys no snapshot, and what is destroyed and kept had none when it was: neither asks for them. The words held and
// kept mean other things here: a layer that is open (layer.held), and one that was destroyed (layer.kept).
const (
	MaxTag  = 64 // bytes of a tag
	MaxTags = 8  // of one snapshot
)

// SnapTag is a tag that holds a snapshot, and since when.
type SnapTag struct {
	Name string
	When time.Time
}

// CheckTag refuses what can't be a tag, by ErrInvalid: it has the letters of a snapshot's name, but no blank.
func CheckTag(tag string) error {
	if len(tag) > MaxTag || strings.Contains(tag, " ") || CheckSnapName(tag) != nil {
		return fmt.Errorf("tag %q: want 1 to %d letters, digits and -_.: %w", tag, MaxTag, ErrInvalid)
	}
	return nil
}

// hasTag is the place of a tag of the layer, or -1.
func (l *layer) hasTag(tag string) int {
	return slices.IndexFunc(l.tags, func(t SnapTag) bool { return t.Name == tag })
}

func marshalTags(tags []SnapTag) []byte {
	var e codec.Encoder
	e.Uint(uint64(len(tags)))
	for _, t := range tags {
		e.Str(t.Name)
		e.Time(t.When)
	}
	return e.B
}

func decodeTags(d *codec.Decoder) (tags []SnapTag) {
	for range d.Len() {
		tags = append(tags, SnapTag{d.Str(), d.Time()})
	}
	return tags
}

// validTags: the row of a layer says what it may.
func (l *layer) validTags() error {
	if len(l.tags) > 0 && !l.named || len(l.tags) > MaxTags {
		return fmt.Errorf("layer %v, named %v, has %d tags: %w", l.id, l.named, len(l.tags), ErrCorrupt)
	}
	for i, t := range l.tags {
		if err := CheckTag(t.Name); err != nil || l.hasTag(t.Name) != i {
			return fmt.Errorf("layer %v: tag %q: %w", l.id, t.Name, ErrCorrupt)
		}
	}
	return nil
}

// noTags refuses to destroy a snapshot that is held, by ErrTagged. The plan lock is held.
func (lt *layerTree) noTags(l *layer) error {
	if len(l.tags) == 0 {
		return nil
	}
	var names []string
	for _, t := range l.tags {
		names = append(names, t.Name)
	}
	return fmt.Errorf("%s@%s: %w: %s", lt.names.pathOf(l.vol), l.name, ErrTagged, strings.Join(names, ", "))
}

// noneTagged is noTags for all snapshots of a volume. It looks at one. The plan lock is held.
func (lt *layerTree) noneTagged(vol Ino) error {
	lt.mu.assertHeld()
	lt.mu.step(1)
	k, l, ok := lt.snaps.tagged.Ceil(omap.Key{Hi: uint64(vol)})
	if !ok || k.Hi != uint64(vol) {
		return nil
	}
	return lt.noTags(l)
}

// noneHasTags: a record may take the names of layers.
func noneHasTags(all []*layer) error {
	for _, l := range all {
		if len(l.tags) > 0 {
			return fmt.Errorf("layer %v, with %d tags, loses its name: %w", l.id, len(l.tags), ErrCorrupt)
		}
	}
	return nil
}
