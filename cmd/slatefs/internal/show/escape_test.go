package show

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// line and prop are as the results of list and get are.
type (
	line struct {
		Name   string   `json:"name"`
		Used   *int64   `json:"used"`
		Clones []string `json:"clones,omitempty"`
	}
	prop struct {
		Name     string `json:"name"`
		Property string `json:"property"`
		Value    string `json:"value"`
		Source   string `json:"source"`
	}
)

func TestEscape(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"vm.raw", "vm.raw"},
		{"Zürich 東京.raw", "Zürich 東京.raw"},
		{"caf\xe9.raw", `caf\351.raw`},
		{"\ufffd", "\ufffd"}, // it is there
		{"a\nb\tc", `a\012b\011c`},
		{"\x1b[2J", `\033[2J`},
		{"\u009b2J", `\302\2332J`},     // CSI in one character
		{"a\u202eb", `a\342\200\256b`}, // what follows would run backwards
		{"a\u00a0b", `a\302\240b`},
		{`a\nb`, `a\\nb`},
		{`\351`, `\\351`},
		{"", ""},
	} {
		if got := Escape(c.in); got != c.want {
			t.Errorf("%q is shown as %s, want %s", c.in, got, c.want)
		}
		if back, err := Unescape(c.want); err != nil || back != c.in {
			t.Errorf("%s is %q, %v, want %q", c.want, back, err, c.in)
		}
	}
	for _, bad := range []string{`\`, `\a`, `\12`, `\400`, `\128`, `a\ `} {
		if out, err := Unescape(bad); !errors.Is(err, ErrEscape) {
			t.Errorf("%s is taken for %q, %v", bad, out, err)
		}
	}
}

// unseen tells what a terminal would act on.
func unseen(r rune) bool { return r != '\\' && r != '\ufffd' && hidden(r) }

func FuzzEscape(f *testing.F) {
	for _, s := range []string{"", "vm.raw", "caf\xe9", "\\", "\x00x", "\u202e", "a\\351", "\xff\xfe\n\t"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		shown := Escape(s)
		if back, err := Unescape(shown); err != nil || back != s {
			t.Fatalf("%q is shown as %q, which is %q, %v", s, shown, back, err)
		}
		if strings.IndexFunc(shown, unseen) >= 0 || !utf8.ValidString(shown) {
			t.Fatalf("%q is shown as %q", s, shown)
		}
		in := map[string]line{s: {Name: s, Clones: []string{s, "x", s}}}
		b, err := Encode(in)
		if err != nil {
			t.Fatal(err)
		}
		var out map[string]line
		if err := Decode(b, &out); err != nil || !reflect.DeepEqual(in, out) {
			t.Fatalf("%+v went as %s and came as %+v, %v", in, b, out, err)
		}
		public, err := PublicJSON(line{Name: s, Clones: []string{s, "x"}})
		if err != nil || !json.Valid(public) || strings.IndexFunc(string(public), unseen) >= 0 {
			t.Fatalf("%q: %q, %v", s, public, err)
		}
		if got := nameOf(t, public); got != s {
			t.Fatalf("%q is published as %s, which is %q", s, public, got)
		}
	})
}

// nameOf reads a name as the documentation of -j says.
func nameOf(t *testing.T, public []byte) string {
	var r struct {
		Name  string
		Bytes []byte `json:"name_bytes"`
	}
	if err := json.Unmarshal(public, &r); err != nil {
		t.Fatalf("%s: %v", public, err)
	}
	if r.Bytes != nil {
		return string(r.Bytes)
	}
	return r.Name
}

func TestPublicJSON(t *testing.T) {
	for _, c := range []struct {
		in   any
		want string
	}{
		{prop{Name: "/lab/Zürich\n<\\>", Property: "quota"}, `{"name":"/lab/Zürich\n<\\>","property":"quota","value":"","source":""}`},
		{
			prop{Name: "/lab/caf\xe9"},
			`{"name":"/lab/caf\\351","name_bytes":"` + base64.StdEncoding.EncodeToString([]byte("/lab/caf\xe9")) +
				`","property":"","value":"","source":""}`,
		},
		{prop{Name: "\u009b\u202e\U000e0001"}, `{"name":"\u009b\u202e\udb40\udc01","property":"","value":"","source":""}`},
		{map[string]any{"rows": []any{1.5, nil, true, "x"}}, `{"rows":[1.5,null,true,"x"]}`},
		{map[string][]string{"clones": {"x", "\xff"}}, `{"clones":["x","\\377"],"clones_bytes":[null,"/w=="]}`},
		{uint64(1 << 63), "9223372036854775808"},
		{[]string{}, "[]"},
	} {
		if got, err := PublicJSON(c.in); err != nil || string(got) != c.want {
			t.Errorf("%#v is published as %s, %v\nwant %s", c.in, got, err, c.want)
		}
	}
}

func TestErrorText(t *testing.T) {
	a, b := errors.New("a\nb"), errors.New("c")
	for _, c := range []struct {
		err  error
		want string
	}{
		{a, "a\nb"},
		{errors.Join(a, b), "a\nb; c"},
		{fmt.Errorf("x: %w", errors.Join(a, nil, b)), "x: a\nb; c"},
		{fmt.Errorf("x: %w, %w", errors.Join(b, b), a), "x: c; c, a\nb"},
		{Hinted(Usagef("y: %w", errors.Join(b, b)), "h"), "y: c; c"},
	} {
		if got := ErrorText(c.err); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	var out strings.Builder
	Report(&out, Hinted(errors.New("/lab/a\nslatefs: done\x1b[2J: not found"), "see /lab/a\nb"))
	if got := out.String(); got != `slatefs: error: /lab/a\012slatefs: done\033[2J: not found`+"\n"+`hint: see /lab/a\012b`+"\n" {
		t.Errorf("an error is shown as %q", got)
	}
}
