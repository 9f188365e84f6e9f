package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Rows that targets speak of.
const (
	rowSnapshot      = "snapshot of a volume that is written"
	rowSnapshotLarge = "the same, 1 TiB"
	rowSnapshotCrowd = "the same, beside 1,000 volumes x 20 snapshots"
	rowBuffered      = "read 4K in a row, buffered, of a snapshot"
	rowSync          = "a device sync"
	rowAlone         = "longest request of a writer alone"
	rowRollback      = "roll back"
	rowClone         = "clone"
	rowDestroyLayer  = "delete a layer of random 4K writes"
	rowErase         = "erase, unlimited"
	rowEraseRate     = "erase at 20M, of the rate"
	rowDeviceBytes   = "bytes to the device per byte, first writes"
)

const milliseconds = "ms"

// operations are what a person waits for. Of each the value is what the caller waited, from the start of the command to its end,
// and the longest request is that of a writer beside it.
var operations = []row{
	{name: rowBuffered, op: readBuffered},
	{name: "the same of a volume", op: readVolumeBuffered},
	{name: "discard 64K, qd 8", op: discard},
	{name: rowSync, unit: milliseconds, less: true, op: deviceSync},
	{name: rowAlone, unit: milliseconds, less: true, op: alone},
	{name: rowSnapshot, unit: milliseconds, less: true, op: onVolume("written.raw", (*slatePeer).snapshot)},
	{name: rowSnapshotLarge, unit: milliseconds, less: true, op: onVolume("large.raw", (*slatePeer).snapshot)},
	{name: rowRollback, unit: milliseconds, less: true, op: onVolume("changed.raw", (*slatePeer).rollback)},
	{name: rowClone, unit: milliseconds, less: true, op: onVolume("changed.raw", (*slatePeer).clone)},
	{name: rowDestroyLayer, unit: milliseconds, less: true, op: destroyLayer},
	{name: rowErase, unit: "MiB/s", op: eraseAll},
	{name: rowEraseRate, unit: "ratio", op: eraseAtRate},
	{name: "read 4K, qd 32, while it erases", op: readWhileErasing},
	{name: rowDeviceBytes, unit: "ratio", less: true, op: deviceBytes},
	{name: "mount after a kill", unit: milliseconds, less: true, op: mountAfterKill},
	{name: rowMountLarge, unit: milliseconds, less: true, op: mountLarge},
	{name: rowReadBeside, op: readBeside},
	{name: rowReadLarge, op: readLarge},
	{name: rowTakeover, unit: milliseconds, less: true, op: takeover},
	{name: rowMemory, unit: "MiB", less: true, op: memory},
	{name: "snapshots are listed: read 4K, qd 32", op: readWhileListed},
	{name: rowSnapshotCrowd, unit: milliseconds, less: true, op: snapshotInCrowd},
	{name: rowIdle, unit: "% of a core", less: true, op: idle},
}

// timed is how long fn takes, in ms.
func timed(fn func() error) (float64, error) {
	start := time.Now()
	err := fn()
	return float64(time.Since(start).Microseconds()) / 1e3, err
}

// beside runs fn while fio writes to the volume of the peer, and returns what fio says.
func (p *slatePeer) beside(ctx context.Context, fn func() error) (sample, error) {
	type ended struct {
		s   sample
		err error
	}
	done := make(chan ended, 1)
	g := *p.g
	g.long = max(2*g.long, 1500*time.Millisecond) // fio takes its time to begin
	go func() {
		s, err := g.fio(ctx, job{rw: "randwrite", bs: 4 * kiB, depth: 4}, p.path("written.raw"))
		done <- ended{s, err}
	}()
	time.Sleep(g.long / 2)
	err := fn()
	d := <-done
	return d.s, errors.Join(err, d.err)
}

// onVolume is an operation on a volume, with a writer beside it on another or the same one.
func onVolume(file string, op func(*slatePeer, context.Context, string) error) func(context.Context, *ground, peer) (sample, error) {
	return func(ctx context.Context, g *ground, p peer) (sample, error) {
		sp, ok := p.(*slatePeer)
		if !ok {
			return sample{}, errNone
		}
		path, err := sp.volume(ctx, file)
		if err != nil {
			return sample{}, err
		}
		var wait float64
		s, err := sp.beside(ctx, func() (err error) {
			wait, err = timed(func() error { return op(sp, ctx, path) })
			return err
		})
		return sample{Value: wait, Max: s.Max}, errors.Join(err, sp.tidy(ctx, path))
	}
}

// volume makes the volume that an operation wants, if it is not there.
func (p *slatePeer) volume(ctx context.Context, file string) (string, error) {
	path := p.path(file)
	if unix.Access(path, unix.F_OK) == nil {
		return path, nil
	}
	switch file {
	case "large.raw":
		if _, err := command(ctx, p.g.slatefs, "create", "--size", "1T", path); err != nil {
			return "", err
		}
		_, err := p.g.fio(ctx, job{rw: "randwrite", bs: 4 * kiB, depth: 32, bytes: p.g.size / 16, size: 1 << 40}, path)
		return path, err
	default:
		if err := fill(path, p.g.size/8); err != nil {
			return "", err
		}
		_, err := command(ctx, p.g.slatefs, "snapshot", path+"@before")
		return path, err
	}
}

func (p *slatePeer) snapshot(ctx context.Context, path string) error {
	_, err := command(ctx, p.g.slatefs, "snapshot", path+"@now")
	return err
}

func (p *slatePeer) rollback(ctx context.Context, path string) error {
	_, err := command(ctx, p.g.slatefs, "rollback", path+"@before")
	return err
}

func (p *slatePeer) clone(ctx context.Context, path string) error {
	_, err := command(ctx, p.g.slatefs, "clone", path+"@before", p.path("clone.raw"))
	return err
}

// tidy removes what an operation has left.
func (p *slatePeer) tidy(ctx context.Context, path string) error {
	if unix.Access(p.path(".snap/"+path[len(p.dir)+1:]+"@now"), unix.F_OK) == nil {
		if _, err := command(ctx, p.g.slatefs, "destroy", path+"@now"); err != nil {
			return err
		}
	}
	if unix.Access(p.path("clone.raw"), unix.F_OK) == nil {
		if _, err := command(ctx, p.g.slatefs, "destroy", p.path("clone.raw")); err != nil {
			return err
		}
	}
	return p.erased(ctx)
}

// readBuffered is a program with a small buffer, as grep and md5sum, on a file that the page cache does not have: of a snapshot,
// where the peer has any.
func readBuffered(ctx context.Context, g *ground, p peer) (sample, error) {
	if sp, ok := p.(*slatePeer); ok {
		if _, err := sp.ready(ctx, snapshot); err != nil {
			return sample{}, err
		}
		return g.readOnce(ctx, p, sp.path(fmt.Sprintf(".snap/written.raw@b%d", sp.snaps)))
	}
	path, err := p.ready(ctx, written)
	if err != nil {
		return sample{}, err
	}
	return g.readOnce(ctx, p, path)
}

func readVolumeBuffered(ctx context.Context, g *ground, p peer) (sample, error) {
	sp, ok := p.(*slatePeer)
	if !ok {
		return sample{}, errNone
	}
	return g.readOnce(ctx, p, sp.path("written.raw"))
}

func (g *ground) readOnce(ctx context.Context, p peer, path string) (sample, error) {
	if err := drop(path); err != nil {
		return sample{}, err
	}
	return counted(p.pid(), func() (sample, error) {
		return g.fio(ctx, job{rw: "read", bs: 4 * kiB, depth: 1, bytes: g.size / 4, buffered: true}, path)
	})
}

// alone is what a writer waits who has nothing beside him.
func alone(ctx context.Context, _ *ground, p peer) (sample, error) {
	sp, ok := p.(*slatePeer)
	if !ok {
		return sample{}, errNone
	}
	s, err := sp.beside(ctx, func() error { return nil })
	return sample{Value: s.Max / 1e3, Max: s.Max}, err
}

// deviceSync is a write and a sync of the file itself.
func deviceSync(ctx context.Context, g *ground, p peer) (sample, error) {
	np, ok := p.(*nativePeer)
	if !ok {
		return sample{}, errNone
	}
	path, err := np.ready(ctx, written)
	if err != nil {
		return sample{}, err
	}
	s, err := g.fio(ctx, job{rw: "randwrite", bs: 4 * kiB, depth: 1, fsync: 1}, path)
	if err != nil {
		return s, err
	}
	return sample{Value: 1e3 / s.Value}, nil
}

// discard makes holes of 64 KiB, in turn and at random places, of a file that has none.
func discard(ctx context.Context, g *ground, p peer) (s sample, err error) {
	size, path := g.size/4, ""
	switch p := p.(type) {
	case *nativePeer:
		path = g.path("native-discard.raw")
	case *slatePeer:
		path = p.path("discard.raw")
	case *qsdPeer:
		if path, err = p.ready(ctx, holes); err != nil {
			return s, err
		}
	default:
		return s, errNone
	}
	if err := fill(path, size); err != nil {
		return s, err
	}
	const hole = 64 * kiB
	order := rand.Perm(int(size / hole))
	wait, err := timed(func() error {
		return parallel(path, func(fd, i int) error {
			for n := i; n < len(order); n += workers {
				err := unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, int64(order[n])*hole, hole)
				if err != nil {
					return &os.PathError{Op: "fallocate", Path: path, Err: err}
				}
			}
			return nil
		})
	})
	s.Value = float64(len(order)) / (wait / 1e3)
	if _, ok := p.(*qsdPeer); ok || err != nil {
		return s, err
	}
	if err := os.Remove(path); err != nil {
		return s, err
	}
	if sp, ok := p.(*slatePeer); ok {
		return s, sp.erased(ctx)
	}
	return s, nil
}

// layer is a layer's worth of random writes.
func (g *ground) layer() job { return job{rw: "randwrite", bs: 4 * kiB, depth: 32, bytes: g.size / 10} }

// destroyLayer frees a layer of random writes. For a chain of files its like is the commit into the one below.
func destroyLayer(ctx context.Context, g *ground, p peer) (sample, error) {
	switch p := p.(type) {
	case *slatePeer:
		path, err := p.ready(ctx, snapshot)
		if err != nil {
			return sample{}, err
		}
		if _, err := g.fio(ctx, g.layer(), path); err != nil {
			return sample{}, err
		}
		wait, err := timed(func() error {
			_, err := command(ctx, g.slatefs, "rollback", fmt.Sprintf("%s@b%d", path, p.snaps))
			return err
		})
		return sample{Value: wait}, errors.Join(err, p.erased(ctx))
	case *qsdPeer:
		path, err := p.ready(ctx, snapshot)
		if err != nil {
			return sample{}, err
		}
		if _, err := g.fio(ctx, g.layer(), path); err != nil {
			return sample{}, err
		}
		top := p.top
		if err := p.end(); err != nil {
			return sample{}, err
		}
		wait, err := timed(func() error {
			_, err := command(ctx, "qemu-img", "commit", "-q", "-t", "none", top)
			return err
		})
		p.top = p.base
		return sample{Value: wait}, errors.Join(err, os.Remove(top), p.export(p.base))
	}
	return sample{}, errNone
}

// eraseAll zeroes as many bytes as a file has; of the file itself with dd.
func eraseAll(ctx context.Context, g *ground, p peer) (sample, error) {
	bytes := g.size / 2
	rate := func(fn func() error) (sample, error) {
		wait, err := timed(fn)
		return sample{Value: float64(bytes/miB) / (wait / 1e3)}, err
	}
	switch p := p.(type) {
	case *nativePeer:
		return rate(func() error {
			_, err := command(ctx, "dd", "if=/dev/zero", "of="+g.path("native.raw"), "bs=1M", fmt.Sprint("count=", bytes/miB),
				"oflag=direct", "conv=notrunc,fsync", "status=none")
			return err
		})
	case *slatePeer:
		if err := p.free(ctx, bytes); err != nil {
			return sample{}, err
		}
		return rate(func() error {
			if _, err := command(ctx, g.slatefs, "erase", "resume", p.dir); err != nil {
				return err
			}
			return p.erased(ctx)
		})
	}
	return sample{}, errNone
}

// free has so many bytes wait to be erased; the erase rests.
func (p *slatePeer) free(ctx context.Context, bytes int64) error {
	if _, err := command(ctx, p.g.slatefs, "erase", "pause", p.dir); err != nil {
		return err
	}
	if err := fill(p.path("gone.raw"), bytes); err != nil {
		return err
	}
	_, err := command(ctx, p.g.slatefs, "destroy", p.path("gone.raw"))
	return err
}

// at sets the rate, has what is free erased at it while fn runs, and erases the rest at once.
func (p *slatePeer) at(ctx context.Context, rate string, bytes int64, fn func() error) error {
	if err := p.free(ctx, bytes); err != nil {
		return err
	}
	for _, args := range [][]string{{"set", "erase_throughput=" + rate, p.dir}, {"erase", "resume", p.dir}} {
		if _, err := command(ctx, p.g.slatefs, args...); err != nil {
			return err
		}
	}
	err := fn()
	_, err2 := command(ctx, p.g.slatefs, "set", "erase_throughput=0", p.dir)
	return errors.Join(err, err2, p.erased(ctx))
}

func eraseAtRate(ctx context.Context, g *ground, p peer) (s sample, err error) {
	sp, ok := p.(*slatePeer)
	if !ok {
		return s, errNone
	}
	const rate = 20 * miB
	bytes := int64(10 * rate) // for 10 s: the rate is exact over that
	if g.quick {
		bytes /= 10
	}
	err = sp.at(ctx, "20M", bytes, func() error {
		wait, err := timed(func() error { return sp.erased(ctx) })
		s.Value = float64(bytes) / (wait / 1e3) / rate
		return err
	})
	return s, err
}

func readWhileErasing(ctx context.Context, g *ground, p peer) (s sample, err error) {
	sp, ok := p.(*slatePeer)
	if !ok {
		return s, errNone
	}
	err = sp.at(ctx, "50M", g.size/2, func() (err error) {
		s, err = g.fio(ctx, job{rw: "randread", bs: 4 * kiB, depth: 32}, sp.path("written.raw"))
		return err
	})
	return s, err
}

// deviceBytes counts what the daemon writes for a layer of first writes, with the checkpoint.
func deviceBytes(ctx context.Context, g *ground, p peer) (sample, error) {
	sp, ok := p.(*slatePeer)
	if !ok {
		if _, ok := p.(*nativePeer); ok {
			return sample{Value: 1}, nil
		}
		return sample{}, errNone
	}
	path, err := sp.ready(ctx, snapshot)
	if err != nil {
		return sample{}, err
	}
	io := fmt.Sprintf("/proc/%d/io", sp.pid())
	before, err := counter(io, "write_bytes")
	if err != nil {
		return sample{}, err
	}
	if _, err := g.fio(ctx, g.layer(), path); err != nil {
		return sample{}, err
	}
	if _, err := command(ctx, "sync", "-f", sp.dir); err != nil {
		return sample{}, err
	}
	after, err := counter(io, "write_bytes")
	return sample{Value: float64(after-before) / float64(g.layer().bytes)}, err
}
