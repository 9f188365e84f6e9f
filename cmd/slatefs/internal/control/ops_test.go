package control

import (
	"context"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"slatefs/cmd/slatefs/internal/show"
)

// shape is an operation without its types' parameters.
type shape struct {
	name                string
	args, event, result reflect.Type // event: nil for one without
}

func (o Op[Args, Result]) shape() shape {
	return shape{o.Name, reflect.TypeFor[Args](), nil, reflect.TypeFor[Result]()}
}

func (s Stream[Args, Event, Result]) shape() shape {
	return shape{s.Name, reflect.TypeFor[Args](), reflect.TypeFor[Event](), reflect.TypeFor[Result]()}
}

// shapes are all operations, by the names of their variables.
var shapes = map[string]shape{
	"Info": Info.shape(), "Metrics": Metrics.shape(), "Map": Map.shape(),
	"Umount": Umount.shape(), "Create": Create.shape(), "Snapshot": Snapshot.shape(), "Rollback": Rollback.shape(),
	"Clone": Clone.shape(), "Tag": Tag.shape(), "Holds": Holds.shape(),
	"Destroy": Destroy.shape(), "Undestroy": Undestroy.shape(), "Rename": Rename.shape(), "Resize": Resize.shape(),
	"List": List.shape(), "Tree": Tree.shape(), "Set": Set.shape(), "Get": Get.shape(), "Jobs": Jobs.shape(), "Drain": Drain.shape(),
	"First": First.shape(), "Certify": Certify.shape(), "EraseRecs": EraseRecs.shape(), "Events": Events.shape(),
	"Prove": Prove.shape(), "Check": Check.shape(), "Dump": Dump.shape(), "DumpAll": DumpAll.shape(), "Audit": Audit.shape(),
	"Extend": Extend.shape(), "Reduce": Reduce.shape(), "Reload": Reload.shape(),
}

// draw makes any value of a type that travels. What is left out when it is empty, as field says, is empty as nil.
func draw(t *rapid.T, typ reflect.Type, leftOut bool) reflect.Value {
	v := reflect.New(typ).Elem()
	if typ == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "s"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC()))
		return v
	}
	switch typ.Kind() { //nolint:exhaustive // the others do not travel
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
	case reflect.Int, reflect.Int64:
		v.SetInt(rapid.Int64().Draw(t, "int"))
	case reflect.Uint8:
		v.SetUint(uint64(rapid.Uint8().Draw(t, "byte")))
	case reflect.Uint32:
		v.SetUint(uint64(rapid.Uint32().Draw(t, "uint")))
	case reflect.Uint64:
		v.SetUint(rapid.Uint64().Draw(t, "uint"))
	case reflect.Float64:
		v.SetFloat(rapid.Float64().Draw(t, "float"))
	case reflect.String:
		v.SetString(string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"))) // names are bytes
	case reflect.Pointer:
		if rapid.Bool().Draw(t, "there") {
			v.Set(reflect.New(typ.Elem()))
			v.Elem().Set(draw(t, typ.Elem(), false))
		}
	case reflect.Slice:
		if n := rapid.IntRange(-1, 3).Draw(t, "len"); n > 0 || n == 0 && !leftOut {
			v.Set(reflect.MakeSlice(typ, n, n))
		}
		fallthrough
	case reflect.Array:
		for i := range v.Len() {
			v.Index(i).Set(draw(t, typ.Elem(), false))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(typ))
		for range rapid.IntRange(0, 3).Draw(t, "len") {
			v.SetMapIndex(draw(t, typ.Key(), false), draw(t, typ.Elem(), false))
		}
	case reflect.Struct:
		for i := range typ.NumField() {
			if f := typ.Field(i); f.IsExported() {
				v.Field(i).Set(draw(t, f.Type, strings.Contains(f.Tag.Get("json"), "omitempty")))
			}
		}
	default:
		t.Fatalf("%v does not travel", typ)
	}
	return v
}

// What an operation is asked with, tells and answers arrives as it was, whatever it is: through a socket, both ways.
func TestOperationsTravel(t *testing.T) {
	var want, event, answer reflect.Value // of the request at hand
	var bad string
	c := NewServer(slog.New(slog.DiscardHandler))
	for _, s := range shapes {
		c.add(s.name, operation{answer: func(_ context.Context, who Peer, raw json.RawMessage, tell func(any) error) (any, error) {
			got := reflect.New(s.args)
			if err := show.Decode(raw, got.Interface()); err != nil {
				return nil, err
			}
			if !reflect.DeepEqual(got.Elem().Interface(), want.Interface()) || who.Op != s.name {
				bad = "the arguments are others"
			}
			if s.event != nil {
				if err := tell(event.Interface()); err != nil {
					return nil, err
				}
			}
			return answer.Interface(), nil
		}})
	}
	l := startControl(t, c)
	for name, s := range shapes {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				want, answer = draw(t, s.args, false), draw(t, s.result, false)
				if s.event != nil {
					event = draw(t, s.event, false)
				}
				got, events := reflect.New(s.result), 0
				err := ask(context.Background(), l, s.name, want.Interface(), func(raw json.RawMessage) error {
					e := reflect.New(s.event)
					err := show.Decode(raw, e.Interface())
					if events++; !reflect.DeepEqual(e.Elem().Interface(), event.Interface()) {
						t.Errorf("%+v became %+v", event, e.Elem())
					}
					return err
				}, got.Interface())
				if err != nil || bad != "" || events > 0 != (s.event != nil) {
					t.Fatalf("%v, %s, %d events; asked with %+v", err, bad, events, want)
				}
				if !reflect.DeepEqual(got.Elem().Interface(), answer.Interface()) {
					t.Fatalf("%+v\nbecame %+v", answer, got.Elem())
				}
			})
		})
	}
}

// A line that no client of this program would write harms no daemon.
func FuzzRequest(f *testing.F) {
	c := NewServer(slog.New(slog.DiscardHandler))
	for _, s := range shapes {
		c.add(s.name, operation{answer: func(_ context.Context, _ Peer, raw json.RawMessage, _ func(any) error) (any, error) {
			args := reflect.New(s.args)
			return args.Elem().Interface(), show.Decode(raw, args.Interface())
		}})
		b, err := show.Encode(reflect.New(s.args).Elem().Interface())
		if err != nil {
			f.Fatal(err)
		}
		line, err := show.Encode(request{Op: s.name, Args: b, Actor: "root@pam"})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(line)
	}
	f.Add([]byte(`{"op":"create","args":{"Objects":[{"path":"\u0000\\x"}]}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		r := c.perform(context.Background(), Peer{}, line, func(any) error { return nil })
		if (r.Error == nil) == (r.Result == nil) {
			t.Errorf("%s: %+v", line, r)
		}
	})
}

// variables are the operations that ops.go declares, by the names of their variables.
func variables(t *testing.T) (names []string) {
	f, err := parser.ParseFile(token.NewFileSet(), "ops.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range f.Decls {
		for _, s := range d.(*ast.GenDecl).Specs {
			names = append(names, s.(*ast.ValueSpec).Names[0].Name)
		}
	}
	return names
}

// uses counts how often the files of a pattern, but for tests, say control.NAME; with handled, as the operation of a Handle only.
func uses(t *testing.T, pattern string, handled bool) map[string]int {
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v, %v", pattern, files, err)
	}
	n := map[string]int{}
	selected := func(e ast.Expr) string {
		if s, ok := e.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && x.Name == "control" {
				return s.Sel.Name
			}
		}
		return ""
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(node ast.Node) bool {
			switch e := node.(type) {
			case *ast.CallExpr:
				if name := selected(e.Fun); handled && (name == "Handle" || name == "HandleStream") {
					n[selected(e.Args[1])]++
				}
			case *ast.SelectorExpr:
				if !handled {
					n[selected(e)]++
				}
			}
			return true
		})
	}
	return n
}

// Each operation has one handler, in the daemon, and a caller among the commands, or on the page. No two have one name.
func TestHandlersAndCallers(t *testing.T) {
	names := variables(t)
	if len(names) != len(shapes) {
		t.Errorf("%d operations, %d are tested", len(names), len(shapes))
	}
	handlers, callers, seen := uses(t, "../daemon/*.go", true), uses(t, "../../*.go", false), map[string]bool{}
	for name, n := range uses(t, "../web/*.go", false) {
		callers[name] += n
	}
	for _, name := range names {
		switch s, ok := shapes[name]; {
		case !ok:
			t.Errorf("%s is not tested", name)
		case seen[s.name]:
			t.Errorf("%s: another operation is named %q", name, s.name)
		case handlers[name] != 1:
			t.Errorf("%s has %d handlers", name, handlers[name])
		case callers[name] == 0:
			t.Errorf("%s has no caller", name)
		default:
			seen[s.name] = true
		}
	}
}
