package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

// importJob makes a volume of the images of a chain. It has its name only when it is whole and was compared; before that it is called
// NAME.importing and carries a mark, and whoever makes it has it open, from the call that made it to the rename. So one with the mark
// that nobody has open is what a dead import left, and destroy, which refuses what is open, is the lock. What has no mark is somebody's.
type importJob struct {
	*app
	path     string // of the volume, as typed
	chain    []foreign
	names    []string
	settings []control.Setting
	live     host.Live
	final    control.Object
	at       progressMark
}

// half is the path of the volume while it is made.
func (j *importJob) half() string { return j.path + control.Importing }

func (j *importJob) halfObject() control.Object {
	return control.Object{Arg: j.final.Arg + control.Importing, Path: j.final.Path + control.Importing}
}

// admit refuses what would be refused in the end, and says what the volume would need. That there is no space now is left to
// writes where it is not dry: erasing may give some.
func (j *importJob) admit(ctx context.Context, dry bool) (forecasts []string, err error) {
	find, err := j.finder()
	if err != nil {
		return nil, err
	}
	if j.live, j.final, err = objectAt(find, j.path); err != nil {
		return nil, err
	}
	if _, err := os.Lstat(j.path); err == nil { // a link to the mount as well: beside that is not where it leads
		return nil, fmt.Errorf("%s: %w", j.path, control.ErrExist)
	}
	longest := 0
	for _, name := range j.names {
		longest = max(longest, len("@"+name))
	}
	if longest += len(filepath.Base(j.path) + control.Importing); longest > control.MaxName {
		return nil, fmt.Errorf("%s: with %s and @SNAPSHOT behind it, as it is called meanwhile, the name has %d bytes, at most %d: %w",
			j.path, control.Importing, longest, control.MaxName, control.ErrNameTooLong)
	}
	if err := j.marked(); errors.Is(err, control.ErrExist) {
		return nil, err
	}
	args := control.CreateArgs{Objects: []control.Object{j.final}, Size: j.chain[len(j.chain)-1].size, Settings: j.settings, Dry: true}
	forecasts, err = control.Create.Call(ctx, j.live, args)
	if dry {
		return forecasts, err
	}
	if errors.Is(err, control.ErrNoSpace) {
		return nil, nil
	}
	return nil, err
}

// run makes the volume, compares it, and gives it its name. If anything fails nothing is left, unless even that fails, which
// it says.
func (j *importJob) run(ctx context.Context) error {
	to, err := j.begin(ctx)
	if err != nil {
		return err
	}
	_, err = slowly(ctx, j.app, "import", j.at.get, func(ctx context.Context) (none struct{}, err error) {
		return none, j.fill(ctx, to)
	})
	ctx = context.WithoutCancel(ctx) // from here on it is all or nothing
	if err == nil {
		err = j.finish(ctx, to)
	}
	closed := to.Close()
	if err == nil {
		return closed
	}
	return errors.Join(err, j.takeAway(ctx))
}

// finish gives the volume its name, without the mark: what is whole never carries it. On an error it carries it again.
func (j *importJob) finish(ctx context.Context, half *os.File) error {
	if err := unix.Fremovexattr(int(half.Fd()), control.HalfAttr); err != nil {
		return fmt.Errorf("%s: %w", j.half(), err)
	}
	_, err := control.Rename.Call(ctx, j.live, control.RenameArgs{Object: j.halfObject(), New: j.final})
	if err != nil {
		return errors.Join(err, mark(half))
	}
	return nil
}

// begin makes the volume, empty, and opens it in one call: nobody else's import can take it for left over, and none that was
// cancelled has made it without knowing.
func (j *importJob) begin(ctx context.Context) (*os.File, error) {
	const flags = os.O_WRONLY | os.O_CREATE | os.O_EXCL | unix.O_NOFOLLOW
	to, err := os.OpenFile(j.half(), flags, 0o666)
	if errors.Is(err, os.ErrExist) {
		if err := j.takeAway(ctx); errors.Is(err, control.ErrExist) {
			return nil, err
		} else if err != nil {
			return nil, fmt.Errorf("another import of %s, which runs or was killed: %w", j.path, err)
		}
		to, err = os.OpenFile(j.half(), flags, 0o666)
	}
	if err != nil {
		return nil, err
	}
	if err := mark(to); err != nil { // it is empty, and ours by the call that made it
		return nil, errors.Join(err, os.Remove(j.half()), to.Close())
	}
	if len(j.settings) == 0 {
		return to, nil
	}
	_, err = control.Set.Call(ctx, j.live, control.SetArgs{Object: j.halfObject(), Settings: j.settings})
	if err != nil {
		return nil, errors.Join(err, to.Close(), j.takeAway(context.WithoutCancel(ctx)))
	}
	return to, nil
}

// takeAway destroys what is not whole. What somebody has open is refused, and what carries no mark: ErrExist.
func (j *importJob) takeAway(ctx context.Context) error {
	err := j.marked()
	if err == nil {
		_, err = control.Destroy.Call(ctx, j.live, control.DestroyArgs{Object: j.halfObject(), Snapshots: true, Now: true, Half: true})
	}
	if errors.Is(err, control.ErrExist) {
		return j.explain(err)
	}
	if err != nil {
		return show.Hinted(fmt.Errorf("%s stays, which is not whole: %w", j.half(), err),
			"the next import to %s takes it away", j.path)
	}
	return nil
}

// fill copies all images, and compares them. What it has to do is counted in bytes that have to be read of images: once to copy
// them, and for each layer again what is seen through it.
func (j *importJob) fill(ctx context.Context, to *os.File) error {
	lists, shown, total := make([][]extent, len(j.chain)), make([]int64, len(j.chain)), int64(0)
	for i, f := range j.chain {
		var err error
		if lists[i], err = f.own(ctx); err != nil {
			return err
		}
		if i > 0 {
			shown[i] = shown[i-1]
		}
		for _, e := range lists[i] {
			if e.Data {
				shown[i] += e.Length
			}
		}
		total += shown[i]
	}
	total += shown[len(shown)-1]
	done := int64(0)
	step := func(n int64) {
		done += n
		j.at.set(done, total)
	}
	for i := range j.chain {
		if err := j.copyLayer(ctx, i, lists[i], to, step); err != nil {
			return err
		}
		lists[i] = nil
	}
	for i := range j.chain {
		if err := j.compareLayer(ctx, i, shown[i], step); err != nil {
			return err
		}
	}
	return nil
}

// copyLayer writes what an image has by itself, and takes its snapshot; of the newest one there is none.
func (j *importJob) copyLayer(ctx context.Context, i int, list []extent, to *os.File, step func(bytes int64)) error {
	f := j.chain[i]
	if err := to.Truncate(f.size); err != nil {
		return err
	}
	if err := copyOwn(ctx, f, list, to, step); err != nil {
		return err
	}
	if err := to.Sync(); err != nil {
		return err
	}
	if i == len(j.names) {
		return nil
	}
	o := j.halfObject()
	o.Arg, o.Snap = o.Arg+"@"+j.names[i], j.names[i]
	_, err := control.Snapshot.Call(ctx, j.live, control.SnapshotArgs{Objects: []control.Object{o}})
	return err
}

// compareLayer compares what a guest saw with an image and what it sees now. It is that many bytes' work.
func (j *importJob) compareLayer(ctx context.Context, i int, bytes int64, step func(bytes int64)) error {
	path := j.half()
	if i < len(j.names) {
		path = filepath.Join(filepath.Dir(path), control.SnapDir, filepath.Base(path)+"@"+j.names[i])
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	ours := foreign{path: path, format: "raw"}
	told := int64(0)
	err = compareImages(ctx, seen(j.chain[:i+1]), ours.alone(), func(part float64) {
		now := int64(part * float64(bytes))
		step(now - told)
		told = now
	})
	if err != nil {
		return fmt.Errorf("%s is not what %s was: %w", path, j.chain[i].path, err)
	}
	step(bytes - told)
	return nil
}
