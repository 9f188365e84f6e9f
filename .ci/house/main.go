// Command house draws package chain room by room: who refers to whom, who touches which field, and how far a path goes through
// the files. The rooms are in .ci/house/rooms; TestHouse refuses a reference upwards that is not named there.
//
//	go run ./.ci/house
package main

import (
	"fmt"
	"go/types"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

func main() {
	if err := draw(); err != nil {
		fmt.Fprintln(os.Stderr, "house:", err)
		os.Exit(1)
	}
}

func draw() error {
	h, err := open(".")
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	h.drawTypes(w)
	h.drawRooms(w)
	h.drawFields(w)
	if err := h.drawPaths(w); err != nil {
		return err
	}
	return w.Flush()
}

// open surveys package chain of the module at root.
func open(root string) (*house, error) {
	p, err := readPlan(root + "/.ci/house/rooms")
	if err != nil {
		return nil, err
	}
	s, err := load(root, "./chain")
	if err != nil {
		return nil, err
	}
	return survey(s, p)
}

func (h *house) drawTypes(w *tabwriter.Writer) {
	fmt.Fprintln(w, "type\tmethods\texported\tfields")
	for _, t := range h.components() {
		all, exported := h.own(t)
		st := h.pkg.Scope().Lookup(t).Type().Underlying().(*types.Struct)
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\n", t, all, exported, st.NumFields())
	}
}

// components are the types that rooms own, in their order, and Pool, which has verbs in several.
func (h *house) components() []string {
	out := []string{}
	for t := range h.owner {
		out = append(out, t)
	}
	slices.SortFunc(out, func(a, b string) int { return 2*(h.owner[a]-h.owner[b]) + strings.Compare(a, b) })
	return append(out, "Pool")
}

func (h *house) drawRooms(w *tabwriter.Writer) {
	n := len(h.names)
	count, all := make([][]int, n), 0
	for i := range count {
		count[i] = make([]int, n)
	}
	for _, fn := range h.funcs {
		for _, to := range fn.calls {
			if to.room != fn.room {
				count[fn.room][to.room]++
				all++
			}
		}
	}
	fmt.Fprintf(w, "\nreferences from room to room\t%s\n", strings.Join(h.names, "\t"))
	for i, row := range count {
		fmt.Fprint(w, h.names[i])
		for _, c := range row {
			fmt.Fprintf(w, "\t%s", dash(c))
		}
		fmt.Fprintln(w)
	}
	up := h.upward()
	fmt.Fprintf(w, "\n%d of %d references run up\n", len(up), all)
	for _, u := range up {
		fmt.Fprintf(w, "  %s\t%s\n", u, h.up[u])
	}
}

func dash(n int) string {
	if n == 0 {
		return "·"
	}
	return fmt.Sprint(n)
}

// drawFields shows how many functions of each room touch a field, and how many of them write it.
func (h *house) drawFields(w *tabwriter.Writer) {
	fmt.Fprintf(w, "\nfield\t%s\n", strings.Join(h.names, "\t"))
	for _, t := range h.components() {
		st := h.pkg.Scope().Lookup(t).Type().Underlying().(*types.Struct)
		for f := range st.Fields() {
			if f.Embedded() {
				continue
			}
			fmt.Fprintf(w, "%s.%s", t, f.Name())
			for room := range h.names {
				fmt.Fprintf(w, "\t%s", h.touch(f, room))
			}
			fmt.Fprintln(w)
		}
	}
}

func (h *house) touch(f *types.Var, room int) string {
	reads, writes := 0, 0
	for _, fn := range h.funcs {
		if fn.room != room {
			continue
		}
		if fn.reads[f] {
			reads++
		}
		if fn.writes[f] {
			writes++
		}
	}
	if writes > 0 {
		return fmt.Sprintf("%d/%dw", reads, writes)
	}
	return dash(reads)
}

func (h *house) drawPaths(w *tabwriter.Writer) error {
	fmt.Fprintln(w, "\npath\tfrom\tfiles\tstays\tmoves\tof them up")
	for _, p := range h.paths {
		files, stays, moves, up, err := h.path(p[1])
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\n", p[0], p[1], len(files), stays, moves, up)
	}
	return nil
}
