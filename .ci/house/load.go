package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// source is a package of this module, parsed and type-checked, without its tests.
type source struct {
	fset  *token.FileSet
	files []*ast.File
	pkg   *types.Package
	info  *types.Info
}

// listed is what `go list -json` says of a package, as far as it is needed.
type listed struct {
	ImportPath, Dir, Export string
	GoFiles                 []string
}

// load type-checks the package at a path of the module that lies at root. What it imports comes from the compiler's export
// data, so that the standard library is all that this takes.
func load(root, path string) (*source, error) {
	cmd := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles", path)
	cmd.Dir, cmd.Stderr = root, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list %s: %w", path, err)
	}
	exports := map[string]string{}
	var of listed // the package itself comes last
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("go list %s: %w", path, err)
		}
		exports[p.ImportPath], of = p.Export, p
	}
	s := &source{fset: token.NewFileSet(), info: &types.Info{
		Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}, Selections: map[*ast.SelectorExpr]*types.Selection{},
	}}
	for _, name := range of.GoFiles {
		f, err := parser.ParseFile(s.fset, filepath.Join(of.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		s.files = append(s.files, f)
	}
	open := func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) }
	conf := types.Config{Importer: importer.ForCompiler(s.fset, "gc", open)}
	s.pkg, err = conf.Check(of.ImportPath, s.fset, s.files, s.info)
	return s, err
}

// file is the name of the file that a position lies in.
func (s *source) file(at token.Pos) string { return filepath.Base(s.fset.Position(at).Filename) }
