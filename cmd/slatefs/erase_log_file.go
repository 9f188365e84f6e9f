package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"

	"slatefs/chain/evidence"
	"slatefs/cmd/slatefs/internal/certificate"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

// exportLog writes the whole erase log of a pool to a new file: durable, or not there.
func (a *app) exportLog(ctx context.Context, l host.Live, file string) (err error) {
	f, err := host.CreateNew(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Drop()) }()
	w := bufio.NewWriter(f)
	var first, last *control.EraseRecord
	var n, open, before int64
	var wrote error
	info, err := control.EraseRecs.Call(ctx, l, control.None{}, func(recs []control.EraseRecord) {
		n += int64(len(recs))
		for i := range recs {
			switch {
			case recs[i].Seq != 0:
				first, last = cmp.Or(first, &recs[i]), &recs[i]
			case recs[i].Open:
				open++
			default:
				before++
			}
		}
		if wrote == nil {
			wrote = control.WriteLog(w, recs, nil)
		}
	})
	if err = errors.Join(err, wrote); err != nil {
		return err
	}
	isOf(&info, first, last)
	info.Records, info.Open, info.Before = n, open, before
	if err := control.WriteLog(w, nil, &info); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Keep()
}

// isOf makes what is told of a log that of what was read of it: meanwhile more may have come, or left.
func isOf(i *control.LogInfo, first, last *control.EraseRecord) {
	switch {
	case last != nil:
		i.Begins, i.Head = first.Seq, evidence.Head{Seq: last.Seq, Hash: *last.Hash}
	case i.Cut != nil:
		i.Begins, i.Head = i.Cut.Seq+1, evidence.Head{Seq: i.Cut.Seq, Hash: i.Cut.Hash}
	default:
		i.Begins, i.Head = 1, evidence.Genesis(i.PoolUUID)
	}
	var signed []control.LogSignature
	for _, s := range i.Signed {
		if s.Head.Seq <= i.Head.Seq {
			signed = append(signed, s)
		}
	}
	i.Signed = signed
}

// readLog reads an exported log, which holds.
func readLog(file string) (*control.LogFile, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	log, err := control.ReadLog(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return log, nil
}

// eraseLogFrom shows an exported log.
func (a *app) eraseLogFrom(f eraseLogFlags) error {
	since, err := a.parseSince(f.since)
	if err != nil {
		return err
	}
	log, err := readLog(f.from)
	if err != nil {
		return err
	}
	if err := a.showLog(f.only(log.Records, since), f); err != nil {
		return err
	}
	if log.End != nil {
		if err := a.sayCut(log.End.Cut); err != nil {
			return err
		}
	}
	if len(log.Gaps) > 0 {
		return fmt.Errorf("%s: %s", f.from, log.Gaps[0])
	}
	said := "%s: records %d to %d of pool %s hold; the last has the hash %s"
	switch {
	case log.End == nil:
		said += "; whether more followed it does not say"
	case log.Unsigned > 0:
		said += fmt.Sprintf("; nobody has signed its %d lines of days that are not over", log.Unsigned)
	case log.LinesKey != nil:
		said += "; its lines of days that are not over are signed by " + certificate.Fingerprint(log.LinesKey)
	}
	if _, err := a.stderr.Write([]byte(show.Printable(said+"\n", f.from, log.From.Seq+1, log.Head.Seq, log.PoolUUID, log.Head.Hash))); err != nil {
		return err
	}
	return nil
}
