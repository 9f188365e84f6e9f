//go:build deaths

package death

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Env names a file of one line: "at STEP", of the next process that comes to a step, which takes the file away; or "by TEXT", of every
// process that is to serve a request that has a text in it.
const Env = "SLATEFS_DEATHS"

func asked() (what, of string) {
	b, err := os.ReadFile(os.Getenv(Env))
	if err != nil {
		return "", ""
	}
	what, of, _ = strings.Cut(strings.TrimSpace(string(b)), " ")
	return what, of
}

// At ends this process if a test has asked for that at a step.
func At(s Step) {
	if what, of := asked(); what != "at" || of != string(s) {
		return
	}
	if err := errors.Join(os.Remove(os.Getenv(Env)), unix.Kill(os.Getpid(), unix.SIGKILL)); err != nil {
		panic(err)
	}
	time.Sleep(time.Hour) //nolint:forbidigo // it ends before
}

// By panics if a test has asked for that of a request.
func By(request []byte) {
	if what, of := asked(); what == "by" && bytes.Contains(request, []byte(of)) {
		panic("a request that a test has asked to be deadly")
	}
}
