package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"
)

// TestDemo: the demo tells its story: what was thrown away is on the device while erasing is paused, and gone when it
// has been resumed, with progress shown between. No process of it takes more than 200 MiB of memory.
func TestDemo(t *testing.T) {
	needs(t, "mke2fs", "qemu-img", "e2fsck", "debugfs")
	dir := newLab(t).dir
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=demo", "SLATEFS="+program, "TMPDIR="+dir)
	text, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	t.Logf("%s", text)
	rest := text
	var found [][]byte
	for _, step := range []string{
		`(?m)^   erasing is paused`,
		`(?m)^   rollback in `,
		`(?m)^   snapshot destroyed in `,
		`(?m)^   blocks with ROLLED-\d+: (\d+), with CLONED-\d+: (\d+), with SECOND-\d+: (\d+)$`,
		`(?m)^pool demo: .* to erase, paused$`,
		`(?m)^   slatefs erase resume`,
		`(?m)^\d+ B [0-9.]+ MB [0-9.]+ s \d+ B/s [0-9.]+ MB/s$`, // as erase wait shows it where there is no terminal
		`(?m)^   blocks with ROLLED-\d+: 0, with CLONED-\d+: 0, with SECOND-\d+: 0$`,
		`(?m)^   blocks with ALIVE-\d+: 768, of what lives$`,
		`(?m)^pool demo: .* no residue$`,
		`(?m)^   the daemon took at most (\d+) MiB of memory$`,
		`(?m)^pool demo: 0 errors, 0 leaks$`,
		`(?m)^demo: all is as it should be`,
		`(?m)^the largest process took (\d+) MiB$`,
	} {
		at := regexp.MustCompile(step).FindSubmatchIndex(rest)
		if at == nil {
			t.Fatalf("%s\nis not in what follows:\n%s", step, rest)
		}
		for i := 2; i < len(at); i += 2 {
			found = append(found, rest[at[i]:at[i+1]])
		}
		rest = rest[at[1]:]
	}
	var n [5]int64
	for i := range n {
		n[i], err = strconv.ParseInt(string(found[i]), 10, 64)
		must(t, err)
	}
	if min(n[0], n[1], n[2]) < 16384 {
		t.Errorf("marks of what was thrown away, while erasing is paused: %d; want those of 64 MiB each", n[:3])
	}
	if max(n[3], n[4]) > 200 {
		t.Errorf("the daemon of the demo took %d MiB, its largest process %d MiB; want 200 at most", n[3], n[4])
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// demoChild runs the demo and prints what memory the largest process of it took. It is a process of its own, for a program
// is charged with what the process that started it had: the tests', much.
func demoChild([]string) error {
	cmd := exec.Command("bash", "demo.sh")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stdout
	if err := cmd.Run(); err != nil {
		return err
	}
	fmt.Printf("the largest process took %d MiB\n", cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss>>10)
	return nil
}
