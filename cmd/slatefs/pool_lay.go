package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/google/uuid"

	"slatefs/chain"
	"slatefs/chain/blockdev"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/daemon"
	"slatefs/cmd/slatefs/internal/show"
	"slatefs/erase"
)

// poolDevice is what a pool is laid on: a device, or one that is veiled.
type poolDevice interface {
	blockdev.Device
	erase.Device
	Path() string
	Identity() string
}

// mayLay refuses a device that this pool can't be laid on.
func mayLay(dev *blockdev.File, n newPool) error {
	if err := bigEnough(dev.Size()); err != nil {
		return fmt.Errorf("%s: %w", n.device, err)
	}
	if err := daemon.Offered(dev, n.settings); err != nil {
		return fmt.Errorf("%s: %w", n.device, err)
	}
	return nil
}

// layPool makes an empty pool on an open device that mayLay allows.
func (a *app) layPool(ctx context.Context, dev poolDevice, n newPool, id uuid.UUID) error {
	if err := chain.Create(dev, chain.Format{Name: n.name, UUID: id, Zeroed: n.file > 0 || n.zeroed, Now: a.now}); err != nil {
		return err
	}
	own := os.Geteuid() != 0
	if len(n.settings) == 0 && !own && !n.zeroNow {
		return nil
	}
	p, err := chain.Open(dev, chain.Options{Properties: control.Served, Now: a.now})
	if err != nil {
		return err
	}
	r := chain.Req{Actor: "slatefs pool create"}
	err = p.SetProps(r, chain.RootIno, daemon.EngineSettings(n.settings)...)
	if own && err == nil {
		err = giveRoot(p, r, uint32(os.Geteuid()), uint32(os.Getegid()))
	}
	if n.zeroNow && err == nil {
		err = a.zeroPool(ctx, dev, p)
	}
	return errors.Join(err, p.Close())
}

// giveRoot makes the pool's root directory a user's: else an ordinary user could make no file in it.
func giveRoot(p *chain.Pool, r chain.Req, uid, gid uint32) error {
	_, err := p.SetAttr(r, chain.RootIno, chain.SetAttr{UID: &uid, GID: &gid})
	return err
}

// eraseStep is how much is erased between two looks at the progress.
const eraseStep = 64 << 20

// zeroPool erases all that is dirty, as fast as it goes, and shows progress. What can't be erased is an error.
func (a *app) zeroPool(ctx context.Context, dev poolDevice, p *chain.Pool) (err error) {
	words := chain.How{Program: "slatefs " + control.Version(), Device: daemon.DeviceName(dev)}
	e, err := erase.New(dev, daemon.Logged{Pool: p, Words: words}, erase.Config{Clock: erase.NewClock(a.now)})
	if err != nil {
		return err
	}
	total := p.Usage().Dirty
	bar := show.NewProgress(a.stderr, a.now, "zeros")
	defer func() { err = errors.Join(err, bar.End()) }()
	for {
		n, err := e.Now(ctx, eraseStep)
		if err != nil {
			return err
		}
		u := p.Usage()
		if err := bar.Set(total-u.Dirty-u.Failed, total); err != nil {
			return err
		}
		switch {
		case u.Dirty > 0 && n > 0:
		case u.Dirty+u.Failed > 0:
			return fmt.Errorf("%s: %s could not be erased", dev.Path(), show.FormatSize(u.Dirty+u.Failed))
		default:
			return nil
		}
	}
}
