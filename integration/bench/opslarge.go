package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"slatefs/chain/blockdev"
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
	image, err := sparse(g.path("large.image"), g.largeBytes()+g.largeBytes()/32) // what is promised has 1/64 of metadata promised
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
	if err := writePlaces(p.path("large.raw"), g.largeBytes()/g.places(), g.places()); err != nil {
		return nil, err
	}
	g.large = p
	return p, nil
}

// places is in how many places of the large volume there is a block with data. What is read elsewhere is a hole of the pool's file,
// which no device is asked for.
func (g *ground) places() int64 {
	if g.quick {
		return 1 << 12
	}
	return 1 << 16
}

// writePlaces writes a block at every so many bytes, that begins with where it is.
func writePlaces(path string, every, places int64) error {
	return parallel(path, func(fd, i int) error {
		b := blockdev.Aligned(4 * kiB)
		for n := int64(i); n < places; n += workers {
			for at := 0; at < len(b); at += 8 {
				binary.LittleEndian.PutUint64(b[at:], uint64(n*every)+1)
			}
			if _, err := unix.Pwrite(fd, b, n*every); err != nil {
				return &os.PathError{Op: "write", Path: path, Err: err}
			}
		}
		return nil
	})
}

// seePlaces reads some of them, so that a row on what is written is not one on holes.
func seePlaces(path string, every, places int64) error {
	return parallel(path, func(fd, i int) error {
		b := blockdev.Aligned(4 * kiB)
		for n := int64(i); n < places; n += places / 64 {
			if _, err := unix.Pread(fd, b, n*every); err != nil {
				return &os.PathError{Op: "read", Path: path, Err: err}
			}
			if got := binary.LittleEndian.Uint64(b[4*kiB-8:]); got != uint64(n*every)+1 {
				return fmt.Errorf("%s: block at %d ends with %d", path, n*every, got)
			}
		}
		return nil
	})
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
		path, every := large.path("large.raw"), g.largeBytes()/g.places()
		if err := seePlaces(path, every, g.places()); err != nil {
			return sample{}, err
		}
		return counted(large.pid(), func() (sample, error) {
			return g.fio(ctx, job{rw: "randread", bs: 4 * kiB, depth: 32, size: g.largeBytes(), align: every}, path)
		})
	})
	readBeside = onLarge(func(ctx context.Context, g *ground, large *slatePeer) (sample, error) {
		return counted(large.pid(), func() (sample, error) {
			return g.fio(ctx, job{rw: "randread", bs: 4 * kiB, depth: 32}, large.path("written.raw"))
		})
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
