package main

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/show"
)

// mark says of a volume that it is an import's.
func mark(half *os.File) error {
	var st unix.Stat_t
	err := unix.Fstat(int(half.Fd()), &st)
	if err == nil {
		err = unix.Fsetxattr(int(half.Fd()), control.HalfAttr, control.HalfMark(st.Ino), 0)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", half.Name(), err)
	}
	return nil
}

// marked refuses with ErrExist what is called as the volume will be meanwhile, and carries no mark. A daemon of before there was the
// mark asks for none: so this looks itself as well.
func (j *importJob) marked() error {
	var st unix.Stat_t
	value := make([]byte, 64)
	err := unix.Lstat(j.half(), &st)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		var n int
		n, err = unix.Lgetxattr(j.half(), control.HalfAttr, value)
		value = value[:max(0, n)]
	}
	if err == nil && control.HalfMade(j.half(), st.Ino, value) {
		return nil
	}
	if err == nil || errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ERANGE) {
		err = control.ErrExist
	}
	return j.explain(fmt.Errorf("%s: %w", j.half(), err))
}

// explain hints at the way out of what is not an import's.
func (j *importJob) explain(err error) error {
	if errors.Is(err, control.ErrExist) {
		return show.Hinted(err, "no import left it so: rename it, or destroy it, or give the volume another name than %s", j.path)
	}
	return err
}
