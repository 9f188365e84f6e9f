package property

import (
	"errors"
	"strings"
	"testing"
	"time"
)

var parsers = map[string]Parser{
	"any": Any, "one of": OneOf("on", "off"), "size": SizeOr("auto", "none"), "rate": Rate, "percent": Percent(1, 1000),
	"share": Share, "delay": Delay, "path": AbsPath,
}

func TestParsers(t *testing.T) {
	for _, c := range []struct{ parser, val, want string }{
		{"one of", "on", "on"},
		{"one of", "yes", ""},
		{"size", "1G", "1073741824"},
		{"size", "0", "none"},
		{"size", "auto", "auto"},
		{"size", "-1", ""},
		{"size", "20GB", ""},
		{"rate", "10M", "10485760"},
		{"rate", "-50M", "52428800"},
		{"rate", "none", "0"},
		{"rate", "x", ""},
		{"percent", "20%", "20"},
		{"percent", "1000", "1000"},
		{"percent", "0", ""},
		{"percent", "1001", ""},
		{"share", "010%", "10%"},
		{"share", "101%", ""},
		{"share", "1M", "1048576"},
		{"share", "0", "0"},
		{"delay", "7d", "7d"},
		{"delay", "none", "0"},
		{"delay", "0h", "0"},
		{"delay", "", ""},
		{"delay", "1y", ""},
		{"delay", "99999d", ""},
		{"path", "/a/../b", "/b"},
		{"path", "none", "none"},
		{"path", "a", ""},
	} {
		got, err := parsers[c.parser](c.val, OnPool)
		if got != c.want || (err != nil) != (c.want == "") || err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %q is %q, %v; want %q", c.parser, c.val, got, err, c.want)
		}
	}
}

// What a parser returns it takes as it is: canonical values do not change when they are set again.
func FuzzCanonical(f *testing.F) {
	for _, v := range []string{"on", "20G", "1.5T", "10%", "7d", "/x/./y", "none", "auto", "-50M", "0"} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v string) {
		for name, parse := range parsers {
			c, err := parse(v, OnVolume)
			if err != nil {
				if !errors.Is(err, ErrInvalid) {
					t.Fatalf("%s: %q: error of no kind: %v", name, v, err)
				}
				continue
			}
			if again, err := parse(c, OnVolume); err != nil || again != c {
				t.Fatalf("%s: %q is %q, which is %q, %v", name, v, c, again, err)
			}
		}
	})
}

func TestTable(t *testing.T) {
	a, b := Table{{Name: "a"}, {Name: "b"}}, Table{{Name: "c", On: OnDir}}
	all := Join(a, b)
	if p, err := all.Named("c"); err != nil || p.On != OnDir || len(all) != 3 {
		t.Errorf("%+v, %v of %d", p, err, len(all))
	}
	if _, err := all.Named("d"); !errors.Is(err, ErrInvalid) {
		t.Errorf("one that is not there: %v", err)
	}
	defer func() {
		if r, is := recover().(string); !is || !strings.Contains(r, "b is listed twice") {
			t.Errorf("a name twice: %v", r)
		}
	}()
	Join(all, Table{{Name: "b"}})
}

func TestScope(t *testing.T) {
	for s, want := range map[Scope]string{
		OnPool: "a pool", OnDir | OnVolume: "a directory or volume", OnPool | OnDir | OnVolume: "a pool, directory or volume",
	} {
		if s.String() != want {
			t.Errorf("%d is %q, want %q", s, s, want)
		}
	}
}

// The words that a shell offers are those that the parser takes, on the scopes that are asked for.
func TestWords(t *testing.T) {
	parse := func(v string, on Scope) (string, error) {
		if on == OnVolume {
			return SizeOr("auto", "none")(v, on)
		}
		return OneOf("auto", "off")(v, on)
	}
	for _, c := range []struct {
		p    Property
		on   Scope
		want string
	}{
		{Property{On: OnPool, Parse: OneOf("on", "off")}, OnPool, "on off"},
		{Property{On: OnPool, Parse: OneOf("on", "off")}, OnVolume, ""},
		{Property{On: OnPool | OnVolume, Parse: parse}, OnPool | OnVolume, "auto off none"},
		{Property{On: OnPool | OnVolume, Parse: parse}, OnVolume, "auto none"},
		{Property{On: OnPool, Parse: Rate}, OnPool, "0"},
		{Property{On: OnPool, Parse: Term}, OnPool, "none"},
		{Property{On: OnPool, Parse: Delay}, OnPool, "0"},
		{Property{On: OnPool, Parse: AbsPath}, OnPool, "none"},
		{Property{On: OnPool, Parse: Any}, OnPool, ""},
	} {
		words := c.p.Words(c.on)
		if got := strings.Join(words, " "); got != c.want {
			t.Errorf("words of %v on %v: %q, want %q", c.p.On, c.on, got, c.want)
		}
		for _, word := range words {
			_, onPool := c.p.Parse(word, OnPool)
			if _, onVolume := c.p.Parse(word, OnVolume); onPool != nil && onVolume != nil {
				t.Errorf("the word %s is refused: %v, %v", word, onPool, onVolume)
			}
		}
	}
}

func TestShareOf(t *testing.T) {
	if a, b := ShareOf("10%", 1000), ShareOf("4096", 1000); a != 100 || b != 4096 {
		t.Error(a, b)
	}
	if d, err := ParseDelay("2w"); err != nil || d != 14*24*time.Hour {
		t.Error(d, err)
	}
}
