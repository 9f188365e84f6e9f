package certificate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"
)

// Fields are what only people know: from options, or a template. What is empty is a line to write on.
type Fields struct {
	Organization string `json:"organization,omitempty"`

	Name               string `json:"name,omitempty"`
	Title              string `json:"title,omitempty"`
	PersonOrganization string `json:"person_organization,omitempty"`
	Location           string `json:"location,omitempty"`
	Phone              string `json:"phone,omitempty"`

	PropertyNumber string `json:"property_number,omitempty"`
	Source         string `json:"source,omitempty"` // whose it was
	Classification string `json:"classification,omitempty"`
	BackedUp       string `json:"data_backed_up,omitempty"`
	BackupLocation string `json:"backup_location,omitempty"`

	PostClassification string `json:"post_classification,omitempty"`
	Notes              string `json:"notes,omitempty"`
	Destination        string `json:"destination,omitempty"`
	DestinationDetails string `json:"destination_details,omitempty"`

	ValidatorName         string `json:"validator_name,omitempty"`
	ValidatorTitle        string `json:"validator_title,omitempty"`
	ValidatorOrganization string `json:"validator_organization,omitempty"`
	ValidatorLocation     string `json:"validator_location,omitempty"`
	ValidatorPhone        string `json:"validator_phone,omitempty"`
}

// maxField bounds a field, and maxTemplate a template, in bytes.
const (
	maxField    = 400
	maxTemplate = 64 << 10
)

// ErrField is for a field that there is not, or what it cannot be.
var ErrField = errors.New("no field of a certificate")

// FieldNames lists what can be set.
func FieldNames() (names []string) {
	for f := range reflect.TypeFor[Fields]().Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

// Set sets a field by its name, as KEY=VALUE.
func (f *Fields) Set(setting string) error {
	key, val, ok := strings.Cut(setting, "=")
	if !ok {
		return fmt.Errorf("%q: want KEY=VALUE: %w", setting, ErrField)
	}
	return f.set(strings.TrimSpace(key), strings.TrimSpace(val))
}

func (f *Fields) set(key, val string) error {
	at := slices.Index(FieldNames(), key)
	switch {
	case at < 0:
		return fmt.Errorf("%q: there are %s: %w", key, strings.Join(FieldNames(), ", "), ErrField)
	case len(val) > maxField:
		return fmt.Errorf("%s: has %d bytes, at most %d: %w", key, len(val), maxField, ErrField)
	case !utf8.ValidString(val):
		return fmt.Errorf("%s: is not UTF-8: %w", key, ErrField)
	}
	reflect.ValueOf(f).Elem().Field(at).SetString(val)
	return nil
}

// Settings are the fields that are set, each as Set takes it.
func (f *Fields) Settings() (list []string) {
	for i, name := range FieldNames() {
		if val := reflect.ValueOf(f).Elem().Field(i).String(); val != "" {
			list = append(list, name+"="+val)
		}
	}
	return list
}

// Template sets fields as a file says: an object of JSON, or lines of KEY=VALUE, with # before what is none.
func (f *Fields) Template(r io.Reader) error {
	b, err := io.ReadAll(io.LimitReader(r, maxTemplate+1))
	if err != nil {
		return err
	}
	if len(b) > maxTemplate {
		return fmt.Errorf("has more than %d bytes: %w", maxTemplate, ErrField)
	}
	if bytes.HasPrefix(bytes.TrimSpace(b), []byte("{")) {
		var m map[string]string
		if err := json.Unmarshal(b, &m); err != nil {
			return fmt.Errorf("%w: %w", ErrField, err)
		}
		for _, key := range slices.Sorted(maps.Keys(m)) {
			if err := f.set(key, m[key]); err != nil {
				return err
			}
		}
		return nil
	}
	for n, line := range strings.Split(string(b), "\n") {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		if err := f.Set(line); err != nil {
			return fmt.Errorf("line %d: %w", n+1, err)
		}
	}
	return nil
}
