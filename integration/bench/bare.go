package main

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// bareCommand makes this program the bare peer: bench bare FILE DIR.
const bareCommand = "bare"

// bareName is the one file of its mount.
const bareName = "file.raw"

// serveBare mounts a file system on dir that has one file, which is file: go-fuse with one pread or pwrite for each request,
// tuned as go-fuse's users would (no page cache, direct I/O side by side, no splice, 8 processors), and nothing else. It returns
// when the mount is gone.
func serveBare(file, dir string) error {
	runtime.GOMAXPROCS(8)
	fd, err := unix.Open(file, unix.O_RDWR|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: file, Err: err}
	}
	root := &bareRoot{file: bareFile{fd: fd}}
	srv, err := fs.Mount(dir, root, &fs.Options{MountOptions: fuse.MountOptions{
		Name: "bench", FsName: "bench", DirectMountStrict: true, DisableSplice: true, MaxWrite: 1 << 20, MaxBackground: 128,
		ExtraCapabilities: fuse.CAP_DIRECT_IO_ALLOW_MMAP | fuse.CAP_ASYNC_DIO,
	}})
	if err != nil {
		return err
	}
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-ends
		if err := srv.Unmount(); err != nil {
			say("bare: %v", err)
		}
	}()
	srv.Wait()
	return unix.Close(fd)
}

type bareRoot struct {
	fs.Inode
	file bareFile
}

func (r *bareRoot) OnAdd(ctx context.Context) {
	r.AddChild(bareName, r.NewPersistentInode(ctx, &r.file, fs.StableAttr{Mode: unix.S_IFREG}), false)
}

type bareFile struct {
	fs.Inode
	fd int
}

func (f *bareFile) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	var st unix.Stat_t
	if err := unix.Fstat(f.fd, &st); err != nil {
		return fs.ToErrno(err)
	}
	out.Mode, out.Size, out.Blocks = unix.S_IFREG|0o644, uint64(st.Size), uint64(st.Blocks)
	return 0
}

func (f *bareFile) Setattr(ctx context.Context, fh fs.FileHandle, _ *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	return f.Getattr(ctx, fh, out)
}

func (f *bareFile) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return f, fuse.FOPEN_DIRECT_IO | fuse.FOPEN_PARALLEL_DIRECT_WRITES, 0
}

func (f *bareFile) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	n, err := unix.Pread(f.fd, dest, off)
	if err != nil {
		return nil, fs.ToErrno(err)
	}
	return fuse.ReadResultData(dest[:n]), 0
}

func (f *bareFile) Write(_ context.Context, _ fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	n, err := unix.Pwrite(f.fd, data, off)
	return uint32(max(n, 0)), fs.ToErrno(err)
}

func (f *bareFile) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	return fs.ToErrno(unix.Fdatasync(f.fd))
}

// barePeer is a file through go-fuse alone.
type barePeer struct {
	srv  *server
	path string
}

func newBare(_ context.Context, g *ground, _ string) (peer, error) {
	if err := fill(g.path("bare.raw"), g.size); err != nil {
		return nil, err
	}
	dir := g.path("bare")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	p := &barePeer{path: filepath.Join(dir, bareName)}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	there := func() bool { return unix.Access(p.path, unix.F_OK) == nil }
	if p.srv, err = serve(there, self, bareCommand, g.path("bare.raw"), dir); err != nil {
		return nil, err
	}
	g.later(p.srv.end)
	return p, nil
}

func (p *barePeer) pid() int { return p.srv.cmd.Process.Pid }

func (p *barePeer) ready(_ context.Context, st state) (string, error) {
	if st != written {
		return "", errNone
	}
	return p.path, nil
}
