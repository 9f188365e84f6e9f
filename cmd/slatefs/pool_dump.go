package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/show"
)

func (a *app) poolDumpCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "dump POOL",
		Short: "Print what a pool consists of",
		Long: `Prints superblock, space, volumes with their layers, and erase jobs of a pool, for people. The form may change; scripts
use the -j of other commands. A pool that is not mounted is opened read-only.`,
		Example: `  slatefs pool dump lab
  slatefs pool dump ./lab.pool`,
		Args:              arguments(1, 1),
		ValidArgsFunction: a.completePools(0),
		RunE: plain(func(ctx context.Context, args []string) error {
			f, err := a.finder()
			if err != nil {
				return err
			}
			ref, err := f.Pool(args[0])
			if err != nil {
				return err
			}
			if ref.Live != nil {
				text, err := control.Dump.Call(ctx, *ref.Live, control.None{})
				if err != nil {
					return err
				}
				_, err = io.WriteString(a.stdout, text)
				return err
			}
			p, close, err := a.openOffline(ctx, ref)
			if err != nil {
				return err
			}
			return errors.Join(dumpPool(ctx, a.stdout, p), close())
		}),
	}
}

// dumpPool describes a pool.
func dumpPool(ctx context.Context, w io.Writer, p *chain.Pool) error {
	var b strings.Builder
	u := p.Usage()
	b.WriteString(show.Printable("pool %s\n  uuid %v\n  generation %d\n  journal %d of %d bytes\n", p.Name(), p.UUID(), u.Generation, u.JournalUsed, u.JournalSize))
	fmt.Fprintf(&b, "space, bytes\n  total %d\n  live %d\n  metadata %d\n  clean %d\n  claimed %d\n  dirty %d\n  freeing %d\n  failed %d\n",
		u.Total, u.Live, u.Meta, u.Clean, u.Claimed, u.Dirty, u.Freeing, u.Failed)
	fmt.Fprintf(&b, "  reserve %d\n  promised %d\n  available %d\n", u.Reserve, u.Promised, u.Avail)
	fmt.Fprintf(&b, "volumes %d, snapshots %d, layers %d\n", u.Volumes, u.Snapshots, u.Layers)
	s := &service{pool: p, log: slog.New(slog.DiscardHandler), dir: "/"}
	err := s.eachVolume(ctx, chain.RootIno, true, func(ino chain.Ino) error { return s.dumpVolume(&b, ino) })
	if err != nil {
		return err
	}
	jobs := p.EraseJobs()
	fmt.Fprintf(&b, "erase jobs %d\n", len(jobs))
	for _, j := range jobs {
		b.WriteString(show.Printable("  job %d %s \"%s\" of \"%s\": freed %d dirty %d erased %d failed %d since %s\n",
			j.ID, j.State, j.Reason, subject(j.Volume, j.Layer), j.Freed, j.Dirty, j.Erased, j.Failed, show.FormatTime(j.Since)))
	}
	_, err = io.WriteString(w, b.String())
	return err
}

// dumpVolume describes a volume, and the layers of its chain that are its own.
func (s *service) dumpVolume(b *strings.Builder, ino chain.Ino) error {
	i, err := s.pool.VolumeInfo(ino)
	if err != nil {
		return err
	}
	b.WriteString(show.Printable("  volume %s inode %d mode %04o size %d used %d refer %d promised %d", s.abs(ino), uint64(ino), i.Mode, i.Size, i.Used, i.Refer, i.Promised))
	if i.Origin != "" {
		b.WriteString(show.Printable(" origin %s", i.Origin))
	}
	b.WriteString("\n")
	layers, err := s.pool.Tree(ino)
	for _, l := range layers {
		if l.Volume != ino {
			continue
		}
		kind := "snapshot " + l.Name
		switch {
		case l.Head:
			kind = "head"
		case l.Nameless:
			kind = "nameless"
		}
		b.WriteString(show.Printable("    layer %v parent %v %s size %d written %d refer %d %s\n", l.ID, l.Parent, kind, l.Size, l.Written, l.Refer, show.FormatTime(l.Created)))
	}
	return err
}
