package main

import (
	"bytes"
	"encoding"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// JSON has no strings of bytes: encoding/json puts U+FFFD for each byte that is not UTF-8, and the name of another file may
// come out. So every JSON that leaves this program, or that it keeps, goes through here, with all of its strings:
//
//   - among its own processes, and in files that only it reads: encode and decode. A string that is not UTF-8 stands in
//     it as NUL and its escaped form, which no name can be, for none has a NUL.
//   - for others (-j, the log's export, the system journal): publicJSON. A string NAME that is not UTF-8 stands in it
//     escaped, and beside it is NAME_bytes, its base64.

// byteMark begins a string that stands for one that JSON can't have.
const byteMark = "\x00"

func armour(s string) string {
	if utf8.ValidString(s) && !strings.HasPrefix(s, byteMark) {
		return s
	}
	return byteMark + escape(s)
}

func disarm(s string) (string, error) {
	text, marked := strings.CutPrefix(s, byteMark)
	if !marked {
		return s, nil
	}
	return unescape(text)
}

// encode is json.Marshal that keeps every string's bytes; decode reads it.
func encode(v any) ([]byte, error) {
	return json.Marshal(mapStrings(reflect.ValueOf(v), armour))
}

// decode is json.Unmarshal of what encode wrote.
func decode(b []byte, v any) error {
	if err := json.Unmarshal(b, v); err != nil {
		return err
	}
	var bad error
	exact := mapStrings(reflect.ValueOf(v).Elem(), func(s string) string {
		out, err := disarm(s)
		if err != nil {
			bad = fmt.Errorf("%q: %w", s, err)
		}
		return out
	})
	if exact != nil {
		reflect.ValueOf(v).Elem().Set(reflect.ValueOf(exact))
	}
	return bad
}

// mapStrings is a copy of v with fn of every string in it. What marshals itself is left as it is.
func mapStrings(v reflect.Value, fn func(string) string) any {
	if !v.IsValid() {
		return nil
	}
	out := fresh(v)
	mapIn(out, fn)
	return out.Interface()
}

// fresh is a variable with v's value.
func fresh(v reflect.Value) reflect.Value {
	out := reflect.New(v.Type()).Elem()
	out.Set(v)
	return out
}

var marshalers = []reflect.Type{reflect.TypeFor[json.Marshaler](), reflect.TypeFor[encoding.TextMarshaler]()}

// mapIn changes the strings of a variable. What it points to is copied first.
func mapIn(v reflect.Value, fn func(string) string) {
	for _, m := range marshalers {
		if v.Type().Implements(m) {
			return
		}
	}
	switch v.Kind() { //nolint:exhaustive // the others have no strings in them
	case reflect.String:
		v.SetString(fn(v.String()))
	case reflect.Pointer:
		if !v.IsNil() {
			to := fresh(v.Elem())
			mapIn(to, fn)
			v.Set(to.Addr())
		}
	case reflect.Interface:
		if !v.IsNil() {
			in := fresh(v.Elem())
			mapIn(in, fn)
			v.Set(in)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() || f.Anonymous && f.Type.Kind() == reflect.Struct {
				mapIn(v.Field(i), fn)
			}
		}
	case reflect.Slice, reflect.Array:
		if v.Kind() == reflect.Slice && !v.IsNil() {
			list := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
			reflect.Copy(list, v)
			v.Set(list)
		}
		for i := range v.Len() {
			mapIn(v.Index(i), fn)
		}
	case reflect.Map:
		if v.IsNil() {
			return
		}
		to := reflect.MakeMapWithSize(v.Type(), v.Len())
		for k, e := range v.Seq2() {
			k, e = fresh(k), fresh(e)
			mapIn(k, fn)
			mapIn(e, fn)
			to.SetMapIndex(k, e)
		}
		v.Set(to)
	default: // has no strings in it
	}
}

// publicJSON is v as JSON for others, in one line.
func publicJSON(v any) ([]byte, error) {
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
			raw, err := unescape(text)
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
