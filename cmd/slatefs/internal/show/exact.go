package show

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"
)

// JSON has no strings of bytes: encoding/json puts U+FFFD for each byte that is not UTF-8, and the name of another file may
// come out. So every JSON that leaves this program, or that it keeps, goes through here, with all of its strings:
//
//   - among its own processes, and in files that only it reads: Encode and Decode. A string that is not UTF-8 stands in
//     it as NUL and its escaped form, which no name can be, for none has a NUL.
//   - for others (-j, the log's export, the system journal): PublicJSON. A string NAME that is not UTF-8 stands in it
//     escaped, and beside it is NAME_bytes, its base64.

// byteMark begins a string that stands for one that JSON can't have.
const byteMark = "\x00"

func armour(s string) string {
	if utf8.ValidString(s) && !strings.HasPrefix(s, byteMark) {
		return s
	}
	return byteMark + Escape(s)
}

func disarm(s string) (string, error) {
	text, marked := strings.CutPrefix(s, byteMark)
	if !marked {
		return s, nil
	}
	return Unescape(text)
}

// Encode is json.Marshal that keeps every string's bytes; Decode reads it. v is not changed.
func Encode(v any) ([]byte, error) {
	return json.Marshal(mapStrings(reflect.ValueOf(v), armour))
}

// Decode is json.Unmarshal of what Encode wrote. v is a pointer; ErrEscape for a string that Encode does not write.
func Decode(b []byte, v any) error {
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

// Escaped is a copy of v with Escape of every string in it.
func Escaped[T any](v T) T {
	out := reflect.ValueOf(&v).Elem()
	out.Set(reflect.ValueOf(mapStrings(out, Escape)))
	return v
}

// Unescaped is what Escaped was given. A string that Escape does not make stays as it is.
func Unescaped[T any](v T) T {
	out := reflect.ValueOf(&v).Elem()
	out.Set(reflect.ValueOf(mapStrings(out, func(s string) string {
		if raw, err := Unescape(s); err == nil {
			return raw
		}
		return s
	})))
	return v
}

// EachString calls fn for every string in v.
func EachString(v any, fn func(string)) {
	mapStrings(reflect.ValueOf(v), func(s string) string {
		fn(s)
		return s
	})
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
