// Package progress tells a command that hangs from one that is slow.
//
// A hang is found by no progress, never by the clock alone: what is slow on a busy machine is slow and no more.
// Progress is output (each event of a test is a line of it); while there is none, processor time of the command and its
// descendants counts too, since a test may be silent for long and a machine may give it little.
package progress

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// silences is how many stalls a command may be without output, however much it works: a loop without end.
const silences = 6

// share of a stall that must have been processor time for it to be none.
const share = 20

// Watch judges whether one command makes progress. One goroutine may use it.
type Watch struct {
	stall  time.Duration // without output and without work: a hang
	output time.Time     // of the last output
	work   time.Time     // of the last output or work
	cpu    time.Duration // used by then
}

// New watches a command that starts now, and hangs when it makes no progress for the time of a stall.
func New(stall time.Duration, now time.Time) *Watch {
	return &Watch{stall: stall, output: now, work: now}
}

// Every is how often to look.
func (w *Watch) Every() time.Duration { return max(w.stall/share, 10*time.Millisecond) }

// Hangs tells whether the command hangs, when its last output was at output and cpu was used in all so far.
func (w *Watch) Hangs(now, output time.Time, cpu time.Duration) bool {
	if output.After(w.output) {
		w.output, w.work, w.cpu = output, output, cpu
	}
	return w.Stuck(now, cpu) || now.Sub(w.output) >= silences*w.stall
}

// Stuck is Hangs of a command that has no output: only work counts.
func (w *Watch) Stuck(now time.Time, cpu time.Duration) bool {
	if cpu < w.cpu { // children that had worked have ended
		w.cpu = cpu
	}
	if cpu-w.cpu >= w.stall/share {
		w.work, w.cpu = now, cpu
	}
	return now.Sub(w.work) >= w.stall
}

// tick is the unit of times in /proc/PID/stat: USER_HZ, 100 on all that Go runs on.
const tick = time.Second / 100

// stat is what is read of one process.
type stat struct {
	parent, group int
	cpu           time.Duration // its own, and that of its children which it has waited for
}

// CPU adds up the processor time of the process group and of what descends from it, ended children included.
func CPU(group int) time.Duration {
	all := map[int]stat{}
	files, _ := filepath.Glob("/proc/[0-9]*/stat") //nolint:errcheck // the pattern is good
	for _, f := range files {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		if err != nil {
			continue
		}
		text, err := os.ReadFile(f)
		if err != nil {
			continue // it has ended
		}
		if s, ok := parseStat(string(text)); ok {
			all[pid] = s
		}
	}
	var sum time.Duration
	for pid, s := range all {
		if s.group == group || descends(all, pid, group) {
			sum += s.cpu
		}
	}
	return sum
}

// descends tells whether an ancestor of a process is in the group.
func descends(all map[int]stat, pid, group int) bool {
	for range len(all) {
		pid = all[pid].parent
		s, ok := all[pid]
		if !ok {
			return false
		}
		if s.group == group {
			return true
		}
	}
	return false
}

// parseStat reads a line of /proc/PID/stat (see proc(5)); the name in it may hold anything.
func parseStat(line string) (stat, bool) {
	f := strings.Fields(line[strings.LastIndexByte(line, ')')+1:])
	if len(f) < 15 {
		return stat{}, false
	}
	n := make([]int, 15)
	for i := 1; i < 15; i++ {
		n[i], _ = strconv.Atoi(f[i]) //nolint:errcheck // some are no numbers, and not asked for
	}
	// After the name: 0 state, 1 parent, 2 group, 11 to 14 the times.
	return stat{parent: n[1], group: n[2], cpu: time.Duration(n[11]+n[12]+n[13]+n[14]) * tick}, true
}
