package daemon

import (
	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/control"
)

func troublesOf(ts []chain.Trouble) (out []control.Trouble) {
	for _, t := range ts {
		out = append(out, control.Trouble(t))
	}
	return out
}

// UsageOf is the usage of a pool as it travels.
func UsageOf(u chain.Usage) control.Usage {
	return control.Usage{
		Total: u.Total, Live: u.Live, Meta: u.Meta, Clean: u.Clean, Claimed: u.Claimed, Dirty: u.Dirty, Freeing: u.Freeing,
		Stranded: u.Stranded, Troubles: troublesOf(u.Troubles), Troubled: u.Troubled, Damages: u.Damages, Damaged: u.Damaged,
		Failed: u.Failed, Reserve: u.Reserve, Kept: u.Destroyed, Promised: u.Promised, MetaProm: u.MetaPromised, Short: u.Short,
		Avail: u.Avail, Volumes: u.Volumes, Snapshots: u.Snapshots,
		Layers: u.Layers, Generation: u.Generation, JournalUse: u.JournalUsed, Journal: u.JournalSize, Repairs: u.Repairs,
		PlanLock: control.LockUse{Alone: u.PlanLock.Alone, Waits: u.PlanLock.Waits},
		Refused:  control.Refused{Count: u.Refusals.Count, Since: u.Refusals.Since, Last: u.Refusals.Last, Error: u.Refusals.Error},
	}
}
