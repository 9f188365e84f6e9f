package chain

import (
	"fmt"
	"slices"

	"slatefs/chain/codec"
	"slatefs/chain/omap"
)

// A layer that was merged into another leaves its blocks there, with their births. So a layer has a line: whose births it may
// own blocks of. What a volume writes between a snapshot and a rollback is of consecutive layers, so that a span of numbers says
// which they are: of the layers that the volume had, those between from and to are all of this line. A rollback begins
// another line of the same volume, whose numbers may lie between those of this one: so it begins another span.
//
// A line has as many spans as the layers in it had volumes, and rollbacks.

// span are layers of one volume, each of them but the first a snapshot's successor.
type span struct {
	vol      Ino
	from, to LayerID
	apart    bool // the first one was made by a rollback: it does not follow what the volume had before
}

// firstLine is the line of a layer that has just been made.
func firstLine(id LayerID, vol Ino, apart bool) []span { return []span{{vol, id, id, apart}} }

// isFirst: the line needs not be told.
func isFirst(line []span, id LayerID, vol Ino) bool {
	return len(line) == 0 || len(line) == 1 && line[0] == span{vol, id, id, false}
}

// joinLines is the line of a layer that another one was merged into, whose line was below.
func joinLines(below, above []span) []span {
	out := slices.Clone(below)
	if n := len(out) - 1; n >= 0 && len(above) > 0 && !above[0].apart && out[n].vol == above[0].vol {
		out[n].to = above[0].to
		above = above[1:]
	}
	return append(out, above...)
}

// key is where a layer with that span is found.
func (s span) key(id LayerID) omap.Key { return omap.Key{Hi: uint64(s.vol), Lo: uint64(id)} }

// indexLine makes a layer be found by the volumes in its line.
func (lt *layerTree) indexLine(l *layer) {
	for _, s := range l.line {
		lt.lines.Set(s.key(l.id), l)
	}
}

func marshalLine(line []span) []byte {
	var e codec.Encoder
	e.Uint(uint64(len(line)))
	for _, s := range line {
		e.Uint(uint64(s.vol))
		e.Uint(uint64(s.from))
		e.Uint(uint64(s.to))
		e.Bool(s.apart)
	}
	return e.B
}

// decodeLine reads the line of a layer: it ascends, and ends with the layer.
func decodeLine(d *codec.Decoder, id LayerID) (line []span) {
	last := LayerID(0)
	for range d.LenOf(4) {
		s := span{Ino(d.Uint()), LayerID(d.Uint()), LayerID(d.Uint()), d.Bool()}
		if s.from <= last || s.to < s.from || s.vol == 0 {
			d.Fail("line out of order")
		}
		last = s.to
		line = append(line, s)
	}
	if last != id {
		d.Fail("line of another layer")
	}
	return line
}

// admitDepth bounds the line of history, by what is known of its length.
func (lt *layerTree) admitDepth(vol Ino, h *layer) error {
	if h.depth > MaxLayers {
		return fmt.Errorf("%s: %d layers, at most %d: %w", lt.names.pathOf(vol), h.depth, MaxLayers, ErrTooBig)
	}
	return nil
}

// measureDepth counts the layers of a volume's line of history where there may be too many: what was merged since is in the
// number still. It does so in pieces, and what is merged meanwhile it may count.
func (lt *layerTree) measureDepth(ino Ino) {
	var head, at *layer // at is counted next
	n := 0
	for more := true; more; {
		more = func() bool {
			lt.mu.Lock()
			defer lt.mu.Unlock()
			h := lt.head(ino)
			if h == nil || h.depth <= MaxLayers {
				return false
			}
			if h != head {
				head, at, n = h, h, 0
			}
			if at.heir != nil { // merged into a child of it, which was counted
				at = at.now().parent
			}
			for i := 0; at != nil && i < pieceLen; i++ {
				lt.mu.step(1)
				n, at = n+1, at.parent
			}
			if at == nil {
				h.depth = n
			}
			return at != nil
		}()
	}
}
