package chain

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// guards is how the comment of a field of the pool begins: see Pool.lockOrder.
var guards = regexp.MustCompile(strings.ReplaceAll(`^(const|self|LOCK(, LOCK)*)(: .|$)`, "LOCK",
	"(workMu|structure|commitMu|claimMu|mu)"))

// TestGuards: each field of the pool says what guards it, in its own comment or in those of the struct that it is.
func TestGuards(t *testing.T) {
	structs := structsHere(t)
	seen := map[string]bool{}
	var look func(name string)
	look = func(name string) {
		if seen[name] {
			return
		}
		seen[name] = true
		for _, f := range structs[name].Fields.List {
			text := strings.TrimSpace(f.Comment.Text())
			of := strings.TrimPrefix(typeName(f.Type), "*")
			switch {
			case guards.MatchString(text):
			case structs[of] != nil && text == "":
				look(of)
			default:
				t.Errorf("%s.%s has the comment %q, which does not begin with its guard", name, fieldName(f), text)
			}
		}
	}
	look("Pool")
}

// structsHere are the struct types of this package, by name.
func structsHere(t *testing.T) map[string]*ast.StructType {
	t.Helper()
	names, err := filepath.Glob("*.go")
	ok(t, err)
	out := map[string]*ast.StructType{}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") || name == "planlock_race.go" {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		ok(t, err)
		ast.Inspect(f, func(n ast.Node) bool {
			if s, is := n.(*ast.TypeSpec); is {
				if st, is := s.Type.(*ast.StructType); is {
					out[s.Name.Name] = st
				}
			}
			return true
		})
	}
	return out
}

func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.StarExpr:
		return "*" + typeName(e.X)
	}
	return ""
}

func fieldName(f *ast.Field) string {
	if len(f.Names) == 0 {
		return typeName(f.Type)
	}
	return f.Names[0].Name
}

// TestLockOrder: the locks of a pool that was opened know their order.
func TestLockOrder(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	seen := map[*workLock]bool{}
	for _, row := range p.lockOrder() {
		for _, m := range row {
			if seen[m] {
				t.Error("a lock stands in the order twice")
			}
			seen[m] = true
		}
	}
	if len(seen) != 6 {
		t.Errorf("%d locks in the order beside the plan lock, want 6", len(seen))
	}
	if !invariants {
		return
	}
	p.structure.Lock()
	defer p.structure.Unlock()
	defer func() {
		if recover() == nil {
			t.Error("workMu is taken behind the structure lock, and nothing says so")
		}
	}()
	p.commits.workMu.Lock()
}
