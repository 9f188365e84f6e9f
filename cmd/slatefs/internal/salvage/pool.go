package salvage

import (
	"context"
	"errors"
	"fmt"

	"slatefs/chain"
	"slatefs/chain/blockdev"
)

// Pool is what is left of one.
type Pool struct {
	dev  blockdev.Device
	from *chain.Wreck
}

// Open reads what is left of the pool on a device. Errors are those of chain.OpenWreck.
func Open(dev blockdev.Device) (*Pool, error) {
	w, err := chain.OpenWreck(dev)
	if err != nil {
		return nil, err
	}
	return &Pool{dev, w}, nil
}

// ManyError says that more than one catalog was found, and none of them was asked for.
type ManyError struct{ Found []chain.FoundCatalog }

func (e *ManyError) Error() string {
	return fmt.Sprintf("%d pages may be the root of the pool's catalog", len(e.Found))
}

// ErrNoCatalog is for a device on which there is no catalog with a volume.
var ErrNoCatalog = errors.New("no catalog of a pool was found")

// Scan looks for the catalog of a pool without superblocks: the one at a block, or, if that is 0, the only one that is there. Errors:
// ErrNoCatalog, *ManyError, those of chain.FindCatalogs.
func Scan(ctx context.Context, dev blockdev.Device, block uint64, progress func(done, total int64)) (*Pool, error) {
	found, err := chain.FindCatalogs(ctx, dev, progress)
	if err != nil {
		return nil, err
	}
	for _, f := range found {
		if uint64(f.Block) == block || block == 0 && len(found) == 1 {
			return &Pool{dev, chain.OpenFound(dev, f)}, nil
		}
	}
	if len(found) == 0 {
		return nil, ErrNoCatalog
	}
	return nil, &ManyError{found}
}

// Report is what was copied, and what was not.
type Report struct {
	Pool  string   `json:"pool"`
	Exact bool     `json:"exact"` // it is what was durable last
	Notes []string `json:"notes"` // what could not be read besides files
	Files []File   `json:"files"`
}

// Whole tells whether all was copied, as it was last.
func (r *Report) Whole() bool { return r.Exact && r.Lost() == 0 }

// Copied is what was read of the pool, bytes.
func (r *Report) Copied() (n int64) {
	for i := range r.Files {
		n += r.Files[i].Data
	}
	return n
}

// Lost is what could not be read of files, bytes.
func (r *Report) Lost() (n int64) {
	for i := range r.Files {
		n += r.Files[i].LostAll
	}
	return n
}

// Title names a file for people.
func (f *File) Title() string {
	if f.Snapshot == "" {
		return f.Path
	}
	return f.Path + "@" + f.Snapshot
}

// Copy copies all volumes to a directory, and all snapshots if asked to. On an error, which is the host's or ctx's, the report says
// how far it came; the last file in it may be short.
func (p *Pool) Copy(ctx context.Context, to *Dir, snapshots bool, progress func(done, total int64)) (r Report, err error) {
	relics := p.from.Relics(snapshots)
	var done, total int64
	for i := range relics {
		total += relics[i].Blocks * chain.BlockSize
	}
	r = Report{Pool: p.from.Super.Name, Exact: p.from.Exact, Files: []File{}}
	c := Copier{Dev: p.dev, From: p.from, To: to, Done: func(n int64) {
		done = min(done+n, total)
		progress(done, total)
	}}
	for i := range relics {
		f, err := c.Copy(ctx, &relics[i])
		if r.Files = append(r.Files, f); err != nil {
			return r, fmt.Errorf("%s: %w", f.Title(), err)
		}
	}
	r.Notes = append([]string{}, p.from.Notes...)
	return r, to.sync()
}
