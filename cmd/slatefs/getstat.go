package main

import (
	"slices"
	"strconv"
	"strings"
	"sync"

	"slatefs/cmd/slatefs/internal/control"
)

// Numbers that get shows beside properties: the columns of list that are no property, and not of what was destroyed.

// noSource is the source of what nobody sets.
const noSource = "-"

// everyType are the types that have numbers.
var everyType = []string{control.TypePool, control.TypeDirectory, control.TypeVolume, control.TypeSnapshot}

// statNames are their names, in zfs's order: what it is, then how much.
var statNames = sync.OnceValue(func() []string {
	names := []string{"type", "creation"}
	for _, c := range listColumns {
		_, err := control.PropertyNamed(c.name)
		if err != nil && !slices.Contains([]string{"name", "type", "creation", "id", "destroyed", "goes"}, c.name) {
			names = append(names, c.name)
		}
	}
	return names
})

// longName is the name of a column by its short one.
func longName(name string) string {
	if i := slices.IndexFunc(listColumns, func(c listColumn) bool { return c.short == name }); i >= 0 && name != "" {
		return listColumns[i].name
	}
	return name
}

// divide tells numbers and properties apart that were asked for; none: all of both.
func divide(names []string) (stats, settable []string) {
	if len(names) == 0 {
		return statNames(), nil
	}
	for _, name := range names {
		if long := longName(name); slices.Contains(statNames(), long) {
			stats = append(stats, long)
		} else {
			settable = append(settable, name)
		}
	}
	return stats, settable
}

// statOf is a number of a row. has: it has that; else its value is "-".
func statOf(r control.Row, name string) (p propRow, has bool) {
	p = propRow{Name: r.Name, Property: name, Value: "-", Source: noSource}
	c := listColumns[slices.IndexFunc(listColumns, func(c listColumn) bool { return c.name == name })]
	switch {
	case c.text != nil:
		if text := c.text(r); text != "" {
			p.Value, has = text, true
		}
	case c.when != nil:
		if p.when = c.when(r); p.when != nil {
			p.Value, has = strconv.FormatInt(p.when.Unix(), 10), true
		}
	default:
		if n := c.number(r); n != nil {
			p.Value, p.bytes, has = strconv.FormatInt(*n, 10), !c.count, true
		}
	}
	return p, has
}

// wrapped is names in lines of a help text.
func wrapped(names []string) string {
	var b strings.Builder
	n := 5 // of the line that they begin in
	for i, name := range names {
		if i > 0 {
			b.WriteString(",")
			n++
		}
		if n+len(name) > 100 {
			b.WriteString("\n")
			n = 0
		} else if i > 0 {
			b.WriteString(" ")
			n++
		}
		b.WriteString(name)
		n += len(name)
	}
	return b.String()
}
