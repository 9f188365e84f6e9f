package show

import (
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

// Format is how results are printed.
type Format struct {
	Scripted bool // -H: no header, one tab between columns
	Exact    bool // -p: bytes and seconds as numbers
	JSON     bool // -j
	NoHead   bool // no header, though it is no script that reads it: there was one
}

// Flags adds the flags of a format to a command; letters are those of -H, -p, -j that it takes.
func (f *Format) Flags(cmd *cobra.Command, letters string) {
	for _, l := range letters {
		switch l {
		case 'H':
			cmd.Flags().BoolVarP(&f.Scripted, "scripted", "H", false, "no header, one tab between columns")
		case 'p':
			cmd.Flags().BoolVarP(&f.Exact, "parsable", "p", false, "exact numbers of bytes")
		case 'j':
			cmd.Flags().BoolVarP(&f.JSON, "json", "j", false, "print JSON, with an output_version")
		}
	}
}

// Size prints n bytes: the number, or as FormatSize does.
func (f *Format) Size(n int64) string {
	if f.Exact {
		return strconv.FormatInt(n, 10)
	}
	return FormatSize(n)
}

// Time prints a time: seconds since 1970, or as FormatTime does; "-" for none.
func (f *Format) Time(t time.Time) string {
	if f.Exact && !t.IsZero() {
		return strconv.FormatInt(t.Unix(), 10)
	}
	return FormatTime(t)
}

// End prints when something will be done: seconds since 1970, or the time of the day, and the date if that is not today's. nil:
// it can't be told, and the cell is empty.
func (f *Format) End(t *time.Time, now time.Time) string {
	switch {
	case t == nil:
		return ""
	case f.Exact:
		return strconv.FormatInt(t.Unix(), 10)
	}
	return ClockTime(*t, now, time.TimeOnly)
}
