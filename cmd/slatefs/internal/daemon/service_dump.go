package daemon

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/show"
)

// Dump describes a pool.
func Dump(ctx context.Context, w io.Writer, p *chain.Pool) error {
	var b strings.Builder
	u := p.Usage()
	b.WriteString(show.Printable("pool %s\n  uuid %v\n  generation %d\n  journal %d of %d bytes\n", p.Name(), p.UUID(), u.Generation, u.JournalUsed, u.JournalSize))
	fmt.Fprintf(&b, "space, bytes\n  total %d\n  live %d\n  metadata %d\n  clean %d\n  claimed %d\n  dirty %d\n  freeing %d\n  failed %d\n",
		u.Total, u.Live, u.Meta, u.Clean, u.Claimed, u.Dirty, u.Freeing, u.Failed)
	fmt.Fprintf(&b, "  reserve %d\n  promised %d\n  available %d\n", u.Reserve, u.Promised, u.Avail)
	fmt.Fprintf(&b, "volumes %d, snapshots %d, layers %d\n", u.Volumes, u.Snapshots, u.Layers)
	s := &Service{Pool: p, Log: slog.New(slog.DiscardHandler), Dir: "/"}
	err := s.eachVolume(ctx, chain.RootIno, true, func(ino chain.Ino) error { return s.dumpVolume(&b, ino) })
	if err != nil {
		return err
	}
	jobs := p.EraseJobs()
	fmt.Fprintf(&b, "erase jobs %d\n", len(jobs))
	for _, j := range jobs {
		b.WriteString(show.Printable("  job %d %s \"%s\" of \"%s\": freed %d dirty %d erased %d failed %d since %s\n",
			j.ID, j.State, j.Reason, control.Subject(j.Volume, j.Layer), j.Freed, j.Dirty, j.Erased, j.Failed, show.FormatTime(j.Since)))
	}
	_, err = io.WriteString(w, b.String())
	return err
}

// dumpVolume describes a volume, and the layers of its chain that are its own.
func (s *Service) dumpVolume(b *strings.Builder, ino chain.Ino) error {
	i, err := s.Pool.VolumeInfo(ino)
	if err != nil {
		return err
	}
	b.WriteString(show.Printable("  volume %s inode %d mode %04o size %d used %d refer %d promised %d", s.abs(ino), uint64(ino), i.Mode, i.Size, i.Used, i.Refer, i.Promised))
	if i.Origin != "" {
		b.WriteString(show.Printable(" origin %s", i.Origin))
	}
	b.WriteString("\n")
	layers, err := s.Pool.Tree(ino)
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

// DumpText is how much of a dump is told at once, bytes.
const DumpText = 32 << 10

// DumpLines makes lines of JSON of a dump, and tells some at a time. Flush tells the last ones.
func DumpLines(tell func(string) error) (line func(chain.DumpLine) error, flush func() error) {
	var b strings.Builder
	flush = func() error {
		text := b.String()
		if b.Reset(); text == "" {
			return nil
		}
		return tell(text)
	}
	return func(l chain.DumpLine) error {
		one, err := show.PublicJSON(l)
		if err != nil {
			return err
		}
		b.Write(one)
		b.WriteByte('\n')
		if b.Len() < DumpText {
			return nil
		}
		return flush()
	}, flush
}

// dumpAll tells all metadata of the pool while it is in use.
func (s *Service) dumpAll(ctx context.Context, _ control.Peer, args control.DumpArgs, tell func(string) error) (control.DumpResult, error) {
	line, flush := DumpLines(tell)
	lost, err := chain.DumpOnline(ctx, s.Pool, args.Maps, line)
	if err == nil {
		err = flush()
	}
	return control.DumpResult{Lost: lost}, err
}
