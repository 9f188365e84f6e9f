package integration

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestEndKilled kills pool destroy --erase --certificate in the middle, again and again, until it comes to its end. The certificate is there
// when it is whole, and not before; each run goes on where the last one was killed; and the last one's certificate is complete and tells of all.
func TestEndKilled(t *testing.T) {
	p := mountedPool(t, "256M", "")
	for _, name := range []string{"a", "b"} {
		p.slatefs("create", "--size", "64M", p.at(name))
		must(t, os.WriteFile(p.at(name), []byte(strings.Repeat(name, 64<<20)), 0o600))
	}
	p.slatefs("destroy", p.at("a"))
	p.umount()
	keys, err := filepath.Glob(p.path("state/conf/keys/*.pub"))
	must(t, err)
	killed, file := 0, p.path("end.json")
	for wait := time.Millisecond; ; wait += wait/4 + time.Millisecond {
		cmd := exec.Command(program, "pool", "destroy", "--erase", "--force", "--certificate", file, p.device)
		cmd.Env, cmd.Dir = p.environ(), p.dir
		must(t, cmd.Start())
		timer := time.AfterFunc(wait, func() { _ = cmd.Process.Kill() }) // it may have ended
		err := cmd.Wait()
		timer.Stop()
		if _, there := os.Lstat(file); !errors.Is(there, os.ErrNotExist) {
			break
		}
		if err == nil || cmd.ProcessState.ExitCode() >= 0 {
			t.Fatalf("after %d kills: %v, and there is no certificate", killed, err)
		}
		killed++
	}
	t.Logf("it was killed %d times", killed)
	if killed == 0 {
		t.Error("it came to its end at once")
	}
	p.slatefs("erase", "certificate", "--verify", file, "--key", keys[0])
	of := p.tool("jq", "-r", ".certificate.of[].name", file)
	for _, name := range []string{"a", "b"} {
		if !strings.Contains(of, name+"\n") {
			t.Errorf("the certificate is of %q", of)
		}
	}
	if p.try("pool", "check", p.device).code == 0 { // it was killed after the certificate, before the superblocks went
		p.refuses(1, []string{"file exists"}, "pool", "destroy", "--erase", "--force", "--certificate", file, p.device)
		p.slatefs("pool", "destroy", "--erase", "--force", p.device)
	}
	must(t, os.Remove(p.device))
}
