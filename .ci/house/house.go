package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/types"
	"maps"
	"slices"
	"strings"
)

// function is one of the package, with what it refers to.
type function struct {
	name string // Pool.Snapshot, parseNames
	file string
	room int
	decl *ast.FuncDecl

	calls  []*function // each once, in the order of the source
	reads  map[*types.Var]bool
	writes map[*types.Var]bool
}

// house is a package, room by room.
type house struct {
	*source
	*plan
	funcs []*function
	by    map[*types.Func]*function
}

// survey finds the functions of a package and what each refers to. An interface hides who is called.
func survey(s *source, p *plan) (*house, error) {
	h := &house{s, p, nil, map[*types.Func]*function{}}
	var wrong []error
	for _, f := range s.files {
		file := s.file(f.Pos())
		room, ok := p.of[file]
		if !ok {
			wrong = append(wrong, fmt.Errorf("%s is in no room", file))
		}
		for _, d := range f.Decls {
			fd, ok := d.(*ast.FuncDecl)
			if !ok || fd.Body == nil {
				continue
			}
			obj := s.info.Defs[fd.Name].(*types.Func)
			fn := &function{name: fd.Name.Name, file: file, room: room, decl: fd, reads: map[*types.Var]bool{}, writes: map[*types.Var]bool{}}
			if t := receiver(obj); t != nil {
				fn.name = t.Obj().Name() + "." + fn.name
				if at, owned := p.owner[t.Obj().Name()]; owned && at != room {
					wrong = append(wrong, fmt.Errorf("%s is in %s, a file of %s; the type is of %s", fn.name, file, p.names[room], p.names[at]))
				}
				if t.Obj().Name() == p.verbs {
					fn.room = max(fn.room, p.verbsAt)
				}
			}
			h.funcs, h.by[obj] = append(h.funcs, fn), fn
		}
	}
	for _, fn := range h.funcs {
		h.walk(fn)
	}
	return h, errors.Join(wrong...)
}

func receiver(f *types.Func) *types.Named {
	r := f.Signature().Recv()
	if r == nil {
		return nil
	}
	t := r.Type()
	if p, ok := t.(*types.Pointer); ok {
		t = p.Elem()
	}
	n, _ := t.(*types.Named)
	return n
}

// walk notes what a function refers to.
func (h *house) walk(fn *function) {
	seen := map[*function]bool{fn: true}
	ast.Inspect(fn.decl.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Ident:
			switch o := h.info.Uses[n].(type) {
			case *types.Func:
				if to := h.by[o.Origin()]; to != nil && !seen[to] {
					seen[to] = true
					fn.calls = append(fn.calls, to)
				}
			case *types.Var:
				if o.IsField() {
					fn.reads[o] = true
				}
			}
		case *ast.AssignStmt:
			for _, l := range n.Lhs {
				h.written(fn, l)
			}
		case *ast.IncDecStmt:
			h.written(fn, n.X)
		}
		return true
	})
}

func (h *house) written(fn *function, e ast.Expr) {
	for {
		switch x := e.(type) {
		case *ast.SelectorExpr:
			if v, ok := h.info.Uses[x.Sel].(*types.Var); ok && v.IsField() {
				fn.writes[v] = true
			}
			return
		case *ast.IndexExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		default:
			return
		}
	}
}

// upward lists the references from a function to one of a room above: "FROM TO".
func (h *house) upward() (out []string) {
	for _, fn := range h.funcs {
		for _, to := range fn.calls {
			if to.room > fn.room {
				out = append(out, fn.name+" "+to.name)
			}
		}
	}
	slices.Sort(out)
	return out
}

// own counts the methods of a type, and those that are exported.
func (h *house) own(typ string) (all, exported int) {
	for _, fn := range h.funcs {
		if strings.HasPrefix(fn.name, typ+".") {
			all++
			if fn.decl.Name.IsExported() {
				exported++
			}
		}
	}
	return all, exported
}

// path follows the calls of a function to the end: how many stay in a file, how many go to another, of these up to a room
// above, and through how many files.
func (h *house) path(name string) (files []string, stays, moves, up int, err error) {
	i := slices.IndexFunc(h.funcs, func(f *function) bool { return f.name == name })
	if i < 0 {
		return nil, 0, 0, 0, fmt.Errorf("there is no function %s", name)
	}
	seen, in := map[*function]bool{}, map[string]bool{}
	var follow func(*function)
	follow = func(fn *function) {
		if seen[fn] {
			return
		}
		seen[fn], in[fn.file] = true, true
		for _, to := range fn.calls {
			switch {
			case to.file == fn.file:
				stays++
			default:
				moves++
			}
			if to.room > fn.room {
				up++
			}
			follow(to)
		}
	}
	follow(h.funcs[i])
	return slices.Sorted(maps.Keys(in)), stays, moves, up, nil
}
