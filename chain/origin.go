package chain

import (
	"time"

	"slatefs/chain/omap"
)

// Accounts by origin. A block has the birth of the layer in which it was written for good: through merges, dead lists, jobs and
// what fails. So every layer that was ever made has an account: how many blocks were ever used with its birth (written), and
// of them what the eraser reported as zero (zeroed), or as given back and zero to read only (released). The rest is on the
// device, whoever shows it now. Births nobody knows (what a crash left claimed, what was dirty when the pool was made) are
// those of layer 0.
//
// Three things touch an account: a run is mapped (recMap), a write comes to nothing (recDirty), a run is reported
// (jobQueue.workOff). Each costs one look into a map of what has changed since the last cut, and reads no row: a checkpoint adds
// changes to rows. So memory has the births that were touched since then, a hundred bytes each, and nothing of all others.
//
// An account that has nothing left and gets nothing more is closed: its layer is no head any more, and a record (recClosed) adds
// it to what is known of its volume, takes the row away, and is in the erase log. What was only released stays open for good.

// originTable has the accounts. The plan lock guards what is in memory; rows are written by checkpoints alone.
type originTable struct {
	*core
	commits *commitLog
	names   *nameTable

	begun  bool           // mu: there are accounts; a pool of an older program has none before its first mount
	first  LayerID        // mu: births from it on have one
	before Ino            // mu: volumes up to it may have had others before
	since  originChanges  // mu: what changed since the last cut
	frozen *originChanges // mu: what a checkpoint adds to the rows; nil otherwise

	nobodys int64 // mu: blocks of births nobody knows, ever, that were only released: they may be anybody's for good

	closing  []LayerID // mu: accounts that a checkpoint found to have nothing left
	unclosed []LayerID // mu: those of them that could not be closed then
}

// originChanges are changes of accounts: sums, to be added to rows.
type originChanges struct {
	layers  omap.Map[*account]
	vols    omap.Map[*volumeAccount]
	copies  omap.Map[Ino]  // by the birth that they are of, and that where they went: the volume there
	places  omap.Map[span] // by volume and first birth: where its bytes may be, too
	begins  bool           // the row that says that there are accounts is to be written
	nobodys int64          // frozen: as the cut found it
}

// originMem is what a changed account takes, in bytes: it, its place, and the edits of up to three rows.
const originMem = 3*rowMem + 160

// account is what was written in one layer, and what became of it, in blocks.
type account struct {
	vol      Ino
	written  int64
	zeroed   int64 // part of written: reported zero
	released int64 // part of written: zero to read, and not erased below
	sealed   bool  // nothing is written in the layer any more: it is no head
	mixed    bool  // while it was a head it could write in place to blocks of older births
	closed   bool  // of a change: a record has closed it
	copied   bool  // a write of less than a block took bytes of a block along into one of another birth
	from     time.Time
	last     time.Time // of the reports
}

// left is what is on the device.
func (a *account) left() int64 { return a.written - a.zeroed - a.released }

// closes: it has nothing left, nothing is added to it any more, and there is proof of all of it.
// What was mixed is known by its row, which goes with that of the volume.
func (a *account) closes() bool { return a.idle() && !a.mixed && !a.copied }

// idle: it has nothing left, and gets nothing more.
func (a *account) idle() bool { return a.sealed && a.left() == 0 && a.released == 0 }

// wrong: no pool comes to it.
func (a *account) wrong() bool { return a.left() < 0 || min(a.written, a.zeroed, a.released) < 0 }

func (a *account) empty() bool {
	return a.written == 0 && a.zeroed == 0 && a.released == 0 && !a.mixed && !a.copied
}

// add adds a change, or what was counted apart.
func (a *account) add(o *account) {
	if o.vol != 0 {
		a.vol = o.vol
	}
	a.written += o.written
	a.zeroed += o.zeroed
	a.released += o.released
	a.sealed, a.mixed, a.copied, a.closed = a.sealed || o.sealed, a.mixed || o.mixed, a.copied || o.copied, a.closed || o.closed
	a.from, a.last = earliest(a.from, o.from), latest(a.last, o.last)
}

// earliest is the earlier of two times that are set.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// covers: the birth has an account.
func (ot *originTable) covers(birth LayerID) bool { return ot.begun && birth >= ot.first }

// of is the change of an account since the last cut.
func (ot *originTable) of(birth LayerID) *account {
	ot.mu.assertHeld()
	k := omap.Key{Lo: uint64(birth)}
	a, ok := ot.since.layers.Get(k)
	if !ok {
		a = &account{}
		ot.since.layers.Set(k, a)
	}
	return a
}

// wrote: n blocks of a volume are used, born in a layer. That layer is 0 of those of which nobody knows more.
func (ot *originTable) wrote(birth LayerID, vol Ino, n int64) {
	if !ot.covers(birth) {
		return
	}
	a := ot.of(birth)
	a.vol = vol
	a.written += n
}

// zero: n blocks of that birth are clean; released: they are zero to read, and no more.
func (ot *originTable) zero(birth LayerID, n int64, released bool, when time.Time) {
	if birth == 0 && released && ot.begun {
		ot.nobodys += n
		ot.since.begins = true
	}
	if !ot.covers(birth) {
		return
	}
	a := ot.of(birth)
	if released {
		a.released += n
	} else {
		a.zeroed += n
	}
	a.last = when
}

// seal: the layer, made at that time, is no head any more.
func (ot *originTable) seal(id LayerID, vol Ino, made time.Time) {
	if !ot.covers(id) {
		return
	}
	a := ot.of(id)
	a.vol, a.sealed, a.from = vol, true, made
}

// copied: bytes of one birth are in a block of another one, too, which is a volume's.
func (ot *originTable) copied(from, to LayerID, vol Ino) {
	if ot.covers(from) && !ot.knowsCopy(from, to) {
		ot.of(from).copied = true
		ot.since.copies.Set(omap.Key{Hi: uint64(from), Lo: uint64(to)}, vol)
	}
}

// knowsCopy: that was noted since the last cut.
func (ot *originTable) knowsCopy(from, to LayerID) bool {
	_, known := ot.since.copies.Get(omap.Key{Hi: uint64(from), Lo: uint64(to)})
	return known
}

// mix: a head may write in place to blocks of births that were merged into it from now on.
func (ot *originTable) mix(head LayerID, vol Ino) {
	if ot.covers(head) {
		a := ot.of(head)
		a.vol, a.mixed = vol, true
	}
}

// place notes, of such a head, a span of the line of the layer that was merged into it.
func (ot *originTable) place(head LayerID, vol Ino, s span) {
	if ot.covers(head) && s.vol != vol {
		ot.since.places.Set(omap.Key{Hi: uint64(vol), Lo: uint64(s.from)}, s)
	}
}

// volume is the change of what is known of a volume since the last cut.
func (ot *originTable) volume(vol Ino) *volumeAccount {
	ot.mu.assertHeld()
	k := omap.Key{Lo: uint64(vol)}
	v, ok := ot.since.vols.Get(k)
	if !ok {
		v = &volumeAccount{}
		ot.since.vols.Set(k, v)
	}
	return v
}

// mem is what is dirty, in bytes.
func (ot *originTable) mem() int64 {
	return originMem * int64(ot.since.layers.Len()+ot.since.vols.Len()+ot.since.copies.Len()+ot.since.places.Len())
}

// rows bounds the rows that the next checkpoint changes.
func (ot *originTable) rows() int64 {
	return 1 + 3*int64(ot.since.layers.Len()) + int64(ot.since.vols.Len()+ot.since.copies.Len()+ot.since.places.Len())
}

// freeze sets apart what has changed, for a checkpoint: until it is installed or thawed.
func (ot *originTable) freeze() *originChanges {
	ot.mu.assertHeld()
	z := ot.since
	z.nobodys = ot.nobodys
	ot.frozen, ot.since = &z, originChanges{}
	return &z
}

// thawOne brings one frozen change back to what has changed since, and tells whether there was one.
func (ot *originTable) thawOne() bool {
	z := ot.frozen
	if z == nil {
		return false
	}
	if k, a, ok := z.layers.Ceil(omap.Key{}); ok {
		z.layers.Delete(k)
		ot.of(LayerID(k.Lo)).add(a)
		return true
	}
	if k, v, ok := z.vols.Ceil(omap.Key{}); ok {
		z.vols.Delete(k)
		ot.volume(Ino(k.Lo)).add(v)
		return true
	}
	if k, vol, ok := z.copies.Ceil(omap.Key{}); ok {
		z.copies.Delete(k)
		ot.since.copies.Set(k, vol)
		return true
	}
	if k, s, ok := z.places.Ceil(omap.Key{}); ok {
		z.places.Delete(k)
		ot.since.places.Set(k, s)
		return true
	}
	ot.since.begins = ot.since.begins || z.begins
	ot.frozen = nil
	return false
}

// begin: accounts are kept from a birth on.
// Of volumes up to an inode, which were there before, not all is known.
func (ot *originTable) begin(first LayerID, before Ino) {
	ot.begun, ot.first, ot.before, ot.since.begins = true, first, before, true
}

// addChanges adds to a row what has changed since, and tells whether something has. The plan lock is held.
func (ot *originTable) addChanges(birth LayerID, a *account) (any bool) {
	for _, c := range []*originChanges{ot.frozen, &ot.since} {
		if c == nil {
			continue
		}
		if o, ok := c.layers.Get(omap.Key{Lo: uint64(birth)}); ok {
			a.add(o)
			any = true
		}
	}
	return any
}

// addVolumeChanges does that for the row of a volume.
func (ot *originTable) addVolumeChanges(vol Ino, v *volumeAccount) {
	for _, c := range []*originChanges{ot.frozen, &ot.since} {
		if c == nil {
			continue
		}
		if o, ok := c.vols.Get(omap.Key{Lo: uint64(vol)}); ok {
			v.add(o)
		}
	}
}

// mayClose notes accounts that a checkpoint found to have nothing left, and some of those that could not be closed when they
// were looked at: what kept them changes in accounts of others. So each is looked at again by and by, for as long as it is there.
func (ot *originTable) mayClose(found []LayerID) {
	ot.mu.assertHeld()
	n := min(len(ot.unclosed), closeAtOnce)
	ot.closing = append(append(ot.closing, found...), ot.unclosed[:n]...)
	ot.unclosed = ot.unclosed[n:]
}
