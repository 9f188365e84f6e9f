package integration

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// onceCase is a call whose request is carried out by a daemon that ends before it answers. The file "old" and the directory "olddir"
// are there, fd is open on "old", for appends; "mark" is in the request.
type onceCase struct {
	name string
	code int // opcode of linux/fuse.h
	do   func(d dying, fd int) error
	then string // what is there afterwards, as listed
}

const codeWrite = 16

// What is there before, by names: content of files, and their attribute.
const onceBefore = "old=0123 olddir/"

var onceCases = []onceCase{
	{"create", 35, func(d dying, _ int) error {
		fd, err := unix.Open(d.at("mark"), unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
		return errors.Join(err, unix.Close(fd))
	}, "mark= " + onceBefore},
	{"mknod", 8, func(d dying, _ int) error { return unix.Mknod(d.at("mark"), unix.S_IFREG|0o600, 0) }, "mark= " + onceBefore},
	{"mkdir", 9, func(d dying, _ int) error { return unix.Mkdir(d.at("mark"), 0o700) }, "mark/ " + onceBefore},
	{"symlink", 6, func(d dying, _ int) error { return unix.Symlink("to", d.at("mark")) }, "mark>to " + onceBefore},
	{"unlink", 10, func(d dying, _ int) error { return unix.Unlink(d.at("mark.f")) }, onceBefore},
	{"rmdir", 11, func(d dying, _ int) error { return unix.Rmdir(d.at("mark.d")) }, onceBefore},
	{"rename", 12, func(d dying, _ int) error { return unix.Rename(d.at("old"), d.at("mark")) }, "mark=0123 olddir/"},
	{"rename over", 12, func(d dying, _ int) error { return unix.Rename(d.at("old"), d.at("mark.f")) }, "mark.f=0123 olddir/"},
	{"rename without replacing", 45, func(d dying, _ int) error {
		return unix.Renameat2(unix.AT_FDCWD, d.at("old"), unix.AT_FDCWD, d.at("mark"), unix.RENAME_NOREPLACE)
	}, "mark=0123 olddir/"},
	{"exchange", 45, func(d dying, _ int) error {
		return unix.Renameat2(unix.AT_FDCWD, d.at("old"), unix.AT_FDCWD, d.at("mark.d"), unix.RENAME_EXCHANGE)
	}, "mark.d=0123 old/ olddir/"},
	{
		"set an attribute", 21, func(d dying, _ int) error {
			return unix.Setxattr(d.at("old"), "user.mark", []byte("a"), unix.XATTR_CREATE)
		},
		"old=0123 +user.mark olddir/",
	},
	{"remove an attribute", 24, func(_ dying, fd int) error { return unix.Fremovexattr(fd, "user.mark") }, onceBefore},
	{"append", 16, func(_ dying, fd int) error { _, err := unix.Write(fd, []byte("mark")); return err }, "old=0123mark olddir/"},
	{"write", 16, func(_ dying, fd int) error { _, err := unix.Pwrite(fd, []byte("mark"), 0); return err }, "old=0123mark olddir/"},
}

// TestDoneOnce ends a daemon when it has carried out a request and has not answered it, for each kind of request that would fail, or
// do something else, when it is done again. It is sent again, succeeds, and was done once.
func TestDoneOnce(t *testing.T) {
	eachTransport(t, func(t *testing.T, tr string) {
		d := newDying(t, tr)
		for i, c := range onceCases {
			if tr == "transport=loop" && c.code != codeWrite { // the same code serves all others
				continue
			}
			must(t, os.WriteFile(d.at("old"), []byte("0123"), 0o600))
			must(t, os.Mkdir(d.at("olddir"), 0o700))
			switch c.name {
			case "unlink", "rename over":
				must(t, os.WriteFile(d.at("mark.f"), nil, 0o600))
			case "rmdir", "exchange":
				must(t, os.Mkdir(d.at("mark.d"), 0o700))
			case "remove an attribute":
				must(t, unix.Setxattr(d.at("old"), "user.mark", []byte("a"), 0))
			}
			fd := open(t, d.at("old"), unix.O_WRONLY|unix.O_APPEND)
			pid := d.pid()
			text := "mark"
			if c.code == codeWrite { // its bytes may lie elsewhere by then
				text = ""
			}
			d.order(fmt.Sprint("done ", c.code, " ", text))
			if err := c.do(d, fd); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			if _, err := os.Lstat(d.orders); err == nil {
				t.Fatalf("%s: no daemon has ended", c.name)
			}
			d.waitServed(pid)
			if got := d.sketch(t); got != c.then {
				t.Errorf("%s: there is %q, want %q", c.name, got, c.then)
			}
			closeFD(t, fd)
			entries, err := os.ReadDir(d.mnt)
			must(t, err)
			for _, e := range entries {
				must(t, os.RemoveAll(d.at(e.Name())))
			}
			if i%4 == 3 {
				time.Sleep(wellAfter)
			}
		}
	})
}

// sketch lists the root: names, content of files and their own attributes, targets.
func (p *pool) sketch(t *testing.T) string {
	t.Helper()
	entries, err := os.ReadDir(p.mnt)
	must(t, err)
	var list []string
	for _, e := range entries {
		s := e.Name()
		switch {
		case e.IsDir():
			s += "/"
		case e.Type() == os.ModeSymlink:
			to, err := os.Readlink(p.at(s))
			must(t, err)
			s += ">" + to
		default:
			s += "=" + string(read(t, p.at(e.Name())))
			b := make([]byte, 1000)
			n, err := unix.Listxattr(p.at(e.Name()), b)
			must(t, err)
			if n > 0 {
				s += fmt.Sprintf(" +%s", strings.TrimSuffix(string(b[:n]), "\x00"))
			}
		}
		list = append(list, s)
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}
