package daemon

import (
	"testing"

	"slatefs/cmd/slatefs/internal/control"
)

// TestLogWhileARecordEnds: what is told of the log behind its records is of those, though another one ended meanwhile: an export
// holds together.
func TestLogWhileARecordEnds(t *testing.T) {
	b := newBench(t)
	gone := func(name string) {
		b.volume(name, 1<<20, 4)
		b.erased(name)
	}
	gone("a")
	var last, open, all int64
	info, err := b.s.eraseRecords(t.Context(), control.Peer{}, control.None{}, func(list []control.EraseRecord) error {
		for _, r := range list {
			if all++; r.Open {
				open++
			} else {
				last = max(last, int64(r.Seq))
			}
		}
		if all == int64(len(list)) { // once
			gone("b")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if now := b.pool.Log().State().Head.Seq; int64(now) <= last || last == 0 {
		t.Fatalf("the head is %d, record %d was told of last: nothing ended meanwhile", now, last)
	}
	if int64(info.Head.Seq) != last || info.Open != open || info.Records != all {
		t.Errorf("told of %d records to %d, %d open; they were %d to %d, %d open", info.Records, info.Head.Seq, info.Open, all, last, open)
	}
}
