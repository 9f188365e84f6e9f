package certificate

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Widths of the text form, in characters.
const (
	textWidth  = 110
	labelWidth = 33
)

const blank = "______________________________"

// Text is the form to read and print anywhere. The signed JSON stands below it.
func (s *Signed) Text() []byte {
	sh := s.sheet(bounds{})
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("%s\n%s\n", sh.title, sh.under)
	for _, v := range sh.verdict {
		wrapped(&b, "", 0, v)
	}
	for _, sec := range sh.sections {
		line("\n%s\n%s", sec.title, strings.Repeat("-", len(sec.title)))
		width := labelWidth
		if sec.wide {
			width = 8
		}
		for _, r := range sec.rows {
			if r.value == "" {
				r.value = blank
			}
			wrapped(&b, r.name, width, r.value)
		}
		if sec.note != "" {
			wrapped(&b, "", 0, sec.note)
		}
		if sec.sign {
			line("\n%-*s%s\n\n%-*s%s", labelWidth, "Signature", blank, labelWidth, "Date", blank)
		}
	}
	line("")
	b.Write(s.block())
	return []byte(b.String())
}

// indent is the least by which a text that goes on is set in: only what begins a line of the sheet stands at its edge, so that no name
// can look like a verdict.
const indent = 2

// wrapped writes a label and a value that goes on below itself where a line is full.
func wrapped(b *strings.Builder, label string, width int, value string) {
	at := fmt.Sprintf("%-*s", width, label)
	if width > 0 && !strings.HasSuffix(at, " ") {
		at += " "
	}
	used := utf8.RuneCountInString(at)
	b.WriteString(at)
	for i, word := range strings.Split(value, " ") {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case used+1+n > textWidth:
			used = max(width, indent)
			b.WriteString("\n" + strings.Repeat(" ", used))
		default:
			b.WriteByte(' ')
			used++
		}
		b.WriteString(word)
		used += n
	}
	b.WriteByte('\n')
}
