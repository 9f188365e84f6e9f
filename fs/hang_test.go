package fs

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slatefs/.ci/progress"
)

// hangTime is how long a test with a mount may do nothing at all before it hangs. It is less than what ends the binary: who waits in a
// request of the mount cannot be ended then, and nobody would know for what.
const hangTime = 4 * time.Minute

// explainHang says where all wait when nothing happens any more while a mount is there, and aborts it, so that they go on with an
// error. The function that it returns ends that.
func explainHang(t testing.TB, s *Server) (end func()) {
	return whenStuck(hangTime, func() {
		t.Errorf("%s: nothing happens any more: aborted\n%s", s.Dir(), whereAllWait())
		abort(t, s)
	})
}

// whenStuck calls do once if this process, which serves the mounts of its tests, works on nothing for so long, before end is called.
func whenStuck(stall time.Duration, do func()) (end func()) {
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		w := progress.New(stall, time.Now())
		look := time.NewTicker(w.Every())
		defer look.Stop()
		for {
			select {
			case <-stop:
				return
			case now := <-look.C:
				if w.Stuck(now, ownCPU()) {
					do()
					return
				}
			}
		}
	}()
	return func() {
		close(stop)
		<-ended
	}
}

// ownCPU is the processor time that this process has used.
func ownCPU() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// whereAllWait is what each goroutine waits for, and each thread in the kernel.
func whereAllWait() string {
	var b strings.Builder
	threads, _ := filepath.Glob("/proc/self/task/*") // the pattern is good
	for _, dir := range threads {
		b.WriteString(filepath.Base(dir))
		for _, name := range []string{"comm", "wchan", "syscall", "stack"} {
			text, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				text = []byte(err.Error())
			}
			fmt.Fprintf(&b, " %s %s", name, strings.TrimSpace(string(text)))
		}
		b.WriteByte('\n')
	}
	stacks := make([]byte, 4<<20)
	b.Write(stacks[:runtime.Stack(stacks, true)])
	return b.String()
}

// What hangs is told, with who waits where; what works or has ended is not.
func TestHangIsExplained(t *testing.T) {
	told := make(chan string, 1)
	lock := make(chan struct{})
	go waitsForever(lock)
	defer close(lock)
	end := whenStuck(time.Second, func() { told <- whereAllWait() })
	defer end()
	select {
	case text := <-told:
		for _, want := range []string{"waitsForever", "TestHangIsExplained", "comm "} {
			if !strings.Contains(text, want) {
				t.Errorf("%q is not in:\n%s", want, text)
			}
		}
	case <-time.After(time.Minute):
		t.Fatal("a hang is not told")
	}
	whenStuck(time.Hour, func() { t.Error("what has ended hangs") })()
}

func waitsForever(lock chan struct{}) { <-lock }
