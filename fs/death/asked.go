//go:build deaths

package death

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Env names a file of one line: "at STEP" ends the next process that comes to a step, and "done OPCODE TEXT" the next one that
// has carried out a request of that kind that has a text in it; both take the file away. "by TEXT" ends every process that is to serve
// a request with that text.
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
	if what, of := asked(); what == "at" && of == string(s) {
		end()
	}
}

// end ends this process as kill -9 does.
func end() {
	if err := errors.Join(os.Remove(os.Getenv(Env)), unix.Kill(os.Getpid(), unix.SIGKILL)); err != nil {
		panic(err)
	}
	time.Sleep(time.Hour) //nolint:forbidigo // it ends before
}

// By panics if a test has asked for that of a request, which is about to be served.
func By(request []byte) {
	if what, of := asked(); what == "by" && bytes.Contains(request, []byte(of)) {
		panic("a request that a test has asked to be deadly")
	}
}

// Done ends this process if a test has asked for that of a request, which was carried out and is not answered.
func Done(request []byte) {
	what, of := asked()
	opcode, text, _ := strings.Cut(of, " ")
	is := strconv.Itoa(int(binary.NativeEndian.Uint32(request[4:])))
	if what == "done" && opcode == is && bytes.Contains(request, []byte(text)) {
		end()
	}
}
