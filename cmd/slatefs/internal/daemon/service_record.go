package daemon

import (
	"context"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/control"
)

func eraseRecordOf(r chain.EraseRecord) control.EraseRecord {
	if r.Seq != 0 {
		return control.ChainedRecordOf(r.Pool, r.PoolUUID, r.Entry, r.Row)
	}
	e := control.RecordOf(r.Pool, r.PoolUUID, r.Row)
	e.Before, e.Open = r.Before, !r.Before
	return e
}

// eraseRecords tells the erase log, some records at a time.
func (s *Service) eraseRecords(_ context.Context, _ control.Peer, _ control.None, tell func([]control.EraseRecord) error) (control.LogInfo, error) {
	err := s.Pool.Log().Each(0, func(recs []chain.EraseRecord) error {
		out := make([]control.EraseRecord, len(recs))
		for i, r := range recs {
			out[i] = eraseRecordOf(r)
		}
		return tell(out)
	})
	return logInfoOf(s.Pool), err
}

// logInfoOf tells of the erase log as a whole.
func logInfoOf(p *chain.Pool) control.LogInfo {
	l := p.Log().State()
	i := control.LogInfo{
		Pool: p.Name(), PoolUUID: p.UUID(), Head: l.Head, Begins: l.Cut.At.Seq + 1, Cut: control.LogCutOf(&l.Cut),
		Records: l.Records, Before: l.Before, Open: l.Open, Bound: l.Bound,
	}
	for _, s := range l.Signed {
		i.Signed = append(i.Signed, control.LogSignatureOf(s))
	}
	return i
}

// first puts an erase job before all others.
func (s *Service) first(_ context.Context, who control.Peer, args control.FirstArgs) (control.None, error) {
	err := s.Pool.EraseFirst(reqOf(who), args.ID)
	if err == nil {
		s.did(who, "job", args.ID)
	}
	return control.None{}, err
}
