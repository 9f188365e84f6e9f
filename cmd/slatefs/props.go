package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/show"
)

// propHelp describes the properties of some scopes for help texts.
func propHelp(on control.Scope) string {
	var b strings.Builder
	for _, p := range control.Properties() {
		if p.On&on == 0 {
			continue
		}
		for i, line := range strings.Split(p.Help, "\n") {
			name := p.Name
			if i > 0 {
				name = ""
			}
			fmt.Fprintf(&b, "\n  %-21s %s", name, line)
		}
	}
	return b.String()
}

// parseSettings reads PROP=VALUE arguments of things of some scopes. What surely is wrong is a usage error here; the
// rest the daemon finds out.
func parseSettings(args []string, on control.Scope) (out []control.Setting, err error) {
	for _, arg := range args {
		name, val, ok := strings.Cut(arg, "=")
		if !ok {
			return nil, show.Usagef("%s: want PROP=VALUE", arg)
		}
		p, err := propNamed(name)
		if err != nil {
			return nil, err
		}
		if p.On&on == 0 {
			return nil, show.Usagef("%s is a property of %v", name, p.On)
		}
		var errs []error
		for s := control.OnPool; s <= control.OnVolume; s <<= 1 {
			if p.On&on&s != 0 {
				_, err := p.Parse(val, s)
				errs = append(errs, err)
			}
		}
		if !slices.Contains(errs, nil) {
			// That of a volume, the last one, may be the most: a size where others have a word only.
			return nil, show.Usagef("%s=%s: %s", name, val, strings.TrimSuffix(errs[len(errs)-1].Error(), ": "+control.ErrInvalid.Error()))
		}
		out = append(out, control.Setting{Name: name, Value: val})
	}
	return out, nil
}

// propNamed finds a property; an unknown one is a usage error.
func propNamed(name string) (control.Property, error) {
	p, err := control.PropertyNamed(name)
	if errors.Is(err, control.ErrInvalid) {
		var names []string
		for _, p := range control.Properties() {
			names = append(names, p.Name)
		}
		return p, show.Hinted(show.Usagef("property %q is unknown", name), "properties are %s", strings.Join(names, ", "))
	}
	return p, err
}
