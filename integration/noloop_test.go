package integration

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// unringedChild becomes the program of its arguments, without io_uring: a filter of system calls refuses it, as that of a container
// or of a unit does.
func unringedChild(args []string) error {
	runtime.LockOSThread() // exec leaves this thread alone, and its filter
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}, // the number of the call
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_IO_URING_SETUP, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog)))
	if e != 0 {
		return e
	}
	return syscall.Exec(args[0], args, os.Environ())
}

// TestEitherTransport: a mount that asks for no transport is served by the loop where there is one. One that works goes on with what
// the other has left: the program may come to another default, or the host forbid io_uring meanwhile. Who has a file open notices
// nothing.
func TestEitherTransport(t *testing.T) {
	if len(transports) < 2 {
		t.Skip("there is no loop here")
	}
	r := newReplaced(t, "nofail") // an option that means nothing
	served := func(when, want string) {
		t.Helper()
		words := strings.Fields(r.slatefs("pool", "status", r.name))
		if i := slices.Index(words, "transport:"); i < 0 || !strings.HasPrefix(strings.Join(words[i+1:], " "), want) {
			t.Errorf("%s: want %q: %q", when, want, words)
		}
	}
	served("at first", "loop takeover:")
	o := newProber(t, r.pool)
	r.slatefs("create", "--size", "4M", r.at("a"))
	fd := open(t, r.at("a"), unix.O_RDWR)
	data := stamped(64<<10, 1, 0, 7)
	same := func(when string) {
		t.Helper()
		got := make([]byte, len(data))
		if _, err := unix.Pread(fd, got, 0); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: other bytes, %v", when, err)
		}
		data = stamped(64<<10, 1, 0, uint64(len(when)))
		_, err := unix.Pwrite(fd, data, 0)
		must(t, err)
	}
	_, err := unix.Pwrite(fd, data, 0)
	must(t, err)
	real := read(t, r.both[0])
	unringed := fmt.Appendf(nil, "#!/bin/sh\n%s=unringed exec %s %s \"$@\"\n", childEnv, os.Args[0], r.both[0])
	for _, step := range []struct {
		what    string
		program []byte
		want    string
	}{
		{"without io_uring", unringed, "classic: no loop: blockdev: ring: setup: 256 entries: operation not permitted; a filter"},
		{"with it again", real, "loop takeover:"},
	} {
		install(t, r.here, step.program)
		r.kill()
		served(step.what, step.want)
		same(step.what)
	}
	closeFD(t, fd)
	o.end()
	r.umount()
	r.check()
}
