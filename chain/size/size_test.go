package size

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1": 1, "512": 512, "512B": 512, "4k": 4096, "4K": 4096, "4KiB": 4096, "1.5K": 1536, "20G": 20 << 30, "20g": 20 << 30,
		"20GiB": 20 << 30, "20gib": 20 << 30, "21474836480": 20 << 30, "1T": 1 << 40, "2p": 2 << 50, "7E": 7 << 60,
		"9223372036854775807": math.MaxInt64,
	} {
		if got, err := Parse(text); err != nil || got != want {
			t.Errorf("Parse(%q) = %d, %v, want %d", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"20GB": "use 20G", "4kb": "use 4K", "": "want a number", "G": "want a number", "20X": "unknown unit", "20Gi": "unknown unit",
		"20 G": "want a number", "-1": "negative", "1.0001K": "whole number", "8E": "above", "0x10": "", "1e3": "", "1/2": "", "5BiB": "unknown unit",
	} {
		_, err := Parse(text)
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q): error %v, want ErrInvalid with %q", text, err, want)
		}
	}
}

func TestFormat(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0B", 1: "1B", 1023: "1023B", 1024: "1K", 13 << 10: "13K", 13<<10 + 300: "13.3K", 1536: "1.50K", 29 << 20: "29M",
		29<<20 + 20000: "29.0M", 379<<20 + 400000: "379M", 1023<<20 + 1<<19: "1024M", 20 << 30: "20G", 10 << 40: "10T", -4096: "-4K",
		math.MaxInt64: "8.00E", math.MinInt64: "-8.00E",
	} {
		if got := Format(n); got != want {
			t.Errorf("Format(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestSizesComeBack(t *testing.T) {
	for _, n := range []int64{1, 1 << 10, 3 << 20, 20 << 30, 7 << 50} {
		if got, err := Parse(Format(n)); err != nil || got != n {
			t.Errorf("%d is printed %s, which is read as %d, %v", n, Format(n), got, err)
		}
	}
}

// Numbers at both ends of what 64 bits hold are printed, and numbers near each other differ.
func TestExact(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0B", 1023: "1023B", 1024: "1.0K", 20 << 30: "20.0G", 20<<30 + 1<<27: "20.1G", -4096: "-4.0K",
		math.MaxInt64: "8.0E", math.MinInt64: "-8.0E",
	} {
		if got := Exact(n); got != want {
			t.Errorf("Exact(%d) = %q, want %q", n, got, want)
		}
	}
}

// Whatever the text, Parse takes no number that is negative or does not fit, and its errors are ErrInvalid.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"20G", "1.5T", "8E", "-1", "20GB", "9223372036854775807", "1e3", "0x10", "..5K", "1.K"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := Parse(s)
		if err != nil {
			if n != 0 || !errors.Is(err, ErrInvalid) {
				t.Fatalf("Parse(%q) = %d, %v", s, n, err)
			}
			return
		}
		if n < 0 {
			t.Fatalf("Parse(%q) = %d", s, n)
		}
		if back, err := Parse(strconv.FormatInt(n, 10)); err != nil || back != n {
			t.Fatalf("Parse(%q) = %d, which is read as %d, %v", s, n, back, err)
		}
	})
}
