package show

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A name in a pool, and a path to one, is any string of bytes. It is taken as it is typed, travels and is kept byte for byte
// (exact.go), and is escaped once, where it is shown: so that none moves a terminal's cursor, ends a line, or makes a column.

// Escape makes a text fit for a terminal, a line and a column: what is not printable, and each byte that is not UTF-8,
// becomes \ooo, three octal digits a byte, and a backslash becomes two. Unescape undoes it; printf(1) does as well.
func Escape(s string) string {
	if strings.IndexFunc(s, hidden) < 0 {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == '\\':
			b.WriteString(`\\`)
		case r == utf8.RuneError && n == 1, !unicode.IsPrint(r):
			for i := range n {
				fmt.Fprintf(&b, `\%03o`, s[i])
			}
		default:
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

// hidden tells what Escape changes. A U+FFFD may be one that is there, or a byte that is not UTF-8: Escape looks.
func hidden(r rune) bool { return r == '\\' || r == utf8.RuneError || !unicode.IsPrint(r) }

// ErrEscape is for what Escape does not make.
var ErrEscape = errors.New(`want two backslashes for one, or \ and three octal digits of a byte`)

// Unescape is the text that Escape was given; ErrEscape if Escape makes no such text.
func Unescape(s string) (string, error) {
	var b strings.Builder
	for {
		i := strings.IndexByte(s, '\\')
		if i < 0 {
			b.WriteString(s)
			return b.String(), nil
		}
		b.WriteString(s[:i])
		if s = s[i+1:]; strings.HasPrefix(s, `\`) {
			b.WriteByte('\\')
			s = s[1:]
			continue
		}
		if len(s) < 3 || s[0] < '0' || s[0] > '3' || s[1] < '0' || s[1] > '7' || s[2] < '0' || s[2] > '7' {
			return "", ErrEscape
		}
		b.WriteByte((s[0]-'0')<<6 | (s[1]-'0')<<3 | (s[2] - '0'))
		s = s[3:]
	}
}

// Printable is fmt.Sprintf for what is shown: texts among the arguments are escaped, the format is ours.
func Printable(format string, args ...any) string {
	shown := make([]any, len(args))
	for i, a := range args {
		switch a := a.(type) {
		case string:
			shown[i] = Escape(a)
		case error:
			shown[i] = Escape(ErrorText(a))
		case fmt.Stringer:
			shown[i] = Escape(a.String())
		default:
			shown[i] = a
		}
	}
	return fmt.Sprintf(format, shown...)
}

// ErrorText is err.Error() in one line: errors that were joined are divided by "; ".
func ErrorText(err error) string {
	switch e := err.(type) { //nolint:errorlint // it walks the tree itself
	case interface{ Unwrap() []error }:
		parts, texts := e.Unwrap(), []string{}
		whole := []string{}
		for _, p := range parts {
			whole = append(whole, p.Error())
			texts = append(texts, ErrorText(p))
		}
		if text := err.Error(); text != strings.Join(whole, "\n") {
			for i := range whole {
				text = strings.Replace(text, whole[i], texts[i], 1)
			}
			return text
		}
		return strings.Join(texts, "; ")
	case interface{ Unwrap() error }:
		if in := e.Unwrap(); in != nil {
			return strings.Replace(err.Error(), in.Error(), ErrorText(in), 1)
		}
	}
	return err.Error()
}
