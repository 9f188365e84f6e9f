package integration

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// child is a process of the test binary that answers lines.
type child struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// startChild starts one of children and reads its first line, "ready".
func startChild(t *testing.T, name string, args ...string) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), childEnv+"="+name)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	c := &child{t: t, cmd: cmd, in: in, out: bufio.NewReader(out)}
	t.Cleanup(func() {
		if c.cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	if line := c.line(); line != "ready" {
		t.Fatalf("%s: %q", name, line)
	}
	return c
}

// line reads one line.
func (c *child) line() string {
	c.t.Helper()
	s, err := c.out.ReadString('\n')
	if err != nil {
		c.t.Fatalf("%v: %v", c.cmd.Args, err)
	}
	return strings.TrimSuffix(s, "\n")
}

// do sends a line, and data after it, and reads a line.
func (c *child) do(format string, args ...any) string {
	c.t.Helper()
	if _, err := fmt.Fprintf(c.in, format+"\n", args...); err != nil {
		c.t.Fatal(err)
	}
	return c.line()
}

// end closes the child's input and waits for its end.
func (c *child) end() {
	c.t.Helper()
	must(c.t, c.in.Close())
	must(c.t, c.cmd.Wait())
}

// holdChild holds files open: lines are "FLAGS" (r or w) and a path.
func holdChild(args []string) error {
	flags := os.O_RDONLY
	if args[0] == "w" {
		flags = os.O_RDWR
	}
	f, err := os.OpenFile(args[1], flags, 0)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	in := bufio.NewReader(os.Stdin)
	for {
		text, err := in.ReadString('\n')
		if err != nil {
			return f.Close()
		}
		_, err = f.WriteAt([]byte(text), 0)
		fmt.Println("wrote:", err)
	}
}

// sum is a checksum, as children print it.
func sum(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }

// mapChild maps a file, shared, and works on the memory: a page fault in the process of a test could wait for what only
// the test can end. Lines are "get OFF LEN", answered by a checksum, and "put OFF LEN BYTE", which stores LEN times BYTE
// and syncs.
func mapChild(args []string) error {
	f, err := os.OpenFile(args[0], os.O_RDWR, 0)
	if err != nil {
		return err
	}
	var size int
	if _, err := fmt.Sscan(args[1], &size); err != nil {
		return err
	}
	m, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var what string
		var off, n, b int
		if _, err := fmt.Sscan(lines.Text()+" 0", &what, &off, &n, &b); err != nil {
			return err
		}
		if what == "put" {
			for i := range m[off : off+n] {
				m[off+i] = byte(b)
			}
			if err := unix.Msync(m, unix.MS_SYNC); err != nil {
				return err
			}
		}
		fmt.Println(sum(m[off : off+n]))
	}
	return nil
}

// interruptChild writes stamped blocks while a timer interrupts it all the time, and prints how many writes ended for
// that.
func interruptChild(args []string) error {
	f, err := os.OpenFile(args[0], os.O_RDWR|unix.O_DIRECT, 0)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGUSR1)
	stop := make(chan struct{})
	runtime.LockOSThread()
	pid, tid := os.Getpid(), unix.Gettid()
	go func() {
		for {
			select {
			case <-stop:
				return
			default:
				_ = unix.Tgkill(pid, tid, unix.SIGUSR1)
			}
		}
	}()
	n := 0
	for i := int64(0); i < 512; i++ {
		b := stamped(64<<10, 0, i*(64<<10), uint64(i+1))
		for done := 0; done < len(b); {
			k, err := unix.Pwrite(int(f.Fd()), b[done:], i*(64<<10)+int64(done))
			if err == unix.EINTR {
				n++
				continue
			}
			if err != nil {
				return err
			}
			done += k
		}
	}
	close(stop)
	if err := f.Sync(); err != nil {
		return err
	}
	fmt.Println(n)
	return f.Close()
}
