package daemon

import (
	"context"
	"slices"

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
	// What is told of the log at its end is of what was streamed: a record that came meanwhile is not in it.
	l := s.Pool.Log().State()
	l.Records, l.Before, l.Open = 0, 0, 0
	l.Head = evidence.Genesis(s.Pool.UUID())
	if l.Cut.Records() > 0 {
		l.Head = l.Cut.At
	}
	err := s.Pool.Log().Each(0, func(recs []chain.EraseRecord) error {
		out := make([]control.EraseRecord, len(recs))
		for i, r := range recs {
			out[i] = eraseRecordOf(r)
			l.Records++
			switch {
			case out[i].Open:
				l.Open++
			case r.Seq > 0:
				l.Head = r.Entry.Head()
			default:
				l.Before++
			}
			if err := open.Add(&out[i]); err != nil {
				return err
			}
		}
		return tell(out)
	})
	l.Signed = slices.DeleteFunc(slices.Clone(s.Pool.Log().State().Signed), func(x evidence.Signature) bool { return x.Head.Seq > l.Head.Seq })
	info := logInfoOf(s.Pool, l)
	if err == nil && s.Signer != nil {
		info.Lines = s.signLines(&open, l.Head)
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

// logInfoOf tells of an erase log as a whole.
func logInfoOf(p *chain.Pool, l chain.LogState) control.LogInfo {
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
