package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestOutOfMemory puts a daemon into a group that has less memory than it needs: the kernel ends it, more than once, and never its
// supervisor. Once the group has enough, the last successor does what those before could not. Nobody sees an error, and what
// was written is there.
func TestOutOfMemory(t *testing.T) {
	needsRoot(t)
	needs(t, "fio")
	const memory, little, kills = 256 << 20, 48 << 20, 3
	eachTransport(t, func(t *testing.T, tr string) {
		p := newLab(t).newPool("lab", "4G", tr)
		g := newCgroup(t, little)
		p.mountIn(g, memory)
		before := p.info().Info.Daemon
		own, never := oomAdjust(t, "self"), "-1000"
		if r := p.exec("sh", "-c", "echo "+never+" >/proc/self/oom_score_adj"); r.code != 0 {
			t.Logf("root may not spare a process here (TestReclaim in the guest may): %v", r)
			never = own
		}
		for pid, want := range map[int]string{before.Supervisor: never, before.PID: own} {
			if got := oomAdjust(t, fmt.Sprint(pid)); got != want {
				t.Errorf("process %d has oom_score_adj %s, want %s", pid, got, want)
			}
		}
		end := fioUser(t, p)
		p.slatefs("create", "--size", "1G", p.at("large"))
		done := make(chan struct{})
		go func() {
			defer close(done)
			p.manyLarge(p.at("large"), "512M")
		}()
		eventually(t, "the kernel ends daemons", patience, func() bool { return g.ended() >= kills || isClosed(done) })
		must(t, g.bound(memory+memoryMargin))
		ended := g.ended()
		<-done
		time.Sleep(time.Second) // under fio, which reads back what it wrote meanwhile
		end()
		after := p.info().Info
		t.Logf("the kernel ended %d daemons for want of memory", ended)
		if ended < kills || g.ended() != ended || after.Takeovers < 1 {
			t.Errorf("ended %d, then %d, want %d; %d takeovers", ended, g.ended(), kills, after.Takeovers)
		}
		if after.Daemon.PID == before.PID || after.Daemon.Supervisor != before.Supervisor {
			t.Errorf("processes %d, %d; they were %d, %d", after.Daemon.PID, after.Daemon.Supervisor, before.PID, before.Supervisor)
		}
		if log := string(read(t, after.Daemon.Log)); !strings.Contains(log, "signal: killed") {
			t.Errorf("the log does not tell of it:\n%s", log)
		}
		p.umount()
		p.check()
	})
}

func oomAdjust(t *testing.T, pid string) string {
	t.Helper()
	return strings.TrimSpace(string(read(t, "/proc/"+pid+"/oom_score_adj")))
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
