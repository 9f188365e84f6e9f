package main

import (
	"bytes"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// format is how results are printed.
type format struct {
	scripted bool // -H: no header, one tab between columns
	exact    bool // -p: bytes and seconds as numbers
	json     bool // -j
}

// flags adds the flags of a format to a command; letters are those of -H, -p, -j that it takes.
func (f *format) flags(cmd *cobra.Command, letters string) {
	for _, l := range letters {
		switch l {
		case 'H':
			cmd.Flags().BoolVarP(&f.scripted, "scripted", "H", false, "no header, one tab between columns")
		case 'p':
			cmd.Flags().BoolVarP(&f.exact, "parsable", "p", false, "exact numbers of bytes")
		case 'j':
			cmd.Flags().BoolVarP(&f.json, "json", "j", false, "print JSON, with an output_version")
		}
	}
}

func (f *format) size(n int64) string {
	if f.exact {
		return strconv.FormatInt(n, 10)
	}
	return formatSize(n)
}

func (f *format) time(t time.Time) string {
	if f.exact && !t.IsZero() {
		return strconv.FormatInt(t.Unix(), 10)
	}
	return formatTime(t)
}

// column is the head of a column. Numbers stand to the right.
type column struct {
	head  string
	right bool
}

// parseColumns reads heads: "NAME >SIZE", with > for those to the right.
func parseColumns(s string) []column {
	var cols []column
	for _, head := range strings.Fields(s) {
		name, right := strings.CutPrefix(head, ">")
		cols = append(cols, column{name, right})
	}
	return cols
}

// table prints rows under heads; an empty cell is "-". Cells are escaped here: none can end its line, or begin another.
func (f *format) table(w io.Writer, cols []column, rows [][]string) error {
	if !f.scripted {
		heads := make([]string, len(cols))
		for i, c := range cols {
			heads[i] = c.head
		}
		rows = append([][]string{heads}, rows...)
	}
	width := make([]int, len(cols))
	for _, row := range rows {
		for i := range row {
			if row[i] = escape(row[i]); row[i] == "" {
				row[i] = "-"
			}
			width[i] = max(width[i], utf8.RuneCountInString(row[i]))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		if f.scripted {
			b.WriteString(strings.Join(row, "\t") + "\n")
			continue
		}
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			switch {
			case cols[i].right:
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

// outputVersion says which form a JSON result has. Minor rises with new fields, major when old ones change.
type outputVersion struct {
	Command string `json:"command"`
	Major   int    `json:"vers_major"`
	Minor   int    `json:"vers_minor"`
}

// writeJSON prints a result under key, as an object with an output_version.
func writeJSON(w io.Writer, command, key string, v any) error {
	line, err := publicJSON(map[string]any{"output_version": outputVersion{command, 1, 1}, key: v})
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, line, "", "  "); err != nil {
		return err
	}
	b.WriteByte('\n')
	_, err = b.WriteTo(w)
	return err
}
