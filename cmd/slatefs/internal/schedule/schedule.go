// Package schedule says when automatic snapshots are due, what they are called, and which of them go. It knows no pool and no
// clock. All times are UTC: there is no hour twice, and none is left out.
//
// What holds: a snapshot is named by when it was due, so one that was missed and is made late has the name that it would have had,
// and nobody makes it twice. Of what goes only snapshots are counted that are there: who made none for a month still has the last
// ones from before. Those of a time that has not come yet (the clock was set back) count for nothing and do not go.
package schedule

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"slatefs/chain/property"
)

// PropAutosnap is the property.
const PropAutosnap = "autosnap"

// none is its value where no snapshot is made.
const none = "none"

// Plan is how many snapshots are kept, of which periods; the shortest first, each once. Empty: none is made.
type Plan []rule

type rule struct {
	unit
	keep int
}

// unit is a period; begin is when the one began that a time is in.
type unit struct {
	name  string
	begin func(t time.Time) time.Time
}

// units are the periods, the shortest first. Each begins when an hour does.
var units = []unit{
	{"hourly", func(t time.Time) time.Time { return t.Truncate(time.Hour) }},
	{"daily", day},
	{"weekly", func(t time.Time) time.Time { return day(t).AddDate(0, 0, -(int(t.Weekday())+6)%7) }}, // on Monday
	{"monthly", func(t time.Time) time.Time { return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC) }},
	{"yearly", func(t time.Time) time.Time { return time.Date(t.Year(), 1, 1, 0, 0, 0, 0, time.UTC) }},
}

func day(t time.Time) time.Time { return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC) }

// mostKept bounds what is kept of one period: a line of history has 4096 layers.
const mostKept = 1000

// Parse reads a plan, as hourly:24,daily:7, in any order, or none. Its errors are property.ErrInvalid.
func Parse(val string) (p Plan, err error) {
	if val == none {
		return nil, nil
	}
	for part := range strings.SplitSeq(val, ",") {
		name, n, ok := strings.Cut(part, ":")
		i := slices.IndexFunc(units, func(u unit) bool { return u.name == name })
		if !ok || i < 0 {
			_, err := property.OneOf(append(patterns(), none)...)(val, 0)
			return nil, err
		}
		keep, err := strconv.ParseUint(n, 10, 16)
		switch {
		case err != nil || keep < 1 || keep > mostKept:
			return nil, fmt.Errorf("%s: want a number from 1 to %d: %w", part, mostKept, property.ErrInvalid)
		case slices.ContainsFunc(p, func(r rule) bool { return r.name == name }):
			return nil, fmt.Errorf("%s is there twice: %w", name, property.ErrInvalid)
		}
		p = append(p, rule{units[i], int(keep)})
	}
	slices.SortFunc(p, func(a, b rule) int { return place(a.unit) - place(b.unit) })
	return p, nil
}

func place(u unit) int { return slices.IndexFunc(units, func(o unit) bool { return o.name == u.name }) }

// patterns are what a plan is made of, for who wrote something else.
func patterns() (list []string) {
	for i, u := range units {
		list = append(list, u.name+":"+[]string{"24", "7", "4", "12", "2"}[i])
	}
	return list
}

// String is what Parse reads.
func (p Plan) String() string {
	if len(p) == 0 {
		return none
	}
	var list []string
	for _, r := range p {
		list = append(list, fmt.Sprintf("%s:%d", r.name, r.keep))
	}
	return strings.Join(list, ",")
}

// Due is when the last snapshot was due that should be there now; the zero time for an empty plan.
func (p Plan) Due(now time.Time) (due time.Time) {
	for _, r := range p {
		if at := r.begin(now.UTC()); at.After(due) {
			due = at
		}
	}
	return due
}

// Names are auto- and when the snapshot was due.
const (
	prefix = "auto-"
	layout = "2006-01-02T1504Z"
)

// Name is the name of the snapshot that was due then.
func Name(due time.Time) string { return prefix + due.UTC().Format(layout) }

// TimeOf is when a snapshot of that name was due; ok: it is such a name.
func TimeOf(name string) (due time.Time, ok bool) {
	text, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return due, false
	}
	due, err := time.Parse(layout, text)
	return due, err == nil && Name(due) == name
}

// Goes are those of some snapshots, by when they were due, that no rule keeps: of the last periods that have any, as many as the rule
// says, it keeps the first one.
func (p Plan) Goes(now time.Time, have []time.Time) (goes []time.Time) {
	if len(p) == 0 {
		return nil
	}
	past := slices.DeleteFunc(slices.Clone(have), func(t time.Time) bool { return t.After(now) })
	slices.SortFunc(past, time.Time.Compare)
	past = slices.CompactFunc(past, time.Time.Equal)
	kept := make([]bool, len(past))
	for _, r := range p {
		left := r.keep
		for i := len(past) - 1; i >= 0 && left > 0; i-- {
			if i == 0 || !r.begin(past[i-1].UTC()).Equal(r.begin(past[i].UTC())) { // the first of its period
				kept[i] = true
				left--
			}
		}
	}
	for i, t := range past {
		if !kept[i] {
			goes = append(goes, t)
		}
	}
	return goes
}

// Properties is the property by which snapshots are made.
var Properties = property.Table{
	{
		Name: PropAutosnap, On: property.OnPool | property.OnDir | property.OnVolume, Inherits: property.OnDir | property.OnVolume, Default: none,
		Parse: func(v string, _ property.Scope) (string, error) {
			p, err := Parse(v)
			return p.String(), err
		},
		Help: `snapshots that are made by themselves, and how many of which are kept: hourly:24,daily:7,weekly:4,
monthly:12,yearly:2, or some of these, or none. Named auto-2026-11-29T1200Z, UTC; all volumes that
inherit it from one directory at one instant. Snapshots taken by hand, and held ones, stay`,
	},
}
