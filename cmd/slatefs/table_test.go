package main

import (
	"strings"
	"testing"
	"time"
)

func TestTable(t *testing.T) {
	rows := func() [][]string { return [][]string{{"a", "1", ""}, {"größer", "12345", "x"}} }
	for _, c := range []struct {
		f    format
		want string
	}{
		{format{}, "NAME     SIZE  NOTE\na           1  -\ngrößer  12345  x\n"},
		{format{scripted: true}, "a\t1\t-\ngrößer\t12345\tx\n"},
	} {
		var b strings.Builder
		if err := c.f.table(&b, parseColumns("NAME >SIZE NOTE"), rows()); err != nil || b.String() != c.want {
			t.Errorf("%+v: %v\n%s\nwant\n%s", c.f, err, b.String(), c.want)
		}
	}
}

func TestFormatTimes(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	if got := (&format{}).time(at); got != "Tue Nov 14 22:13 2023" {
		t.Errorf("time is %q", got)
	}
	if got := (&format{exact: true}).time(at); got != "1700000000" {
		t.Errorf("exact time is %q", got)
	}
	if got := (&format{exact: true}).time(time.Time{}); got != "-" {
		t.Errorf("no time is %q", got)
	}
}
