package fs

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"slatefs/chain"
	"slatefs/fs/mounts"
)

// sysRoot is where sysfs is mounted.
const sysRoot = "/sys"

// Holder is somebody who has a file of the mount open: a process, or a loop device.
type Holder struct {
	PID   int           // 0 for a loop device
	Comm  string        // name of the process
	Loop  string        // name of the loop device, "loop0"
	Path  string        // from the root of the mount
	Ino   chain.Ino     // of the volume, also for its snapshots
	Snap  chain.LayerID // of a snapshot, else 0
	Write bool
}

// Holders tells who has a volume or its snapshots open, or any file if ino is 0. It reads /proc and /sys only, and of other users'
// processes it sees what this process may see. Files that are only mapped, no longer open, are not found.
func (s *Server) Holders(ino chain.Ino) ([]Holder, error) {
	scan := holderScan{proc: mounts.Proc, sys: sysRoot, mount: s.id, ids: map[int]bool{s.id.ID: true}}
	if err := scan.run(); err != nil {
		return nil, err
	}
	var list []Holder
	for _, h := range scan.found {
		if s.identify(&h) && (ino == 0 || h.Ino == ino) {
			list = append(list, h.Holder)
		}
	}
	return list, nil
}

// identify says which file a holder has open, a loop device by the path and a process by the node id. False: none that
// is there, or a directory.
func (s *Server) identify(h *foundHolder) bool {
	if h.Loop != "" {
		h.node = uint64(chain.RootIno)
		for name := range strings.SplitSeq(h.Path, "/") {
			node, _, err := s.fs.find(s.fs.pool, h.node, name)
			if err != nil {
				return false
			}
			h.node = node
		}
	}
	a, err := s.fs.attr(s.fs.pool, h.node)
	if err != nil || a.Type != chain.TypeFile {
		return false
	}
	h.Path, h.Ino = s.fs.path(h.node), a.Ino
	if kind, num := split(h.node); kind == snapFile {
		h.Snap = chain.LayerID(num)
		_, _, h.Ino, err = s.fs.pool.SnapPlace(h.Snap)
	}
	return err == nil
}

// holderScan is one search.
type holderScan struct {
	proc, sys string
	mount     mounts.Mount
	ids       map[int]bool    // ids of the mount, in all mount namespaces seen so far
	spaces    map[string]bool // namespaces seen
	found     []foundHolder
}

// foundHolder is a Holder with the node id that /proc shows as inode number.
type foundHolder struct {
	Holder
	node uint64
}

func (s *holderScan) run() error {
	procs, err := os.ReadDir(s.proc)
	if err != nil {
		return err
	}
	s.spaces = make(map[string]bool)
	for _, p := range procs {
		if pid, err := strconv.Atoi(p.Name()); err == nil {
			s.learn(p.Name())
			s.process(pid, p.Name())
		}
	}
	return s.loops()
}

// learn finds the ids that the mount has in the mount namespace of a process: containers see copies of it.
func (s *holderScan) learn(pid string) {
	space, err := os.Readlink(filepath.Join(s.proc, pid, "ns/mnt"))
	if err != nil || s.spaces[space] {
		return
	}
	s.spaces[space] = true
	table, err := mounts.Read(s.proc, pid)
	if err != nil {
		return // it has ended
	}
	for _, m := range table {
		if m.Dev == s.mount.Dev {
			s.ids[m.ID] = true
		}
	}
}

// process looks through the open files of a process, if it may. Each file counts once for reading and once for writing.
func (s *holderScan) process(pid int, name string) {
	dir := filepath.Join(s.proc, name, "fdinfo")
	fds, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	seen := make(map[foundHolder]bool)
	for _, fd := range fds {
		i, ok := readFdinfo(filepath.Join(dir, fd.Name()))
		if !ok || !s.ids[i.mount] || i.flags&unix.O_PATH != 0 {
			continue
		}
		h := foundHolder{Holder{PID: pid, Write: writes(i.flags)}, i.ino}
		if i.flags&unix.O_DIRECTORY == 0 && !seen[h] {
			seen[h] = true
			h.Comm = s.comm(name)
			s.found = append(s.found, h)
		}
	}
}

// comm is the name of a process.
func (s *holderScan) comm(pid string) string {
	b, err := os.ReadFile(filepath.Join(s.proc, pid, "comm"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// loops finds the loop devices over files of the mount, by the path that the kernel shows.
func (s *holderScan) loops() error {
	files, err := filepath.Glob(filepath.Join(s.sys, "block/loop*/loop/backing_file"))
	if err != nil {
		return err
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // detached meanwhile
		}
		path, ok := strings.CutPrefix(strings.TrimSuffix(string(b), "\n"), s.mount.Dir+"/")
		if !ok {
			continue
		}
		loop := filepath.Dir(filepath.Dir(f))
		ro, err := os.ReadFile(filepath.Join(loop, "ro"))
		write := err != nil || strings.TrimSpace(string(ro)) != "1"
		s.found = append(s.found, foundHolder{Holder: Holder{Loop: filepath.Base(loop), Path: path, Write: write}})
	}
	return nil
}

// fdinfo is what /proc/PID/fdinfo/FD says of an open file.
type fdinfo struct {
	flags uint32
	mount int
	ino   uint64
}

// readFdinfo reads an fdinfo; false if the file was closed meanwhile or lacks a field.
func readFdinfo(path string) (i fdinfo, ok bool) {
	file, err := os.Open(path)
	if err != nil {
		return i, false
	}
	defer func() { _ = file.Close() }() //nolint:errcheck // it was only read
	fields := 0
	for lines := bufio.NewScanner(file); lines.Scan() && fields < 3; {
		key, val, _ := strings.Cut(lines.Text(), ":")
		val = strings.TrimSpace(val)
		switch key {
		case "flags":
			n, err := strconv.ParseUint(val, 8, 32)
			if err != nil {
				return i, false
			}
			i.flags, fields = uint32(n), fields+1
		case "mnt_id":
			n, err := strconv.Atoi(val)
			if err != nil {
				return i, false
			}
			i.mount, fields = n, fields+1
		case "ino":
			n, err := strconv.ParseUint(val, 10, 64)
			if err != nil {
				return i, false
			}
			i.ino, fields = n, fields+1
		}
	}
	return i, fields == 3
}
