package chain

import "slatefs/chain/ledger"

// admission says whether there is space for a change before it is made: it tries it on the ledger (admit.go), and it keeps pages
// for the next checkpoint (pages.go). The plan lock guards it.
type admission struct {
	*core
	commits   *commitLog
	plans     *planTable
	blocks    *blockSpace
	destroyed *destroyedIndex
	names     *nameTable
	origins   *originTable
	jobs      *jobQueue
	tree      *layerTree
	memory    *memory

	namedN   int64          // mu: claimed blocks in open plans
	ledger   *ledger.Ledger // mu: nil until the journal has been replayed
	ahead    *ahead         // mu: promises of a freeze that comes, or does not; nil: none does
	growable bool           // mu: the grower may be asked
	goes     func() bool    // const: something is removed in steps, and the next one may be tried; mu is held
	refusals Refusals       // mu
}

// short is by how many blocks promises are not covered: erases that failed took them. None are made then.
func (sp *admission) short() int64 {
	return sp.ledger.Short(sp.supply())
}

// space is what the ledger says of an account.
func (sp *admission) spaceOf(a *ledger.Account, refer int64) Space {
	n := a.Numbers()
	s := Space{
		Used: n.Used - n.Open, UsedDS: n.Held - n.Open, UsedChild: n.Below, Avail: sp.available(a, refer),
		UsedRefreserv: n.Used - n.Held - n.Below, Refreservation: n.Refres, Reservation: n.Reservation,
		Quota: n.Quota, Refquota: n.Refquota, Promised: n.Promised, MetaPromised: n.Meta,
	}
	for _, n := range []*int64{
		&s.Used, &s.UsedDS, &s.UsedChild, &s.Avail, &s.UsedRefreserv, &s.Refreservation, &s.Reservation, &s.Quota, &s.Refquota,
		&s.Promised, &s.MetaPromised,
	} {
		*n *= BlockSize
	}
	s.Words = n.Words
	return s
}
