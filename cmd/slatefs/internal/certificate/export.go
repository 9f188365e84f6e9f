package certificate

import (
	"errors"
	"fmt"
	"strings"

	"slatefs/chain/evidence"
	"slatefs/cmd/slatefs/internal/control"
)

// ErrExport is for an exported erase log that no certificate can be made of.
var ErrExport = errors.New("is not in the exported erase log")

// OfExport makes a document of the records in an exported log. What is left in the pool nobody knows from that: it is never complete.
func OfExport(x *control.LogFile, asked []string) (d Document, head evidence.Head, err error) {
	switch {
	case len(x.Entries) == 0:
		return d, head, fmt.Errorf("a record that is in a chain: %w", ErrExport)
	case len(x.Gaps) > 0:
		return d, head, fmt.Errorf("all of the chain (%s): %w", strings.Join(x.Gaps, "; "), ErrExport)
	}
	d.Asked, d.Pool = asked, Pool{Name: x.Pool, UUID: x.PoolUUID}
	for _, r := range x.Records {
		d.Pool.Device = orElse(r.Device, d.Pool.Device)
	}
	c := NewCollector(d.Pool, x.From, nil, asked)
	unchained := func(open bool) (err error) {
		for _, r := range x.Records {
			if err == nil && r.Seq == 0 && r.Open == open {
				err = c.Add(evidence.Entry{}, r)
			}
		}
		return err
	}
	if err := unchained(false); err != nil { // of a time before the chain
		return d, c.at, err
	}
	for _, e := range x.Entries {
		row, err := evidence.Unmarshal(e.Row)
		if err == nil {
			err = c.Add(e, control.RecordOf(x.Pool, x.PoolUUID, row))
		}
		if err != nil {
			return d, c.at, fmt.Errorf("record %d: %w", e.Seq, err)
		}
	}
	if err := unchained(true); err != nil {
		return d, c.at, err
	}
	for _, q := range asked {
		if !c.Found[q] {
			return d, c.at, fmt.Errorf("%s: %w", q, ErrExport)
		}
	}
	c.Fill(&d)
	d.Of = ThingsIn(d.Records)
	if c.first > 1 {
		d.Reasons = append(d.Reasons, fmt.Sprintf("the exported log begins at record %d", c.first))
	}
	d.Reasons = append(d.Reasons, "it is made of an exported log: what is left in the pool is not known")
	return d, c.at, nil
}
