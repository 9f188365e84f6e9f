package integration

import (
	"encoding/json"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestDeadlineOnTheDevice destroys the same amount without and with an erase_deadline, by turns: with one it is zero in a part of
// the time, and the record says of each what came of it.
func TestDeadlineOnTheDevice(t *testing.T) {
	const bytes = 32 << 20
	l := newLab(t)
	p := l.newPool("lab", "128M", "")
	p.mount()
	p.slatefs("set", "erase_throughput=2M", p.mnt)
	took := func(deadline string) time.Duration {
		p.slatefs("set", "erase_deadline="+deadline, p.mnt)
		fd := open(t, p.at(volName(0)), unix.O_RDWR|unix.O_CREAT)
		must(t, pwrite(fd, stamped(bytes, 0, 0, 1), 0))
		must(t, unix.Fsync(fd))
		closeFD(t, fd)
		start := time.Now()
		p.slatefs("destroy", p.at(volName(0)))
		p.slatefs("erase", "wait", "--timeout", "10m", p.mnt)
		return time.Since(start)
	}
	slow, fast := took("none"), took("6s")
	t.Logf("%d MiB at 2M/s: %v; with erase_deadline=6s: %v", bytes>>20, slow, fast)
	if slow < 2*fast {
		t.Errorf("%v without a deadline, %v with one: the rate was not raised", slow, fast)
	}
	var log struct {
		Log []struct {
			Reason   string
			Deadline float64 `json:"deadline_seconds"`
			Late     int64   `json:"zeroed_late"`
			Longest  float64 `json:"longest_seconds"`
		}
	}
	must(t, json.Unmarshal([]byte(p.slatefs("erase", "log", "-j", p.mnt)), &log))
	records := 0
	for _, r := range log.Log {
		if r.Reason != "volume destroyed" {
			continue
		}
		if want := []float64{0, 6}[records]; r.Deadline != want || (r.Late > 0) != (r.Deadline > 0 && r.Longest > r.Deadline) {
			t.Errorf("record %d: %+v", records, r)
		}
		records++
	}
	if records != 2 {
		t.Errorf("%d records", records)
	}
}
