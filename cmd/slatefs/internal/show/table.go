package show

import (
	"io"
	"strings"
	"unicode/utf8"
)

// Column is the head of a column. Numbers stand to the right.
type Column struct {
	Head  string
	Right bool
}

// Columns reads heads: "NAME >SIZE", with > for those to the right.
func Columns(s string) []Column {
	var cols []Column
	for _, head := range strings.Fields(s) {
		name, right := strings.CutPrefix(head, ">")
		cols = append(cols, Column{name, right})
	}
	return cols
}

// Table prints rows under heads; an empty cell is "-". Cells are escaped here: none can end its line, or begin another.
// The rows are the caller's, and their cells are changed.
func (f *Format) Table(w io.Writer, cols []Column, rows [][]string) error {
	if !f.Scripted {
		heads := make([]string, len(cols))
		for i, c := range cols {
			heads[i] = c.Head
		}
		rows = append([][]string{heads}, rows...)
	}
	width := make([]int, len(cols))
	for _, row := range rows {
		for i := range row {
			if row[i] = Escape(row[i]); row[i] == "" {
				row[i] = "-"
			}
			width[i] = max(width[i], utf8.RuneCountInString(row[i]))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		if f.Scripted {
			b.WriteString(strings.Join(row, "\t") + "\n")
			continue
		}
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			switch {
			case cols[i].Right:
				line.WriteString(pad + cell)
			default:
				line.WriteString(cell + pad)
			}
			line.WriteString("  ")
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
