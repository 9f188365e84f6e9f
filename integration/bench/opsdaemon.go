package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Rows that targets speak of.
const (
	rowMountLarge = "mount after a kill, 10T mapped"
	rowReadLarge  = "read 4K, qd 32, of 10T"
	rowReadBeside = "read 4K, qd 32, of 64M in the same pool"
	rowTakeover   = "longest wait through a takeover"
	rowMemory     = "memory at most"
	rowIdle       = "idle pools, each"
)

// mountAfterKill is the wait of a mount after the daemon and its supervisor were killed with the journal half written.
func mountAfterKill(ctx context.Context, g *ground, p peer) (sample, error) {
	sp, ok := p.(*slatePeer)
	if !ok {
		return sample{}, errNone
	}
	path, err := sp.ready(ctx, snapshot)
	if err != nil {
		return sample{}, err
	}
	if _, err := g.fio(ctx, g.layer(), path); err != nil {
		return sample{}, err
	}
	return sp.killAndMount(ctx)
}

// killAndMount kills the daemon and its supervisor, and tells what the mount takes that comes then.
func (p *slatePeer) killAndMount(ctx context.Context) (sample, error) {
	daemon, supervisor, err := p.g.daemonOf(ctx, p.name)
	if err != nil {
		return sample{}, err
	}
	for _, pid := range []int{supervisor, daemon} {
		if pid > 1 {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil {
				return sample{}, err
			}
		}
	}
	for unix.Kill(daemon, 0) == nil {
		time.Sleep(time.Millisecond)
	}
	wait, err := timed(func() error { return p.mount(ctx) })
	return sample{Value: wait}, err
}

// takeover is the longest wait of a reader while the daemon is killed and another one goes on.
func takeover(ctx context.Context, _ *ground, p peer) (sample, error) {
	sp, ok := p.(*slatePeer)
	if !ok {
		return sample{}, errNone
	}
	s, err := sp.beside(ctx, func() error { return unix.Kill(sp.pid(), unix.SIGKILL) })
	if err != nil {
		return sample{}, err
	}
	sp.daemon, _, err = sp.g.daemonOf(ctx, sp.name)
	return sample{Value: s.Max / 1e3}, err
}

// memory is the most that the daemon had in memory since it was started.
func memory(_ context.Context, _ *ground, p peer) (sample, error) {
	sp, ok := p.(*slatePeer)
	if !ok {
		return sample{}, errNone
	}
	kb, err := counter(fmt.Sprintf("/proc/%d/status", sp.pid()), "VmHWM")
	return sample{Value: float64(kb) / kiB}, err
}

// readWhileListed reads while a directory of many snapshots is walked by ls, again and again.
func readWhileListed(ctx context.Context, g *ground, p peer) (sample, error) {
	sp, ok := p.(*slatePeer)
	if !ok {
		return sample{}, errNone
	}
	dir, err := sp.crowd(ctx)
	if err != nil {
		return sample{}, err
	}
	walks, stop := context.WithCancel(ctx)
	walked := make(chan error, 1)
	go func() {
		for {
			if _, err := command(walks, "ls", "-lR", filepath.Join(dir, ".snap")); err != nil {
				if walks.Err() != nil {
					err = nil
				}
				walked <- err
				return
			}
		}
	}()
	s, err := g.fio(ctx, job{rw: "randread", bs: 4 * kiB, depth: 32}, sp.path("written.raw"))
	stop()
	return s, errors.Join(err, <-walked)
}

// snapshotInCrowd is a snapshot in a pool that has many.
func snapshotInCrowd(ctx context.Context, g *ground, p peer) (sample, error) {
	if sp, ok := p.(*slatePeer); ok {
		if _, err := sp.crowd(ctx); err != nil {
			return sample{}, err
		}
	}
	return onVolume("written.raw", (*slatePeer).snapshot)(ctx, g, p)
}

// crowd is a directory of 1,000 volumes with 20 snapshots each.
func (p *slatePeer) crowd(ctx context.Context) (string, error) {
	volumes, snapshots := 1000, 20
	if p.g.quick {
		volumes, snapshots = 100, 5
	}
	dir := p.path("crowd")
	if unix.Access(dir, unix.F_OK) == nil {
		return dir, nil
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	for i := range volumes {
		if _, err := sparse(filepath.Join(dir, fmt.Sprintf("v%d.raw", i)), miB); err != nil {
			return "", err
		}
	}
	for i := range snapshots {
		if _, err := command(ctx, p.g.slatefs, "snapshot", "-r", fmt.Sprintf("%s@s%d", dir, i)); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// idle is what each of forty pools uses that nobody uses.
func idle(ctx context.Context, g *ground, p peer) (s sample, err error) {
	sp, ok := p.(*slatePeer)
	if !ok || sp.name != slate {
		return s, errNone
	}
	pools, long := 40, 10*time.Second
	if g.quick {
		pools, long = 4, 2*time.Second
	}
	var pids []int
	defer func() {
		for i := range pids {
			_, e := command(context.WithoutCancel(ctx), g.slatefs, "umount", g.path(fmt.Sprint("idle", i)))
			err = errors.Join(err, e)
		}
	}()
	for i := range pools {
		name := fmt.Sprint("idle", i)
		if err := os.MkdirAll(g.path(name), 0o755); err != nil {
			return s, err
		}
		if unix.Access(g.path(name+".pool"), unix.F_OK) != nil {
			if _, err := command(ctx, g.slatefs, "pool", "create", "--sparse", "--size", "64M", name, g.path(name+".pool")); err != nil {
				return s, err
			}
		}
		if _, err := command(ctx, g.slatefs, "mount", name, g.path(name)); err != nil {
			return s, err
		}
		pids = append(pids, 0)
		if pids[i], _, err = g.daemonOf(ctx, name); err != nil {
			return s, err
		}
	}
	used, err := cpuOfAll(pids)
	if err != nil {
		return s, err
	}
	time.Sleep(long)
	after, err := cpuOfAll(pids)
	s.Value = (after - used).Seconds() / long.Seconds() / float64(pools) * 100
	return s, err
}

// cpuOfAll is what the threads of processes have used so far. The threads tell it in ns; of one that has ended nothing is told.
func cpuOfAll(pids []int) (sum time.Duration, err error) {
	for _, pid := range pids {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		if err != nil || len(threads) == 0 {
			return 0, errors.Join(fmt.Errorf("process %d tells no time of threads", pid), err)
		}
		for _, path := range threads {
			b, err := os.ReadFile(path)
			var ran int64
			if err == nil {
				_, err = fmt.Sscan(string(b), &ran)
			}
			if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ESRCH) {
				return 0, fmt.Errorf("%s: %w", path, err)
			}
			sum += time.Duration(ran)
		}
	}
	return sum, nil
}
