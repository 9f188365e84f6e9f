package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// qsdPeer is qemu-storage-daemon, which exports a chain of qcow2 files as Proxmox VE makes them. It is started anew for each
// state that is not the last one's. Its version 7.2 corrupts chains above one layer: a peer for speed only.
type qsdPeer struct {
	g     *ground
	srv   *server
	mount string // the file that it is mounted on
	base  string // the image that is filled
	top   string // the image that is exported: base, or one of its own for a row
	files int
}

func newQSD(ctx context.Context, g *ground, _ string) (peer, error) {
	p := &qsdPeer{g: g, mount: g.path("qsd.raw")}
	if err := os.WriteFile(p.mount, nil, 0o644); err != nil {
		return nil, err
	}
	raw := g.path("qsd-source.raw")
	if err := fill(raw, g.size); err != nil {
		return nil, err
	}
	base := g.path("qsd-base.qcow2")
	if _, err := command(ctx, "qemu-img", "convert", "-n", "-O", "qcow2", raw, p.image(ctx, base, "")); err != nil {
		return nil, err
	}
	g.later(p.end)
	p.base, p.top = base, base
	return p, errors.Join(os.Remove(raw), p.export(base))
}

// image makes a qcow2 file as Proxmox VE does, above another or alone, and returns its path.
func (p *qsdPeer) image(ctx context.Context, path, below string) string {
	args := []string{"create", "-q", "-f", "qcow2", "-o", "cluster_size=131072,extended_l2=on,preallocation=metadata"}
	if below != "" {
		args = append(args, "-b", below, "-F", "qcow2")
	}
	if _, err := command(ctx, "qemu-img", append(args, path, fmt.Sprint(p.g.size))...); err != nil {
		say("qsd: %v", err) // what uses the image says so, too
	}
	return path
}

func (p *qsdPeer) pid() int { return p.srv.cmd.Process.Pid }

func (p *qsdPeer) end() error {
	if p.srv == nil {
		return nil
	}
	err := p.srv.end()
	p.srv = nil
	return err
}

// export serves an image in place of the one that is.
func (p *qsdPeer) export(image string) (err error) {
	if err := p.end(); err != nil {
		return err
	}
	p.top = image
	there := func() bool {
		var st unix.Stat_t
		return unix.Stat(p.mount, &st) == nil && st.Size == p.g.size
	}
	p.srv, err = serve(there, "qemu-storage-daemon",
		"--blockdev", "driver=file,node-name=f,cache.direct=on,aio=io_uring,filename="+image,
		"--blockdev", "driver=qcow2,node-name=q,file=f",
		"--export", "type=fuse,id=e,node-name=q,writable=on,mountpoint="+p.mount)
	return err
}

// ready exports the image that is filled, or one above it or beside it, in place of the last such one.
func (p *qsdPeer) ready(ctx context.Context, st state) (string, error) {
	old, next := p.top, p.base
	if st != written {
		p.files++
		next = p.g.path(fmt.Sprintf("qsd-%d.qcow2", p.files))
	}
	switch st {
	case written:
		if old == p.base {
			return p.mount, nil
		}
	case snapshot:
		p.image(ctx, next, p.base)
	case holes:
		p.image(ctx, next, "")
	}
	if err := p.export(next); err != nil {
		return "", err
	}
	if old != p.base {
		return p.mount, os.Remove(old)
	}
	return p.mount, nil
}

// heal exports again what was, if what failed has left the daemon dead.
func (p *qsdPeer) heal(context.Context) error {
	if p.srv != nil && unix.Kill(p.srv.cmd.Process.Pid, 0) == nil {
		return nil
	}
	p.srv = nil
	return p.export(p.base)
}
