package fs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// buggy panics.
type buggy struct{ fuse.RawFileSystem }

func (buggy) GetAttr(<-chan struct{}, *fuse.GetAttrIn, *fuse.AttrOut) fuse.Status {
	panic("invariant broken")
}

func TestPanicEndsTheProcess(t *testing.T) {
	const env = "SLATEFS_TEST_PANIC"
	if os.Getenv(env) != "" {
		panicInHandler()
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestPanicEndsTheProcess$")
	cmd.Env = append(os.Environ(), env+"=1")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 {
		t.Errorf("%v", err)
	}
	for _, part := range []string{"panic: invariant broken", "buggy.GetAttr"} {
		if !strings.Contains(string(out), part) {
			t.Errorf("%q is not in the output", part)
		}
	}
	if bytes.Contains(out, []byte("survived")) {
		t.Errorf("%s", out)
	}
}

// panicInHandler sends a GETATTR to a handler that panics, on a goroutine as go-fuse does.
func panicInHandler() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		srv := fuse.NewProtocolServer(buggy{fuse.NewDefaultRawFileSystem()}, fuseOptions(MountOptions{Logger: discard}))
		in, out := make([]byte, 56), make([]byte, 4096)
		binary.NativeEndian.PutUint32(in, uint32(len(in)))
		binary.NativeEndian.PutUint32(in[4:], 3) // GETATTR
		n, st := srv.HandleRequest([][]byte{in}, [][]byte{out})
		fmt.Println("survived", n, st)
	}()
	<-done
}
