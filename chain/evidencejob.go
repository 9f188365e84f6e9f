package chain

import (
	"cmp"
	"errors"

	"slatefs/chain/catalog"
	"slatefs/chain/meta"
	"slatefs/chain/omap"
)

// BytesStayed tells whether no byte of a block that was born in a layer up to newest was ever taken along into another block, by a write
// of less than a
// block, as far as open accounts tell, and no crash has left anything that may be. So when the blocks that a job had are zero, and all of
// them are
// that old, nothing of them is left. Blocks of destroyed layers are no younger than these. It looks at each open account, without the
// plan lock.
//
// It may say false where only others' bytes went along: a job has the number of its blocks, not their births.
func BytesStayed(p *Pool, newest LayerID) (bool, error) {
	p.structure.Lock()
	defer p.structure.Unlock()
	q := &inquiry{p: p}
	p.mu.Lock()
	stayed := p.origins.begun && p.origins.first <= 1 && // else not all is known of what is that old
		p.origins.nobodys == 0 // of a crash, and not erased below
	p.mu.Unlock()
	moved := func(birth LayerID, a *account) bool { return a.copied && birth <= newest }
	err := q.scan(catalog.Key(catalog.Account, 0), func(k meta.Key, v []byte) error {
		var a account
		err := a.unmarshal(v)
		if moved(LayerID(catalog.NumberOf(k)), &a) {
			stayed = false
			return cmp.Or(err, errStop)
		}
		return err
	})
	if err != nil && !errors.Is(err, errStop) {
		return false, wrapCorrupt(err)
	}
	eachChange(p, changedAccounts, omap.Key{}, func(k omap.Key, a *account) bool {
		stayed = stayed && !moved(LayerID(k.Lo), a)
		return stayed && LayerID(k.Lo) <= newest
	})
	p.jobs.eachJob(func(j *job) {
		if j.ofCrash() && j.dirtyBlocks()+j.badN > 0 {
			stayed = false
		}
	}, func() {})
	return stayed, nil
}
