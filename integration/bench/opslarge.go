package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// largeBytes is what the volume of the rows on 10 TiB has mapped.
func (g *ground) largeBytes() int64 {
	if g.quick {
		return 1 << 40
	}
	return 10 << 40
}

// largePool is a pool on a loop device, whose file has holes, with a volume of 10 TiB that is mapped and a small one. A pool in
// the file itself would want its host to have the space.
func (g *ground) largePool(ctx context.Context, transport string) (_ *slatePeer, err error) {
	if g.large != nil {
		return g.large, nil
	}
	image, err := sparse(g.path("large.image"), g.largeBytes()+64<<30)
	if err != nil {
		return nil, err
	}
	out, err := command(ctx, "losetup", "--find", "--show", "--direct-io=on", image)
	if err != nil {
		return nil, err
	}
	device := strings.TrimSpace(out)
	g.later(func() error {
		_, err := command(context.WithoutCancel(ctx), "losetup", "--detach", device)
		return err
	})
	if _, err := command(ctx, g.slatefs, "pool", "create", "--assume-zero", "-o", "erase_throughput=0", "large", device); err != nil {
		return nil, err
	}
	p, err := g.mounted(ctx, "large", transport)
	if err != nil {
		return nil, err
	}
	if err := p.fill(64 * miB); err != nil {
		return nil, err
	}
	if _, err := command(ctx, g.slatefs, "create", "--size", fmt.Sprint(g.largeBytes()), p.path("large.raw")); err != nil {
		return nil, err
	}
	if err := allocate(p.path("large.raw"), g.largeBytes()); err != nil {
		return nil, err
	}
	g.large = p
	return p, nil
}

// allocate has all of a file mapped.
func allocate(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(unix.Fallocate(int(f.Fd()), 0, 0, size), f.Close())
}

// onLarge has an operation done to that pool, for the mount as users get it.
func onLarge(op func(context.Context, *ground, *slatePeer) (sample, error)) func(context.Context, *ground, peer) (sample, error) {
	return func(ctx context.Context, g *ground, p peer) (sample, error) {
		sp, ok := p.(*slatePeer)
		if !ok || sp.name != slate {
			return sample{}, errNone
		}
		large, err := g.largePool(ctx, sp.transport)
		if err != nil {
			return sample{}, err
		}
		return op(ctx, g, large)
	}
}

var (
	readLarge = onLarge(func(ctx context.Context, g *ground, large *slatePeer) (sample, error) {
		return g.fio(ctx, job{rw: "randread", bs: 4 * kiB, depth: 32, size: g.largeBytes()}, large.path("large.raw"))
	})
	readBeside = onLarge(func(ctx context.Context, g *ground, large *slatePeer) (sample, error) {
		return g.fio(ctx, job{rw: "randread", bs: 4 * kiB, depth: 32}, large.path("written.raw"))
	})
	mountLarge = onLarge(func(ctx context.Context, g *ground, large *slatePeer) (s sample, err error) {
		if err := large.fillJournal(ctx); err != nil {
			return s, err
		}
		return large.killAndMount(ctx)
	})
)

// fillJournal makes first writes all over the large volume until the journal is about half full, which is as full as it gets if
// there is a checkpoint then.
func (p *slatePeer) fillJournal(ctx context.Context) error {
	const snap = "@filled"
	path := p.path("large.raw")
	if unix.Access(p.path(".snap/large.raw"+snap), unix.F_OK) == nil {
		if _, err := command(ctx, p.g.slatefs, "destroy", path+snap); err != nil {
			return err
		}
	}
	if _, err := command(ctx, p.g.slatefs, "snapshot", path+snap); err != nil {
		return err
	}
	for last := int64(-1); ; {
		used, size, err := p.journal(ctx)
		if err != nil || used*20 >= size*9 || used < last {
			return err
		}
		last = used
		if err := scatter(path, p.g.largeBytes(), 4*miB, uint64(used)); err != nil {
			return err
		}
		if _, err := command(ctx, "sync", "-f", p.dir); err != nil {
			return err
		}
	}
}

// journal is how many bytes of the pool's journal are in use, and of how many.
func (p *slatePeer) journal(ctx context.Context) (used, size int64, err error) {
	out, err := command(ctx, p.g.slatefs, "pool", "list", "-j")
	if err != nil {
		return 0, 0, err
	}
	var list struct {
		Pools []struct {
			Name string `json:"name"`
			Info struct {
				Usage struct {
					Used int64 `json:"journal_used"`
					Size int64 `json:"journal_size"`
				} `json:"usage"`
			} `json:"info"`
		} `json:"pools"`
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return 0, 0, err
	}
	for _, l := range list.Pools {
		if l.Name == p.name && l.Info.Usage.Size > 0 {
			return l.Info.Usage.Used, l.Info.Usage.Size, nil
		}
	}
	return 0, 0, fmt.Errorf("pool %s tells nothing of its journal", p.name)
}
