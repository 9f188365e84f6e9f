package show

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode"
	"unicode/utf16"
)

// OutputVersion says which form a JSON result has. Minor rises with new fields, major when old ones change.
type OutputVersion struct {
	Command string `json:"command"`
	Major   int    `json:"vers_major"`
	Minor   int    `json:"vers_minor"`
}

// WriteJSON prints a result under key, as an object with an output_version.
func WriteJSON(w io.Writer, command, key string, v any) error {
	line, err := PublicJSON(map[string]any{"output_version": OutputVersion{command, 1, 1}, key: v})
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

// PublicJSON is v as JSON for others, in one line.
func PublicJSON(v any) ([]byte, error) {
	var plain bytes.Buffer
	e := json.NewEncoder(&plain)
	e.SetEscapeHTML(false)
	if err := e.Encode(mapStrings(reflect.ValueOf(v), armour)); err != nil {
		return nil, err
	}
	p := publisher{in: json.NewDecoder(&plain)}
	p.in.UseNumber()
	if _, err := p.value(); err != nil {
		return nil, err
	}
	return p.out.Bytes(), nil
}

// publisher copies JSON, and puts what stands for bytes into its public form.
type publisher struct {
	in  *json.Decoder
	out bytes.Buffer
}

// value copies a value. more is the value of the field NAME_bytes that is to stand beside it; empty: none.
func (p *publisher) value() (more string, err error) {
	t, err := p.in.Token()
	if err != nil {
		return "", err
	}
	switch t := t.(type) {
	case json.Delim:
		if t == '{' {
			return "", p.object()
		}
		return p.array()
	case string:
		text, marked := strings.CutPrefix(t, byteMark)
		if marked {
			raw, err := Unescape(text)
			if err != nil {
				return "", err
			}
			more = fmt.Sprintf("%q", base64.StdEncoding.EncodeToString([]byte(raw)))
		}
		return more, p.text(text)
	case nil:
		p.out.WriteString("null")
	default: // numbers and booleans
		fmt.Fprint(&p.out, t)
	}
	return "", nil
}

func (p *publisher) object() error {
	p.out.WriteByte('{')
	for first := true; p.in.More(); first = false {
		t, err := p.in.Token()
		if err != nil {
			return err
		}
		if !first {
			p.out.WriteByte(',')
		}
		name, _ := t.(string)
		if err := p.text(name); err != nil {
			return err
		}
		p.out.WriteByte(':')
		more, err := p.value()
		if err != nil {
			return err
		}
		if more != "" {
			p.out.WriteByte(',')
			if err := p.text(name + "_bytes"); err != nil {
				return err
			}
			p.out.WriteString(":" + more)
		}
	}
	p.out.WriteByte('}')
	_, err := p.in.Token()
	return err
}

// array copies a list. Where one of its strings stands for bytes, more has a place for each of its members.
func (p *publisher) array() (more string, err error) {
	p.out.WriteByte('[')
	var each []string
	some := false
	for p.in.More() {
		if len(each) > 0 {
			p.out.WriteByte(',')
		}
		one, err := p.value()
		if err != nil {
			return "", err
		}
		some = some || one != ""
		if one == "" {
			one = "null"
		}
		each = append(each, one)
	}
	p.out.WriteByte(']')
	if some {
		more = "[" + strings.Join(each, ",") + "]"
	}
	_, err = p.in.Token()
	return more, err
}

// text writes a string. What a terminal would act on is written by its number: JSON itself asks that of ASCII only.
func (p *publisher) text(s string) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return err
	}
	for _, r := range strings.TrimSuffix(b.String(), "\n") {
		switch {
		case unicode.IsPrint(r):
			p.out.WriteRune(r)
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			fmt.Fprintf(&p.out, `\u%04x\u%04x`, hi, lo)
		default:
			fmt.Fprintf(&p.out, `\u%04x`, r)
		}
	}
	return nil
}
