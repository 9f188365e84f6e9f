package control

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

var opFail = Op[int, None]{Name: "fail"}

// failing serves an operation that fails with one of errs, by number.
func failing(t *testing.T, errs *[]error) host.Live {
	c := NewServer(slog.New(slog.DiscardHandler))
	Handle(c, opFail, func(_ context.Context, _ Peer, n int) (None, error) { return None{}, (*errs)[n] })
	return startControl(t, c)
}

// An error of any kind is of that kind, and of no other than before, on the other side of the socket. Its text is the same.
func TestKindsTravel(t *testing.T) {
	var errs []error
	l := failing(t, &errs)
	for _, k := range kinds {
		errs = append(errs, k.err, fmt.Errorf("pool lab: %w", k.err), show.Hinted(fmt.Errorf("a: %w", k.err), "do %s", k.name))
	}
	errs = append(errs, errors.New("of no kind"), os.ErrNotExist, context.Canceled)
	for n, want := range errs {
		_, got := opFail.Call(t.Context(), l, n)
		if got == nil || got.Error() != want.Error() || show.HintOf(got) != show.HintOf(want) {
			t.Errorf("%v, hint %q; want %v, %q", got, show.HintOf(got), want, show.HintOf(want))
		}
		sameKinds(t, got, want)
		if errors.Is(got, os.ErrNotExist) || errors.Is(got, context.Canceled) {
			t.Errorf("%v: taken for this process's own", got)
		}
	}
}

// sameKinds compares what errors.Is finds in two errors.
func sameKinds(t interface{ Errorf(string, ...any) }, got, want error) {
	for _, k := range kinds {
		if errors.Is(got, k.err) != errors.Is(want, k.err) {
			t.Errorf("%v: errors.Is %s is %v, was %v", got, k.name, errors.Is(got, k.err), errors.Is(want, k.err))
		}
	}
}

// Several errors in one, wrapped as they may be, keep all their kinds.
func TestMixedKindsTravel(t *testing.T) {
	var errs []error
	l := failing(t, &errs)
	kind := rapid.Custom(func(t *rapid.T) error { return rapid.SampledFrom(kinds).Draw(t, "kind").err })
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(kind, 1, 4).Draw(t, "errors")
		want := list[0]
		for _, e := range list[1:] {
			if rapid.Bool().Draw(t, "joined") {
				want = errors.Join(want, e)
			} else {
				want = fmt.Errorf("%s: %w: %w", rapid.String().Draw(t, "text"), e, want)
			}
		}
		errs = []error{want}
		_, got := opFail.Call(context.Background(), l, 0)
		sameKinds(t, got, want)
	})
}

// A kind of another version's is no kind here: the text is left.
func TestUnknownKind(t *testing.T) {
	err := (&Error{Text: "x", Hint: "y", Kinds: []string{"of 2031", "busy"}}).Err()
	if err.Error() != "x" || show.HintOf(err) != "y" || !errors.Is(err, ErrBusy) || errors.Is(err, ErrNoSpace) {
		t.Errorf("%v, hint %q", err, show.HintOf(err))
	}
}

// Every error that the pool exports has a name on the wire, each another one.
func TestKindsAreAll(t *testing.T) {
	files, err := filepath.Glob("../../../../chain/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	var missing []string
	texts := map[string]bool{}
	for _, k := range kinds {
		if texts[k.name] || texts[k.err.Error()] {
			t.Errorf("%s is there twice", k.name)
		}
		texts[k.name], texts[k.err.Error()] = true, true
	}
	source, err := os.ReadFile("errors.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR || strings.HasSuffix(file, "_test.go") {
				continue
			}
			for _, spec := range g.Specs {
				for _, name := range spec.(*ast.ValueSpec).Names {
					if strings.HasPrefix(name.Name, "Err") && !strings.Contains(string(source), "= chain."+name.Name+"\n") {
						missing = append(missing, name.Name)
					}
				}
			}
		}
	}
	if len(missing) > 0 {
		t.Errorf("of these no client can know: %v", missing)
	}
}
