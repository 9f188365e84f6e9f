package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"slatefs/chain"
	"slatefs/chain/blockdev"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/daemon"
	"slatefs/cmd/slatefs/internal/host"
)

// Pools that no daemon has, opened in this process.

// reachReadOnly opens the device of a pool that is not mounted, and may not open, for reading.
func (a *app) reachReadOnly(ctx context.Context, ref host.PoolRef) (*blockdev.File, func() error, error) {
	return a.host.Reach(ctx, ref, blockdev.Options{ReadOnly: true}, false)
}

// reachAlone opens the device of a pool that is not mounted, for who changes it, and takes the pool's lock: no daemon comes meanwhile. name
// is the one on the device. release ends both.
func (a *app) reachAlone(ctx context.Context, ref host.PoolRef) (dev *blockdev.File, name string, release func() error, err error) {
	dev, leave, err := a.host.Reach(ctx, ref, blockdev.Options{}, false)
	if err != nil {
		return nil, "", nil, err
	}
	name, id, err := host.Identify(dev)
	if err == nil {
		lock, lockErr := a.host.LockPool(id)
		if lockErr == nil {
			return dev, name, func() error { return errors.Join(lock.Release(), leave()) }, nil
		}
		err = lockErr
	}
	return nil, "", nil, errors.Join(err, leave())
}

// openOffline opens a pool that is not mounted, for reading. close ends both.
func (a *app) openOffline(ctx context.Context, ref host.PoolRef) (p *chain.Pool, close func() error, err error) {
	dev, release, err := a.reachReadOnly(ctx, ref)
	if err != nil {
		return nil, nil, err
	}
	p, err = chain.Open(dev, chain.Options{Properties: control.Served, Now: a.now, ReadOnly: true})
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: %w", ref.Device, err), release())
	}
	return p, func() error { return errors.Join(p.Close(), release()) }, nil
}

// appendLog writes into the log of the daemon of the pool on a device.
func (a *app) appendLog(device string, write func(*slog.Logger)) error {
	pools, _ := a.host.Pools() // what can't be read has no name
	f, err := openLog(a.host.LogPath(device, pools))
	if err != nil {
		return err
	}
	write(logger(f, false))
	return f.Close()
}

// heldBy is the host that holds a pool which is open for reading; empty: none does.
func heldBy(p *chain.Pool) string {
	if i, err := chain.Identify(p.Device()); err == nil && !i.Host.None() {
		return i.Host.String()
	}
	return ""
}

// resizeOffline opens a pool that is not mounted, as its daemon would, to change its size.
func (a *app) resizeOffline(ctx context.Context, ref host.PoolRef,
	here func(context.Context, *daemon.Grower) (control.PoolSize, error),
) (r control.PoolSize, err error) {
	dev, _, release, err := a.reachAlone(ctx, ref)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, release()) }()
	me, err := a.host.AsHolder(a.now())
	if err != nil {
		return r, err
	}
	p, err := chain.Open(dev, chain.Options{Properties: control.Served, Now: a.now, Host: me})
	if err != nil {
		return r, host.TakeOverHint(err, ref.Name)
	}
	r, err = here(ctx, daemon.NewGrower(dev, p, slog.New(slog.DiscardHandler)))
	return r, errors.Join(err, p.Close())
}
