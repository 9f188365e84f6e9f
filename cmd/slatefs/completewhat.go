package main

import (
	"cmp"
	"path"
	"slices"
	"strconv"
	"strings"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
)

// pools are the names of the pools that are mounted or known, and where a path is typed, the mountpoints.
func pools(c *completion) []offer {
	return append(mounted(c), unmounted(c)...)
}

// mounted are the pools that are, by name and mountpoint.
func mounted(c *completion) (list []offer) {
	if host.IsPath(c.word) {
		return c.mountpoints("")
	}
	for _, l := range c.find.Live {
		list = append(list, offer{l.Name, "on " + l.Dir})
	}
	return list
}

// unmounted are the known pools without a daemon, by name, and devices as the shell knows them.
func unmounted(c *completion) (list []offer) {
	c.shell = 0
	known, _ := c.app.host.Pools() // what can't be read has no name
	for _, k := range known {
		if !slices.ContainsFunc(c.find.Live, func(l host.Live) bool { return l.UUID == k.UUID }) {
			list = append(list, offer{k.Name, k.Device})
		}
	}
	return list
}

// mountpoints are those of the pools that are mounted, with what is to follow.
func (c *completion) mountpoints(then string) (list []offer) {
	for _, l := range c.find.Live {
		if l.Dir != "" {
			list = append(list, offer{l.Dir + then, "pool " + l.Name})
		}
	}
	return list
}

// places are volumes, snapshots or directories in the directory that is typed so far, by the types of rows that list knows.
// Directories are always among them: what is meant may lie below. Off a mount they are mountpoints.
func places(types ...string) completer {
	return func(c *completion) (list []offer) {
		dir := c.word[:strings.LastIndexByte(c.word, '/')+1]
		l, at, err := c.find.Place(cmp.Or(dir, "."))
		if err != nil {
			c.shell = 0 // a path relative to elsewhere is the shell's
			return c.mountpoints("/")
		}
		asked := control.ListArgs{Objects: []control.Object{control.Object(at)}, Types: append([]string{control.TypeDirectory}, types...)}
		rows, err := control.List.Call(c.ctx, l, asked)
		if err != nil {
			return nil
		}
		for _, r := range rows {
			text := dir + path.Base(r.Name)
			switch {
			case r.Type == control.TypePool || r.Name == path.Join(l.Dir, at.Path): // the directory itself
			case r.Type == control.TypeDirectory:
				list = append(list, offer{text + "/", r.Type})
			default:
				list = append(list, offer{text, r.Type})
			}
		}
		return list
	}
}

// What the commands take.
var (
	volumes   = places(control.TypeVolume)
	snapshots = places(control.TypeSnapshot)
	both      = places(control.TypeVolume, control.TypeSnapshot)
	below     = places() // directories, for the new name of a volume
)

// freezable are volumes and mountpoints, to be followed by the name of a snapshot, which is new.
func freezable(c *completion) (list []offer) {
	for _, o := range volumes(c) {
		if o.about == control.TypeVolume {
			o.text += "@"
		}
		list = append(list, o)
	}
	return list
}

// destroyable are volumes and snapshots; of a volume's snapshots there may be several, with commas.
func destroyable(c *completion) []offer {
	comma := strings.LastIndexByte(c.word, ',')
	file, _, ok := control.SplitSnapshot(c.word[:max(0, comma)])
	if !ok {
		return both(c)
	}
	one := *c
	one.word = file + "@"
	have := strings.Split(c.word[len(one.word):comma], ",")
	var list []offer
	for _, o := range snapshots(&one) {
		if name, ok := strings.CutPrefix(o.text, one.word); ok && !slices.Contains(have, name) {
			list = append(list, offer{c.word[:comma+1] + name, o.about})
		}
	}
	return list
}

// anywhere is a PATH: what lies in pools, and the names of those.
var anywhere = either(both, mounted)

// having is what has properties.
var having = either(volumes, mounted)

// columns are those of list, and sets of them.
func columns(c *completion) []offer {
	return words(append(allColumns(), "space", "all")...)(c)
}

// properties are the names of those of a scope, with what is to follow.
func properties(on control.Scope, then string) completer {
	return func(*completion) (list []offer) {
		for _, p := range control.Properties() {
			if p.On&on != 0 {
				list = append(list, offer{p.Name + then, "of " + p.On.String()})
			}
		}
		return list
	}
}

// settings are PROP=VALUE of a scope: the names, then the values that are words.
func settings(on control.Scope) completer {
	return func(c *completion) (list []offer) {
		name, _, ok := strings.Cut(c.word, "=")
		if !ok {
			return properties(on, "=")(c)
		}
		p, err := control.PropertyNamed(name)
		if err != nil {
			return nil
		}
		for _, word := range p.Words(on) {
			list = append(list, offer{text: name + "=" + word})
		}
		return list
	}
}

// settingsThen are settings, at least one, and then what they are of.
func settingsThen(on control.Scope, what completer) completer {
	return func(c *completion) []offer {
		switch {
		case host.IsPath(c.word), len(c.args) > 0 && !strings.Contains(c.args[len(c.args)-1], "="):
			return what(c)
		case len(c.args) == 0:
			return settings(on)(c)
		}
		return append(settings(on)(c), what(c)...)
	}
}

// jobs are the IDs of the erase jobs of all mounted pools.
func jobs(c *completion) (list []offer) {
	for _, l := range c.find.Live {
		is, err := control.Jobs.Call(c.ctx, l, control.None{})
		if err != nil {
			continue
		}
		for _, j := range is.Jobs {
			list = append(list, offer{strconv.FormatUint(j.ID, 10), "pool " + l.Name + ": " + control.Subject(j.Volume, j.Layer) + ", " + j.Reason})
		}
	}
	return list
}

// destroyed are the IDs of what undestroy can bring back, of all mounted pools.
func destroyed(c *completion) (list []offer) {
	for _, l := range c.find.Live {
		rows, err := control.List.Call(c.ctx, l, control.ListArgs{Types: []string{control.TypeDestroyed}})
		if err != nil {
			continue
		}
		for _, r := range rows {
			list = append(list, offer{strconv.FormatInt(*r.ID, 10), "pool " + l.Name + ": " + r.Name})
		}
	}
	return list
}
