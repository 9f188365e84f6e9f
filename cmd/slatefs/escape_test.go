package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"slatefs/chain"
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
		if got := escape(c.in); got != c.want {
			t.Errorf("%q is shown as %s, want %s", c.in, got, c.want)
		}
		if back, err := unescape(c.want); err != nil || back != c.in {
			t.Errorf("%s is %q, %v, want %q", c.want, back, err, c.in)
		}
	}
	for _, bad := range []string{`\`, `\a`, `\12`, `\400`, `\128`, `a\ `} {
		if out, err := unescape(bad); !errors.Is(err, errEscape) {
			t.Errorf("%s is taken for %q, %v", bad, out, err)
		}
	}
}

func FuzzEscape(f *testing.F) {
	for _, s := range []string{"", "vm.raw", "caf\xe9", "\\", "\x00x", "\u202e", "a\\351", "\xff\xfe\n\t"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		shown := escape(s)
		if back, err := unescape(shown); err != nil || back != s {
			t.Fatalf("%q is shown as %q, which is %q, %v", s, shown, back, err)
		}
		if strings.IndexFunc(strings.ReplaceAll(strings.ReplaceAll(shown, `\`, ""), "\ufffd", ""), hidden) >= 0 || !utf8.ValidString(shown) {
			t.Fatalf("%q is shown as %q", s, shown)
		}
		in := map[string]row{s: {Name: s, Clones: []string{s, "x", s}}}
		b, err := encode(in)
		if err != nil {
			t.Fatal(err)
		}
		var out map[string]row
		if err := decode(b, &out); err != nil || !reflect.DeepEqual(in, out) {
			t.Fatalf("%+v went as %s and came as %+v, %v", in, b, out, err)
		}
		public, err := publicJSON(row{Name: s, Clones: []string{s, "x"}})
		if err != nil || !json.Valid(public) || strings.IndexFunc(string(public), func(r rune) bool { return r != '\\' && r != '\ufffd' && hidden(r) }) >= 0 {
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

// Every string of every message is exact, and all else as encoding/json has it.
func TestExactMessages(t *testing.T) {
	when := time.Date(2026, 11, 25, 1, 2, 3, 4, time.UTC)
	id := uuid{1, 2, 3}
	zero := int64(0)
	m := poolInfo{Live: live{UUID: id, Name: "lab", Device: "/srv/\xff\x00.pool", Dir: "\x00", Started: when}, Stuck: "\xe9"}
	b, err := encode(m)
	if err != nil {
		t.Fatal(err)
	}
	var got poolInfo
	if err := decode(b, &got); err != nil || !reflect.DeepEqual(got, m) {
		t.Errorf("%+v\nbecame %+v, %v", m, got, err)
	}
	set := setArgs{Object: object{Arg: "/lab/\xe9", Path: "\xe9"}, Settings: []chain.Setting{{Name: "quota", Value: "\xfe"}, {Inherit: true}}}
	b, err = encode(set)
	var back setArgs
	if err := errors.Join(err, decode(b, &back)); err != nil || !reflect.DeepEqual(set, back) {
		t.Errorf("%+v became %+v, %v", set, back, err)
	}
	list := destroyResult{Destroyed: []string{"a\xff"}, Kept: []row{{Name: "\xee", Used: &zero, Goes: &when}}, Forecast: &destroyForecast{SeenBy: []string{"\xed"}}}
	b, err = encode(list)
	var all destroyResult
	if err := errors.Join(err, decode(b, &all)); err != nil || !reflect.DeepEqual(list, all) {
		t.Errorf("%+v became %+v, %v", list, all, err)
	}
	if list.Destroyed[0] != "a\xff" || list.Kept[0].Name != "\xee" {
		t.Error("encoding has changed the message")
	}
	var none *chain.CheckReport
	b, err = encode(none)
	if err := errors.Join(err, decode(b, &none)); err != nil || none != nil || string(b) != "null" {
		t.Errorf("nothing became %s, %+v, %v", b, none, err)
	}
}

func TestPublicJSON(t *testing.T) {
	for _, c := range []struct {
		in   any
		want string
	}{
		{propRow{Name: "/lab/Zürich\n<\\>", Property: "quota"}, `{"name":"/lab/Zürich\n<\\>","property":"quota","value":"","source":""}`},
		{propRow{Name: "/lab/caf\xe9"}, `{"name":"/lab/caf\\351","name_bytes":"` + base64.StdEncoding.EncodeToString([]byte("/lab/caf\xe9")) +
			`","property":"","value":"","source":""}`},
		{propRow{Name: "\u009b\u202e\U000e0001"}, `{"name":"\u009b\u202e\udb40\udc01","property":"","value":"","source":""}`},
		{map[string]any{"rows": []any{1.5, nil, true, "x"}}, `{"rows":[1.5,null,true,"x"]}`},
		{map[string][]string{"clones": {"x", "\xff"}}, `{"clones":["x","\\377"],"clones_bytes":[null,"/w=="]}`},
		{eraseRecord{ID: 1 << 63}.ID, "9223372036854775808"},
		{[]string{}, "[]"},
	} {
		if got, err := publicJSON(c.in); err != nil || string(got) != c.want {
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
		{hinted(usagef("y: %w", errors.Join(b, b)), "h"), "y: c; c"},
	} {
		if got := errorText(c.err); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	var out strings.Builder
	report(&out, hinted(errors.New("/lab/a\nslatefs: done\x1b[2J: not found"), "see /lab/a\nb"))
	if got := out.String(); got != `slatefs: error: /lab/a\012slatefs: done\033[2J: not found`+"\n"+`hint: see /lab/a\012b`+"\n" {
		t.Errorf("an error is shown as %q", got)
	}
}
