package show

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// flagged runs a command line that has only a format, and a size and a time.
func flagged(t *testing.T, letters string, args ...string) (f Format, size Size, span Span, err error) {
	t.Helper()
	cmd := &cobra.Command{
		Use: "x", SilenceErrors: true, SilenceUsage: true,
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	f.Flags(cmd, letters)
	cmd.Flags().Var(&size, "size", "a `SIZE`")
	cmd.Flags().Var(&span, "wait", "a `TIME`")
	cmd.SetArgs(args)
	err = cmd.Execute()
	return f, size, span, err
}

func TestFlags(t *testing.T) {
	f, size, span, err := flagged(t, "Hpj", "-H", "-p", "--json", "--size", "1.5G", "--wait", "2d")
	if err != nil || f != (Format{Scripted: true, Exact: true, JSON: true}) || size != (Size{3 << 29, true}) ||
		span != Span(48*time.Hour) {
		t.Errorf("%+v, %+v, %v, %v", f, size, time.Duration(span), err)
	}
	if f, size, _, err := flagged(t, "H"); err != nil || f != (Format{}) || size.Given {
		t.Errorf("nothing: %+v, %+v, %v", f, size, err)
	}
	for _, args := range [][]string{{"-j"}, {"--size", "20GB"}, {"--wait", "soon"}} {
		if _, _, _, err := flagged(t, "Hp", args...); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
}

func TestNumbers(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.Local)
	later := now.Add(2 * time.Hour)
	tomorrow := now.Add(24 * time.Hour)
	plain, exact := &Format{}, &Format{Exact: true}
	for _, c := range []struct{ got, want string }{
		{plain.Size(3 << 29), "1.50G"},
		{exact.Size(3 << 29), "1610612736"},
		{plain.End(nil, now), ""},
		{exact.End(nil, now), ""},
		{plain.End(&later, now), "14:00:00"},
		{plain.End(&tomorrow, now), "Nov 30 12:00"},
		{exact.End(&later, later), exact.Time(later)},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}

func TestWriteJSON(t *testing.T) {
	var b bytes.Buffer
	if err := WriteJSON(&b, "slatefs list", "rows", []line{{Name: "caf\xe9"}}); err != nil {
		t.Fatal(err)
	}
	var got struct {
		V    OutputVersion `json:"output_version"`
		Rows []struct {
			Name  string
			Bytes []byte `json:"name_bytes"`
		}
	}
	if err := json.Unmarshal(b.Bytes(), &got); err != nil || !bytes.HasSuffix(b.Bytes(), []byte("}\n")) {
		t.Fatalf("%s: %v", b.String(), err)
	}
	if got.V != (OutputVersion{"slatefs list", 1, 1}) || string(got.Rows[0].Bytes) != "caf\xe9" || got.Rows[0].Name != `caf\351` {
		t.Errorf("%+v", got)
	}
}

// Exit codes are an ABI, and so is what stands on stderr.
func TestReport(t *testing.T) {
	usage := Usagef("want %d", 2)
	for _, c := range []struct {
		err  error
		code int
		says string
	}{
		{nil, ExitDone, ""},
		{io.ErrUnexpectedEOF, ExitFailed, "slatefs: error: unexpected EOF\n"},
		{usage, ExitUsage, "slatefs: error: want 2\n"},
		{Hinted(usage, "see %s", "x --help"), ExitUsage, "slatefs: error: want 2\nhint: see x --help\n"},
		{Hinted(Hinted(io.EOF, "first"), "second"), ExitFailed, "slatefs: error: EOF\nhint: first\n"},
		{errors.Join(ErrQuiet, io.EOF), ExitFailed, ""},
	} {
		var b strings.Builder
		if code := Report(&b, c.err); code != c.code || b.String() != c.says {
			t.Errorf("%v: code %d, %q, want %d, %q", c.err, code, b.String(), c.code, c.says)
		}
	}
	if Hinted(nil, "x") != nil || HintOf(io.EOF) != "" || !errors.Is(Hinted(io.EOF, "x"), io.EOF) {
		t.Error("a hint makes an error, or hides one")
	}
}
