package show

import (
	"strings"
	"testing"
	"time"
)

func TestProgressLines(t *testing.T) {
	var b strings.Builder
	at := time.Unix(0, 0)
	p := NewProgress(&b, func() time.Time { return at }, "erase")
	for i := range int64(13) {
		at = time.Unix(i, 0)
		if err := p.Set(i<<20, 12<<20); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.End(); err != nil {
		t.Fatal(err)
	}
	want := "10485760 B 10.0 MB 10.00 s 1048576 B/s 1.00 MB/s\n12582912 B 12.0 MB 12.00 s 1048576 B/s 1.00 MB/s\n"
	if b.String() != want {
		t.Errorf("progress:\n%swant\n%s", b.String(), want)
	}
}

func TestProgressLine(t *testing.T) {
	for _, c := range []struct {
		bytes   int64
		elapsed time.Duration
		want    string
	}{
		{524288000, 10000220800, "524288000 B 500.0 MB 10.00 s 52427642 B/s 50.00 MB/s"},
		{524288000, 10 * time.Second, "524288000 B 500.0 MB 10.00 s 52428800 B/s 50.00 MB/s"},
		{0, 0, "0 B 0.0 MB 0.00 s 0 B/s 0.00 MB/s"},
		{1 << 40, time.Hour, "1099511627776 B 1048576.0 MB 3600.00 s 305419896 B/s 291.27 MB/s"},
	} {
		if got := progressLine(c.bytes, c.elapsed); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}
