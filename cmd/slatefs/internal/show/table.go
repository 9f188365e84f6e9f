package show

import (
	"io"
	"strings"

	"github.com/mattn/go-runewidth"
)

// Column is the head of a column. Numbers stand to the right.
type Column struct {
	Head  string
	Right bool
	Least int // cells that it takes at least
}

// Columns reads heads: "NAME >SIZE", with > for those to the right.
func Columns(s string) []Column {
	var cols []Column
	for _, head := range strings.Fields(s) {
		name, right := strings.CutPrefix(head, ">")
		cols = append(cols, Column{Head: name, Right: right})
	}
	return cols
}

// cells counts the cells of a terminal that a text takes: two for 東, none for an accent that joins the letter before it. What is
// wide in some locales only counts as narrow, so that output is the same in all. (Without a LUT, and so safe for concurrent use.)
var cells = runewidth.Condition{StrictEmojiNeutral: true}

// Table prints rows under heads; an empty cell is "-". Cells are escaped here: none can end its line, or begin another.
// Columns are as wide on a terminal as their widest cell.
// The rows are the caller's, and their cells are changed.
func (f *Format) Table(w io.Writer, cols []Column, rows [][]string) error {
	if !f.Scripted && !f.NoHead {
		heads := make([]string, len(cols))
		for i, c := range cols {
			heads[i] = c.Head
		}
		rows = append([][]string{heads}, rows...)
	}
	width := make([]int, len(cols))
	for i, c := range cols {
		width[i] = c.Least
	}
	for _, row := range rows {
		for i := range row {
			if row[i] = Escape(row[i]); row[i] == "" {
				row[i] = "-"
			}
			width[i] = max(width[i], cells.StringWidth(row[i]))
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
			pad := strings.Repeat(" ", width[i]-cells.StringWidth(cell))
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
