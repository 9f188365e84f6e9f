package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// slatePeer is a pool of slatefs in a file beside the others', with a volume of the same size.
type slatePeer struct {
	g         *ground
	name      string
	transport string // empty: the one that users get
	dir       string // its mount
	daemon    int
	snaps     int
}

func newSlate(ctx context.Context, g *ground, name string) (peer, error) {
	_, transport, _ := strings.Cut(name, "-")
	p, err := g.newPool(ctx, name, transport, 5*g.size)
	if err != nil {
		return nil, err
	}
	return p, p.fill(g.size)
}

// newPool makes a pool of size bytes in a file, and mounts it; more is for pool create.
func (g *ground) newPool(ctx context.Context, name, transport string, size int64, more ...string) (*slatePeer, error) {
	args := slices.Concat([]string{"pool", "create", "-o", "erase_throughput=0", "--size", fmt.Sprint(size)}, more,
		[]string{name, g.path(name + ".pool")})
	if _, err := command(ctx, g.slatefs, args...); err != nil {
		return nil, err
	}
	return g.mounted(ctx, name, transport)
}

// mounted mounts a pool, until close.
func (g *ground) mounted(ctx context.Context, name, transport string) (*slatePeer, error) {
	p := &slatePeer{g: g, name: name, transport: transport, dir: g.path(name)}
	if err := os.Mkdir(p.dir, 0o755); err != nil {
		return nil, err
	}
	if err := p.mount(ctx); err != nil {
		return nil, err
	}
	g.later(func() error { return p.umount(context.WithoutCancel(ctx)) })
	return p, nil
}

// fill makes the volume that rows without a state of their own use.
func (p *slatePeer) fill(bytes int64) error { return fill(p.path("written.raw"), bytes) }

// heal mounts the pool again if what failed has left it without a daemon.
func (p *slatePeer) heal(ctx context.Context) error {
	pid, _, err := p.g.daemonOf(ctx, p.name)
	if err != nil {
		return p.mount(ctx)
	}
	p.daemon = pid
	return nil
}

func (p *slatePeer) path(name string) string { return filepath.Join(p.dir, name) }

func (p *slatePeer) mount(ctx context.Context) error {
	args := []string{"mount"}
	if p.transport != "" {
		args = append(args, "-o", "transport="+p.transport)
	}
	if _, err := command(ctx, p.g.slatefs, append(args, p.name, p.dir)...); err != nil {
		return err
	}
	pid, _, err := p.g.daemonOf(ctx, p.name)
	p.daemon = pid
	return err
}

func (p *slatePeer) umount(ctx context.Context) error {
	_, err := command(ctx, p.g.slatefs, "umount", p.dir)
	return err
}

func (p *slatePeer) pid() int { return p.daemon }

func (p *slatePeer) ready(ctx context.Context, st state) (string, error) {
	if st != holes {
		if err := p.dropHoles(ctx); err != nil {
			return "", err
		}
	}
	switch st {
	case written:
		return p.path("written.raw"), nil
	case snapshot:
		p.snaps++
		return p.path("written.raw"), p.replaceSnapshot(ctx, p.path("written.raw"), p.snaps)
	case holes:
		return sparse(p.path("holes.raw"), p.g.size)
	}
	return "", errNone
}

// dropHoles removes the file that was made to be written into holes, so that the pool does not fill.
func (p *slatePeer) dropHoles(ctx context.Context) error {
	if err := os.Remove(p.path("holes.raw")); err != nil {
		if os.IsNotExist(err) {
			return nil
		}
		return err
	}
	return p.erased(ctx)
}

// replaceSnapshot takes a snapshot, and destroys the one before, so that the pool does not fill; what that frees is erased first.
func (p *slatePeer) replaceSnapshot(ctx context.Context, file string, n int) error {
	if n > 1 {
		if _, err := command(ctx, p.g.slatefs, "destroy", fmt.Sprintf("%s@b%d", file, n-1)); err != nil {
			return err
		}
		if err := p.erased(ctx); err != nil {
			return err
		}
	}
	_, err := command(ctx, p.g.slatefs, "snapshot", fmt.Sprintf("%s@b%d", file, n))
	return err
}

// erased waits until nothing is left to be erased.
func (p *slatePeer) erased(ctx context.Context) error {
	_, err := command(ctx, p.g.slatefs, "erase", "wait", p.dir)
	return err
}

// layered is a volume of depth layers: each new one holds a share of the blocks, at random.
func (p *slatePeer) layered(ctx context.Context, depth int) (string, error) {
	path := p.path(fmt.Sprintf("layers%d.raw", depth))
	if unix.Access(path, unix.F_OK) == nil {
		return path, nil
	}
	size := p.g.size / 4
	if err := fill(path, size); err != nil {
		return "", err
	}
	for i := 1; i < depth; i++ {
		if _, err := command(ctx, p.g.slatefs, "snapshot", fmt.Sprintf("%s@l%d", path, i)); err != nil {
			return "", err
		}
		if err := scatter(path, size, size/64, uint64(i)); err != nil {
			return "", err
		}
	}
	return path, nil
}

// daemonOf asks for the processes of a mounted pool: the one that serves it, and the one that would start it again.
func (g *ground) daemonOf(ctx context.Context, pool string) (pid, supervisor int, err error) {
	out, err := command(ctx, g.slatefs, "pool", "list", "-j")
	if err != nil {
		return 0, 0, err
	}
	var list struct {
		Pools []struct {
			Name string `json:"name"`
			Info struct {
				Daemon struct {
					PID        int `json:"pid"`
					Supervisor int `json:"supervisor"`
				} `json:"daemon"`
			} `json:"info"`
		} `json:"pools"`
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return 0, 0, err
	}
	for _, p := range list.Pools {
		if p.Name == pool && p.Info.Daemon.PID > 1 {
			return p.Info.Daemon.PID, p.Info.Daemon.Supervisor, nil
		}
	}
	return 0, 0, fmt.Errorf("pool %s is not mounted", pool)
}
