//go:build race

package chain

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"slatefs/chain/blockdev/devtest"
)

// mostSteps is what one hold of the plan lock may do: anything that grows with volumes, jobs, snapshots or the pool is more,
// sooner or later.
const mostSteps = 64

// longHolds are the places whose holds may be longer, with the bound and why. It gets shorter.
var longHolds = map[string]longHold{
	"mount":                  {math.MaxInt, "nobody else has the pool"},
	"reclaimer.find":         {math.MaxInt, "check of an image, alone"},
	"Pool.checkMemory":       {math.MaxInt, "it has a view of its own"},
	"checkAt":                {math.MaxInt, "the same"},
	"Pool.usesHere":          {math.MaxInt, "the same"},
	"TestTallyInPieces":      {math.MaxInt, "itself"},
	"TestLossClimbsInPieces": {math.MaxInt, "itself"},

	// A rename looks paths up a few times, and each costs the depth of its directory. What is sacrificed for space in one batch
	// was seen to take 123.
	"works.changeWith": {160, "both are bounded (going.go), and not yet in pieces"},
}

type longHold struct {
	most int
	why  string
}

// TestMain shows the holds of the plan lock of all tests that ran that are too long.
func TestMain(m *testing.M) {
	devtest.Watch = func(devtest.Op) { holds.noteIO() }
	code := m.Run()
	for place, io := range ioByPlace() {
		may, excused := mayRead[place]
		if !excused {
			code, may = max(code, 1), "and may not: "+strings.Join(io.callers, "; ")
		}
		fmt.Fprintf(os.Stderr, "plan lock: %s asked the device %d times with it held: %s\n", place, io.n, may)
	}
	if bad := judgeHolds(longHolds); len(bad) > 0 {
		code = max(code, 1)
		fmt.Fprintf(os.Stderr, "plan lock: these holds do more than %d steps:\n%s\n", mostSteps, strings.Join(bad, "\n"))
	}
	os.Exit(code)
}

// ioByPlace are the operations of devices that were asked for with a plan lock held, by the function that took it.
func ioByPlace() map[string]placeIO {
	out := map[string]placeIO{}
	holds.mu.Lock()
	defer holds.mu.Unlock()
	for at, io := range holds.io {
		place, _ := at.names()
		asker, on := namesOf(io.first[:])
		o := out[place]
		o.n += io.n
		if callers := asker + " < " + on; !slices.Contains(o.callers, callers) {
			o.callers = append(o.callers, callers)
		}
		out[place] = o
	}
	return out
}

// placeIO is what was asked for with the lock held that one place took.
type placeIO struct {
	n       int
	callers []string // who asked first, each time that place was called in another way
}

// judgeHolds lists the places whose longest hold is longer than it may be.
func judgeHolds(may map[string]longHold) (bad []string) {
	for _, h := range holdsByPlace() {
		if bound := max(mostSteps, may[h.place].most); h.most > bound {
			bad = append(bad, fmt.Sprintf("%8d  %-40s %s", h.most, h.place, h.callers))
		}
	}
	return bad
}

// placeHolds are the holds of one place, which is the function that takes the lock.
type placeHolds struct {
	place   string
	callers string // of the longest
	holdCount
}

// holdsByPlace is the histogram so far, the longest hold first.
func holdsByPlace() []placeHolds {
	by := map[string]*placeHolds{}
	holds.mu.Lock()
	defer holds.mu.Unlock()
	for at, c := range holds.at {
		place, callers := at.names()
		h := by[place]
		if h == nil {
			h = &placeHolds{place: place}
			by[place] = h
		}
		if c.most >= h.most {
			h.most, h.callers = c.most, callers
		}
		h.n += c.n
		for i, n := range c.by {
			h.by[i] += n
		}
	}
	var out []placeHolds
	for _, h := range by {
		out = append(out, *h)
	}
	slices.SortFunc(out, func(a, b placeHolds) int {
		return cmp.Or(cmp.Compare(b.most, a.most), cmp.Compare(a.place, b.place))
	})
	return out
}

// names are the function that took the lock, by the name of its declaration, and those that called it.
func (at holdPlace) names() (place, callers string) { return namesOf(at[:]) }

// namesOf is the same for any stack.
func namesOf(stack []uintptr) (place, callers string) {
	var all []string
	frames := runtime.CallersFrames(slices.DeleteFunc(slices.Clone(stack), func(pc uintptr) bool { return pc == 0 }))
	for more := true; more; {
		var f runtime.Frame
		f, more = frames.Next()
		name := plainName(f.Function)
		if name == "" || len(all) > 0 && all[len(all)-1] == name || strings.HasPrefix(name, "testing.") {
			continue
		}
		switch name { // they take it again for their caller
		case "runtime.goexit", "commitLog.tryCold", "commitLog.underPlan", "openVolumes.underPlan", "lookUp[...]", "forecast",
			"commitLog.fetchMissed", "blockSpace.bringGroup", "blockSpace.settleGroups",
			"commitLog.unlocked", "blockSpace.waitAside", "commitLog.awaitRoom": // the latter
			continue
		}
		all = append(all, name)
	}
	if len(all) == 0 {
		return "?", ""
	}
	return all[0], strings.Join(all[1:], " < ")
}

var plainNames = strings.NewReplacer("slatefs/chain.", "", "(*", "", ")", "")

// plainName is a function without its package, and a function literal, or what was inlined, by what declares it.
func plainName(s string) string {
	s = plainNames.Replace(s)
	if at := strings.LastIndex(s, ".openVolumes.underPlan"); at > 0 {
		return s[:at]
	}
	for i := 0; i < len(s); i++ {
		if rest := s[i:]; strings.HasPrefix(rest, ".func") || strings.HasPrefix(rest, ".gowrap") || strings.HasPrefix(rest, ".deferwrap") {
			return s[:i]
		}
	}
	return s
}

// TestPlanLock: the instrument itself.
func TestPlanLock(t *testing.T) {
	plan := planLock{shareLock: newShareLock()}
	var resize, sacrifice, work, structure workLock
	orderLocks([][]*workLock{{&resize, &sacrifice}, {&work}, {&structure}}, &plan)
	mustPanic(t, "not held", plan.assertHeld)
	mustPanic(t, "not held", structure.assertHeld)
	structure.Lock()
	plan.Lock()
	plan.step(7)
	plan.assertHeld()
	structure.assertHeld()
	work.assertFree()
	mustPanic(t, "may not be", structure.assertFree)
	mustPanic(t, "taken by its holder", plan.Lock)
	mustPanic(t, "wrong order", structure.Lock)
	mustPanic(t, "wrong order", work.Lock)
	done := make(chan struct{})
	go func() { // another goroutine holds none
		defer close(done)
		mustPanic(t, "not held", plan.assertHeld)
		mustPanic(t, "given up", plan.Unlock)
		plan.assertFree()
		resize.Lock()
		defer resize.Unlock()
		mustPanic(t, "wrong order", sacrifice.Lock)
	}()
	<-done
	plan.Unlock()
	structure.Unlock()
	mustPanic(t, "not held", plan.assertShared)
	plan.RLock(3)
	plan.step(5)
	plan.assertShared()
	mustPanic(t, "not held", plan.assertHeld) // alone
	mustPanic(t, "may not be", plan.assertFree)
	mustPanic(t, "taken by its holder", plan.Lock)
	mustPanic(t, "taken by its holder", func() { plan.RLock(3) })
	mustPanic(t, "wrong order", work.Lock)
	mustPanic(t, "given up", plan.Unlock)
	if planHeld() != &plan || plan.place() == (holdPlace{}) {
		t.Error("it is not known who shares the lock")
	}
	v := &Volume{p: &openVolumes{core: &core{}}}
	mustPanic(t, "without its lock", v.assertOwn)
	done = make(chan struct{})
	go func() { // another goroutine does not share it, and may
		defer close(done)
		mustPanic(t, "not held", plan.assertShared)
		mustPanic(t, "does not share", func() { plan.RUnlock(3) })
		plan.assertFree()
		plan.RLock(4)
		plan.RUnlock(4)
	}()
	<-done
	plan.RUnlock(3)
	plan.assertFree()
	for _, h := range holdsByPlace() {
		if h.place == "TestPlanLock" {
			if h.n < 3 || h.most != 7 || h.by[3] < 2 || h.by[3] != h.n-h.by[0] {
				t.Errorf("holds of 7, 5 and 0 steps: %+v", h)
			}
			return
		}
	}
	t.Error("the hold of this test is not in the histogram")
}

func mustPanic(t *testing.T, with string, fn func()) {
	t.Helper()
	defer func() {
		if e := recover(); e == nil || !strings.Contains(fmt.Sprint(e), with) {
			t.Errorf("a panic of %q: %v", with, e)
		}
	}()
	fn()
}

// mayRead are the places that may ask the device with the plan lock held, and why: all others fail the tests. It gets shorter.
var mayRead = map[string]string{
	"mount":               "nobody else has the pool",
	"checkpointer.replay": "the same: where it is inlined",
	"xattrRows":           "a test that counts rows",
	"expectFound":         "a test that damages",
	"loadAlone":           "nobody else has it: what check looks at",
	"checkAt":             "the same",
	"TestCheckInPasses":   "the same",
	"Pool.checkMemory":    "check, of what a checkpoint left",
	"Pool.usesHere":       "audit, of what a checkpoint left",
	"reclaimer.find":      "check of an image, alone",
	"bruteForce":          "a test that looks at all maps, alone",
	"sameBlocks":          "the same",
	"keptHolds":           "a test that looks at all lists, alone",
	"TestDamagedGroup":    "itself",
}
