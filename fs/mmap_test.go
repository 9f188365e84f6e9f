package fs

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// mapperEnv makes the test binary a process that maps a file: a page fault in the process of the server could wait for
// itself, since the Go runtime does not know that the thread sleeps.
const mapperEnv = "SLATEFS_TEST_MMAP"

func TestMain(m *testing.M) {
	if path := os.Getenv(mapperEnv); path != "" {
		if err := serveMap(path); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if path := os.Getenv(changeEnv); path != "" {
		if err := runChange(path, os.Getenv(changeArg)); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if dir := os.Getenv(replaceEnv); dir != "" {
		if err := runReplace(dir, os.Getenv(replaceArg)); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// serveMap maps two pages of a file, shared, and answers commands: "get" prints 16 bytes from offset 4096 on, "put TEXT"
// stores text there and syncs it.
func serveMap(path string) error {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	m, err := unix.Mmap(fd, 0, 8192, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	fmt.Println("mapped")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "put "); ok {
			copy(m[4096:], text)
			if err := unix.Msync(m, unix.MS_SYNC); err != nil {
				return err
			}
		}
		fmt.Printf("%x\n", m[4096:4112])
	}
	return nil
}

// mapper is such a process.
type mapper struct {
	t   *testing.T
	in  io.WriteCloser
	out *bufio.Scanner
}

// newMapper maps a file until the end of the test.
func newMapper(t *testing.T, path string) *mapper {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), mapperEnv+"="+path)
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	m := &mapper{t, in, bufio.NewScanner(out)}
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("mapper: %v", err)
		}
	})
	if line := m.line(); line != "mapped" {
		t.Fatal(line)
	}
	return m
}

func (m *mapper) line() string {
	if !m.out.Scan() {
		m.t.Fatalf("mapper: ended: %v", m.out.Err())
	}
	return m.out.Text()
}

// do runs a command and returns the first bytes of the second page, in hex.
func (m *mapper) do(command string) string {
	m.t.Helper()
	if _, err := fmt.Fprintln(m.in, command); err != nil {
		m.t.Fatal(err)
	}
	return m.line()
}
