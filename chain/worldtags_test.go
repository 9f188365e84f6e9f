package chain

import (
	"errors"
	"fmt"
)

// heldFirst holds a snapshot, finds that nothing destroys it, and releases it. A crash may leave it held: released sees to that.
func (w *world) heldFirst(name string, d *disk, s string) error {
	w.note("hold %s@%s", name, s)
	group := []SnapsOf{{d.ino, []string{s}}}
	n, err := w.p.TagSnapshots(Req{}, group, "held", true)
	if errors.Is(err, ErrNoSpace) {
		return nil
	}
	if err != nil || n > 1 {
		return errors.Join(err, countError(n))
	}
	w.m.flush()
	for what, err := range map[string]error{
		"destroy": w.p.DestroySnapshots(Req{}, d.ino, []string{s}, DestroyOptions{Defer: true, Now: true}),
		"unlink":  w.p.Unlink(Req{}, RootIno, name),
	} {
		if !errors.Is(err, ErrTagged) {
			return fmt.Errorf("%s of %s@%s, which is held: %w", what, name, s, errors.Join(err, errNotRefused))
		}
	}
	return w.untag(d, s)
}

var errNotRefused = errors.New("was not refused")

func countError(n int) error {
	if n > 1 {
		return fmt.Errorf("%d snapshots got a tag, one was to", n)
	}
	return nil
}

func (w *world) untag(d *disk, snaps ...string) error {
	_, err := w.p.TagSnapshots(Req{}, []SnapsOf{{d.ino, snaps}}, "held", false)
	if err == nil {
		w.m.flush()
	}
	return err
}

// released does what destroys something of a disk, once more where a crash has left a snapshot held.
func (w *world) released(d *disk, do func() error) error {
	err := do()
	if !errors.Is(err, ErrTagged) {
		return err
	}
	infos, err := w.p.Snapshots(d.ino)
	if err != nil {
		return err
	}
	for _, i := range infos {
		if len(i.Tags) == 0 {
			continue
		}
		if err := w.untag(d, i.Name); err != nil {
			return err
		}
	}
	return do()
}
