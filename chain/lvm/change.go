package lvm

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
)

// sizeUnit is what sizes in arguments must be multiples of.
const sizeUnit = 512

func sizeArg(bytes int64) (string, error) {
	if bytes <= 0 || bytes%sizeUnit != 0 {
		return "", fmt.Errorf("a size of %d bytes, want a multiple of %d", bytes, sizeUnit)
	}
	return strconv.FormatInt(bytes, 10) + "b", nil
}

// Create makes a linear volume of at least so many bytes (whole extents), active on this host only, never activated by
// itself, with tags. All of that is one change of the group's metadata. Nothing on it is wiped: it reads as whatever its
// extents held before.
func (r *Runner) Create(ctx context.Context, n Name, bytes int64, tags ...string) error {
	size, err := sizeArg(bytes)
	if err := errors.Join(err, n.valid(), validTags(tags)); err != nil {
		return err
	}
	args := []string{
		"lvcreate", "--yes", "--quiet", "--type", "linear", "--wipesignatures", "n", "--zero", "n", "--setautoactivation", "n",
		"--activate", "ey", "--name", n.LV, "--size", size,
	}
	for _, t := range tags {
		args = append(args, "--addtag", t)
	}
	_, err = r.run(ctx, append(args, n.VG)...)
	return known(err)
}

// Remove removes a volume. What its extents hold stays there.
func (r *Runner) Remove(ctx context.Context, n Name) error {
	return r.change(ctx, n, "lvremove", "--yes", "--quiet")
}

// Activate makes the device of a volume, on this host only: exclusively, where the group is shared and locked.
func (r *Runner) Activate(ctx context.Context, n Name) error {
	return r.change(ctx, n, "lvchange", "--quiet", "--activate", "ey")
}

// Deactivate takes the device of a volume away. ErrInUse: it is open.
func (r *Runner) Deactivate(ctx context.Context, n Name) error {
	return r.change(ctx, n, "lvchange", "--quiet", "--activate", "n")
}

// Tag takes tags from a volume and gives it others, and turns its autoactivation off, in one change.
func (r *Runner) Tag(ctx context.Context, n Name, add, del []string) error {
	if err := errors.Join(validTags(add), validTags(del)); err != nil {
		return err
	}
	args := []string{"lvchange", "--quiet", "--setautoactivation", "n"}
	for _, t := range add {
		args = append(args, "--addtag", t)
	}
	for _, t := range del {
		args = append(args, "--deltag", t)
	}
	return r.change(ctx, n, args...)
}

// Extend makes a volume at least so many bytes large, in whole extents. What it gains holds anything.
func (r *Runner) Extend(ctx context.Context, n Name, bytes int64) error {
	size, err := sizeArg(bytes)
	if err != nil {
		return err
	}
	return r.change(ctx, n, "lvextend", "--quiet", "--size", size)
}

// Reduce makes a volume so many bytes large, in whole extents, rounded up. What lay behind is out of reach, not erased.
func (r *Runner) Reduce(ctx context.Context, n Name, bytes int64) error {
	size, err := sizeArg(bytes)
	if err != nil {
		return err
	}
	return r.change(ctx, n, "lvreduce", "--yes", "--force", "--quiet", "--size", size)
}

// change runs a command on one volume.
func (r *Runner) change(ctx context.Context, n Name, args ...string) error {
	if err := n.valid(); err != nil {
		return err
	}
	_, err := r.run(ctx, append(args, n.String())...)
	return known(err)
}

// words are what lvm2 says of which sentinel.
var words = []struct {
	form *regexp.Regexp
	is   error
}{
	{regexp.MustCompile(`Failed to find logical volume|([Vv]olume group|[Ll]ogical [Vv]olume) .*not found`), ErrNotFound},
	{regexp.MustCompile(`[Ll]ogical [Vv]olume .* (in use|is used by)|contains a filesystem in use`), ErrInUse},
}

// known makes a sentinel of what lvm2 only says in words: of the first line that says any. What it warns of is not why it
// failed: "not found" may be a disk of another group.
func known(err error) error {
	var e *Error
	if !errors.As(err, &e) || e.Code != 5 {
		return err
	}
	for line := range e.lines() {
		for _, w := range words {
			if w.form.MatchString(line) {
				return fmt.Errorf("%w: %w", w.is, err)
			}
		}
	}
	return err
}
