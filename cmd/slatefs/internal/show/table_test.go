package show

import (
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	rows := func() [][]string { return [][]string{{"a", "1", ""}, {"größer", "12345", "x"}} }
	for _, c := range []struct {
		f    Format
		want string
	}{
		{Format{}, "NAME     SIZE  NOTE\na           1  -\ngrößer  12345  x\n"},
		{Format{Scripted: true}, "a\t1\t-\ngrößer\t12345\tx\n"},
	} {
		var b strings.Builder
		if err := c.f.Table(&b, Columns("NAME >SIZE NOTE"), rows()); err != nil || b.String() != c.want {
			t.Errorf("%+v: %v\n%s\nwant\n%s", c.f, err, b.String(), c.want)
		}
	}
}
