package certificate

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"slatefs/chain/evidence"
	"slatefs/cmd/slatefs/internal/control"
)

// On the day itself the line of that day comes last and is in no chain. One of a time before the chain comes first, and is not proved.
func TestOpenLine(t *testing.T) {
	log, head := logOf(pool, 4)
	open := Record{Shown: control.EraseRecord{Kind: "day", Day: "2026-11-29", Open: true, Volume: "tenants/vm-101.raw"}}
	old := Record{Shown: control.EraseRecord{Kind: "job", ID: 1, Volume: "tenants/vm-101.raw"}}
	for name, c := range map[string]struct {
		list  func([]Record) []Record
		want  error
		lacks int
	}{
		"open last":           {func(l []Record) []Record { return append(l, open) }, nil, 0},
		"before the chain":    {func(l []Record) []Record { return append([]Record{old}, l...) }, nil, 1},
		"both":                {func(l []Record) []Record { return append(append([]Record{old}, l...), open) }, nil, 1},
		"open first":          {func(l []Record) []Record { return append([]Record{open}, l...) }, ErrChain, 0},
		"no number, not open": {func(l []Record) []Record { return append(l, old) }, ErrChain, 0},
		"open, with a row":    {func(l []Record) []Record { return append(l, Record{Row: log[0].Row, Shown: open.Shown}) }, ErrChain, 0},
	} {
		for _, export := range [][]evidence.Entry{nil, log} {
			d := sample(log, head, 2, 4)
			d.Records = c.list(d.Records)
			d.Amounts = AmountsOf(d.Records)
			with := trust
			with.Export = export
			proved, err := sealed(t, d, key).Verify(with)
			if !errors.Is(err, c.want) || err != nil && c.want == nil || len(Lacking(proved)) != c.lacks {
				t.Errorf("%s: %v, %q", name, err, proved)
			}
			told := strings.Contains(fmt.Sprint(proved), "days that are not over: 1, NOT PROVED by the chain")
			if c.want == nil && name != "before the chain" && !told {
				t.Errorf("%s: %q", name, proved)
			}
		}
	}
}
