package daemon

import (
	"errors"
	"testing"
	"time"

	"slatefs/chain"
	"slatefs/chain/blockdev"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/erase"
)

// TestPauseIsKept: a pause and all that is set come again with the pool, and hold for what an eraser is made with.
func TestPauseIsKept(t *testing.T) {
	b := newBench(t)
	b.set("erase_paused=on", "erase_throughput=7M", "erase_reserve=1M", "erase_idle_throughput=9M")
	b.set("erase_method=overwrite", "erase_verify=full", "erase_window=01:00-05:00")
	disk := b.disk.Clone()
	p, err := chain.Open(disk, chain.Options{Properties: control.Served, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	set, err := EraseSettingsOf(p)
	if err != nil {
		t.Fatal(err)
	}
	e, err := erase.New(disk, Logged{Pool: p}, erase.Config{Clock: erase.NewClock(time.Now)})
	if err := errors.Join(err, set.apply(e, func(err error) { t.Error(err) })); err != nil {
		t.Fatal(err)
	}
	if s := e.Stats(); !s.Paused || s.Rate != 7<<20 || s.Method != blockdev.Overwrite || s.Verify != blockdev.VerifyFull || s.Window.String() != "01:00-05:00" {
		t.Errorf("%+v", s)
	}
	if set.reserve != 1<<20 || set.idle != 9<<20 {
		t.Errorf("%+v", set)
	}
}

// The commands know this method by its word.
func TestReleaseIsNamed(t *testing.T) {
	if got := blockdev.Release.String(); got != control.MethodRelease {
		t.Errorf("it is named %q", got)
	}
}
