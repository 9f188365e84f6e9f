package daemon

import (
	"context"

	"slatefs/chain"
	"slatefs/chain/evidence"
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
	var open control.OpenLines
	head := evidence.Genesis(s.Pool.UUID())
	if cut := s.Pool.Log().State().Cut; cut.Records() > 0 {
		head = cut.At
	}
	err := s.Pool.Log().Each(0, func(recs []chain.EraseRecord) error {
		out := make([]control.EraseRecord, len(recs))
		for i, r := range recs {
			out[i] = eraseRecordOf(r)
			if r.Seq > 0 {
				head = r.Entry.Head()
			}
			if err := open.Add(&out[i]); err != nil {
				return err
			}
		}
		return tell(out)
	})
	info := logInfoOf(s.Pool)
	if err == nil && s.Signer != nil {
		info.Lines = s.signLines(&open, head)
	}
	return info, err
}

// signLines signs the lines of days that are not over, behind a head. Without a key nobody vouches for them, and who reads them is told.
func (s *Service) signLines(open *control.OpenLines, head evidence.Head) *control.OpenSignature {
	key, err := s.Signer.Key()
	if err != nil {
		s.Log.Warn("lines of days that are not over are not signed", "pool", s.Pool.Name(), "error", err)
		return nil
	}
	return open.Sign(key, s.Pool.UUID(), head, s.Now())
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
