package chain

import (
	"time"

	"slatefs/chain/codec"
)

// switching is a freeze of heads at one instant, that of its record, however many they are. The record takes the numbers of all
// new heads; a head is switched afterwards, when it is reached (layerTree.head), and those that nobody reaches in pieces
// (switchRest). So whoever looks at a head after the instant finds the new one, and nobody can tell when it was made: what a volume
// was at the instant it is until somebody reaches its head to change it.
//
// Who freezes holds the structure lock from before the instant until all heads are switched. So nothing else that has to do with
// layers comes between: no cut of a checkpoint, no destroy, no other freeze. A commit may: the record is whole, and replay
// switches all heads at once.
type switching struct {
	name, who string
	when      time.Time
	first     LayerID          // the number of the first volume's new head; those of the others follow
	waits     map[Ino]int      // mu: volumes whose heads are not switched yet, and their places in the record
	homes     map[Ino]snapHome // of those that get their first snapshot
	freeze    uint64           // its number in planTable
}

// volumeList is the volumes of a freeze as its record has them. It grows with them, so who freezes many makes it before the instant.
func volumeList(vols []Ino) []byte {
	var e codec.Encoder
	e.Uint(uint64(len(vols)))
	for _, v := range vols {
		e.Uint(uint64(v))
	}
	return e.B
}

// head is the head of a volume; nil: it has none. It is the gate that all pass who read or write one, or ask what was frozen.
func (lt *layerTree) head(vol Ino) *layer {
	if s := lt.switching; s != nil {
		if at, waits := s.waits[vol]; waits {
			lt.accounts.late(func() { lt.switchHead(s, vol, s.first+LayerID(at)) })
		}
	}
	return lt.heads[vol]
}

// headNow is head for who shares the plan lock: nil also where the head has to be switched first.
func (lt *layerTree) headNow(vol Ino) *layer {
	lt.mu.assertShared()
	if s := lt.switching; s != nil {
		if _, waits := s.waits[vol]; waits {
			return nil
		}
	}
	return lt.heads[vol]
}

// ofVolume are the layers of a volume, oldest first.
func (lt *layerTree) ofVolume(vol Ino) []*layer {
	lt.head(vol)
	return lt.byVol[vol]
}

// named is the snapshot of a volume that has a name, or nil.
func (lt *layerTree) named(vol Ino, name string) *layer {
	lt.head(vol)
	return lt.snaps.names[snapName{vol, name}]
}

// switchHead makes the head of a volume what is frozen, with a new head above it.
func (lt *layerTree) switchHead(s *switching, vol Ino, id LayerID) {
	lt.mu.step(1)
	delete(s.waits, vol)
	old := lt.heads[vol]
	lt.origins.seal(old.id, vol, old.created)
	lt.touch(old)
	old.frozen = s.freeze
	old.head, old.named, old.name, old.created, old.who = false, s.name != "", s.name, s.when, s.who
	lt.addLayer(id, old, vol, old.size, s.when)
	if old.named {
		lt.snaps.add(old, s.homes[vol])
	}
	if old.nameless() {
		lt.unheld(old)
	}
}

// switchRest switches the heads that nobody has reached, in pieces, and ends the switching. The structure lock is held.
func (lt *layerTree) switchRest(vols []Ino) {
	lt.structure.assertHeld()
	lt.inPiecesOf(pieceLen/6, func() bool {
		if len(vols) == 0 {
			lt.switching = nil
			return false
		}
		lt.head(vols[0])
		vols = vols[1:]
		return true
	})
}
