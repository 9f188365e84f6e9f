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

// Each column begins in the same cell of the terminal in every line, whatever the names are written in.
func TestTableOfWideNames(t *testing.T) {
	for name, cells := range map[string]int{
		"plain":        5,
		"東京.raw":       8, // two cells a character
		"한국어":          6,
		"Zu\u0308rich": 6, // the accent joins the u
		"größer":       6,
		"→±§":          3, // wide in some locales; here it is not
		"🚀":            2,
		"ﾃｽﾄ":          3, // half as wide as テスト
		"caf\xe9":      7, // escaped
	} {
		var b strings.Builder
		rows := [][]string{{name, "1", "x"}, {"ten_cells_", "12345", "y"}}
		if err := (&Format{}).Table(&b, Columns("NAME >SIZE NOTE"), rows); err != nil {
			t.Fatal(err)
		}
		want := "NAME         SIZE  NOTE\n" + Escape(name) + strings.Repeat(" ", 10-cells) + "      1  x\nten_cells_  12345  y\n"
		if b.String() != want {
			t.Errorf("%q:\n%s\nwant\n%s", name, b.String(), want)
		}
	}
}
