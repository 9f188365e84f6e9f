package lvm

import (
	"fmt"
	"regexp"
	"strings"
)

// Name names a logical volume. The zero value names none.
type Name struct {
	VG, LV string
}

// String is the name as lvm2's commands take it.
func (n Name) String() string { return n.VG + "/" + n.LV }

// Path is where the device of an active volume is found.
func (n Name) Path() string { return "/dev/" + n.VG + "/" + n.LV }

var (
	nameForm = regexp.MustCompile(`^[A-Za-z0-9_.+][A-Za-z0-9_.+-]{0,126}$`)
	tagForm  = regexp.MustCompile(`^[A-Za-z0-9_+.][A-Za-z0-9_+./=!:&#-]{0,127}$`)
)

// ParseName takes VG/LV, and /dev/VG/LV. ErrName: it is neither, or lvm2 would not take it.
func ParseName(s string) (Name, error) {
	vg, lv, ok := strings.Cut(strings.TrimPrefix(s, "/dev/"), "/")
	n := Name{vg, lv}
	if !ok {
		return Name{}, fmt.Errorf("%q: want VG/LV: %w", s, ErrName)
	}
	return n, n.valid()
}

func (n Name) valid() error {
	if err := validPart(n.VG); err != nil {
		return err
	}
	return validPart(n.LV)
}

func validPart(s string) error {
	if !nameForm.MatchString(s) || s == "." || s == ".." {
		return fmt.Errorf("%q: %w", s, ErrName)
	}
	return nil
}

func validTags(tags []string) error {
	for _, t := range tags {
		if !tagForm.MatchString(t) {
			return fmt.Errorf("tag %q: %w", t, ErrName)
		}
	}
	return nil
}
