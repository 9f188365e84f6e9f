package main

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/show"
)

// listColumn is a column of list: one of number, text and when is set.
type listColumn struct {
	name, short string
	number      func(r control.Row) *int64
	count       bool // the number is not bytes
	orNone      bool // 0 is printed as none
	text        func(r control.Row) string
	when        func(r control.Row) *time.Time
}

var listColumns = []listColumn{
	{name: "name", text: func(r control.Row) string { return r.Name }},
	{name: "type", text: func(r control.Row) string { return r.Type }},
	{name: "volsize", number: func(r control.Row) *int64 { return r.Size }},
	{name: "used", number: func(r control.Row) *int64 { return r.Used }},
	{name: "available", short: "avail", number: func(r control.Row) *int64 { return r.Avail }},
	{name: "referenced", short: "refer", number: func(r control.Row) *int64 { return r.Refer }},
	{name: "written", number: func(r control.Row) *int64 { return r.Written }},
	{name: "usedbysnapshots", short: "usedsnap", number: func(r control.Row) *int64 { return r.UsedSnap }},
	{name: "usedbydataset", short: "usedds", number: func(r control.Row) *int64 { return r.UsedDS }},
	{name: "usedbyrefreservation", short: "usedrefreserv", number: func(r control.Row) *int64 { return r.UsedRef }},
	{name: "usedbychildren", short: "usedchild", number: func(r control.Row) *int64 { return r.UsedChild }},
	{name: "refreservation", short: "refreserv", number: func(r control.Row) *int64 { return r.Refres }, orNone: true},
	{name: "reservation", short: "reserv", number: func(r control.Row) *int64 { return r.Reserv }, orNone: true},
	{name: "quota", number: func(r control.Row) *int64 { return r.Quota }, orNone: true},
	{name: "refquota", number: func(r control.Row) *int64 { return r.Refquota }, orNone: true},
	{name: "metapromised", number: func(r control.Row) *int64 { return r.MetaProm }},
	{name: "metadata", number: func(r control.Row) *int64 { return r.Metadata }},
	{name: "freeing", number: func(r control.Row) *int64 { return r.Freeing }},
	{name: "erasing", number: func(r control.Row) *int64 { return r.Erasing }},
	{name: "origin", text: func(r control.Row) string { return r.Origin }},
	{name: "clones", text: func(r control.Row) string { return strings.Join(r.Clones, ",") }},
	{name: "userrefs", number: func(r control.Row) *int64 { return r.UserRefs }, count: true},
	{name: "holds", text: func(r control.Row) string { return strings.Join(r.Holds, ",") }},
	{name: "creation", when: func(r control.Row) *time.Time { return r.Created }},
	{name: "id", number: func(r control.Row) *int64 { return r.ID }, count: true},
	{name: "destroyed", when: func(r control.Row) *time.Time { return r.Destroyed }},
	{name: "goes", when: func(r control.Row) *time.Time { return r.Goes }},
	{name: "snapshot_count", number: func(r control.Row) *int64 { return r.Snapshots }, count: true},
}

func allColumns() (names []string) {
	for _, c := range listColumns {
		names = append(names, c.name)
	}
	return names
}

// columnSet is short for several columns: all, and what zfs shows as space.
func columnSet(name string) []string {
	switch name {
	case "all":
		return allColumns()
	case "space":
		return []string{"name", "avail", "used", "usedsnap", "usedds", "usedrefreserv", "usedchild"}
	}
	return []string{name}
}

// columnNamed finds a column by its name or its short one.
func columnNamed(name string) (listColumn, error) {
	i := slices.IndexFunc(listColumns, func(c listColumn) bool { return c.name == name || c.short == name && name != "" })
	if i < 0 {
		return listColumn{}, show.Hinted(show.Usagef("list: column %q is unknown", name), "columns are %s",
			strings.Join(allColumns(), ", "))
	}
	c := listColumns[i]
	c.short = cmp.Or(c.short, c.name)
	return c, nil
}

// cell prints the column of a row; empty: it has none.
func (c listColumn) cell(f *show.Format, r control.Row) string {
	switch {
	case c.text != nil:
		return c.text(r)
	case c.when != nil:
		if t := c.when(r); t != nil {
			return f.Time(*t)
		}
		return ""
	}
	switch n := c.number(r); {
	case n == nil:
		return ""
	case c.orNone && *n == 0:
		return "none"
	case c.count:
		return strconv.FormatInt(*n, 10)
	default:
		return f.Size(*n)
	}
}

// compare orders rows by the column.
func (c listColumn) compare(a, b control.Row) int {
	switch {
	case c.text != nil:
		return strings.Compare(c.text(a), c.text(b))
	case c.when != nil:
		return timeOrZero(c.when(a)).Compare(timeOrZero(c.when(b)))
	}
	return cmp.Compare(numberOrLess(c.number(a)), numberOrLess(c.number(b)))
}

func timeOrZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

// numberOrLess puts rows without a number before those with one.
func numberOrLess(n *int64) int64 {
	if n == nil {
		return -1
	}
	return *n
}
