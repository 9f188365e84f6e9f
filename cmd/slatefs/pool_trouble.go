package main

import (
	"cmp"
	"fmt"
	"strings"

	"slatefs/cmd/slatefs/internal/control"
)

// troubleKinds are the kinds of troubles, the worst first, and how each is seen: the text, or nothing if there is none of it.
// What can only be seen of a pool that answers is what control.PoolInfo says of it.
var troubleKinds = []struct {
	kind string
	of   func(p *poolState) string
}{
	{"device-missing", func(p *poolState) string { return only(p.State == stateMissing, "its device is missing") }},
	{"daemon-dead", (*poolState).deadText},
	{"daemon-no-answer", func(p *poolState) string { return p.Silent }},
	{"device-no-answer", func(p *poolState) string {
		return only(p.State == stateSilent && p.Silent == "", "its device does not answer")
	}},
	{"replaced", func(p *poolState) string {
		return only(p.State == stateReplaced, cmp.Or(p.Unread, "another pool lies on its device, or none"))
	}},
	{"unreadable", func(p *poolState) string { return only(p.State != stateReplaced, p.Unread) }},
	{"superblock-lost", func(p *poolState) string { return strings.Join(p.Lost, "; ") }},
}

// only is a text if something holds.
func only(holds bool, text string) string {
	if !holds {
		return ""
	}
	return text
}

// troubles lists what is wrong with a pool, the worst first.
func (p *poolState) troubles() []control.PoolTrouble {
	list := []control.PoolTrouble{}
	add := func(kind, text string) {
		if text != "" {
			list = append(list, control.PoolTrouble{Kind: kind, Text: text})
		}
	}
	for _, k := range troubleKinds {
		add(k.kind, k.of(p))
	}
	if p.Info == nil {
		return list
	}
	return append(list, p.Info.PoolTroubles()...)
}

// health is what pool list shows of troubles: ok, or the kind of the worst, and how many there are besides. Into a pool that is
// not mounted it does not look: what can be seen without that is shown, or nothing.
func (p *poolState) health() string {
	switch list := p.troubles(); {
	case len(list) > 1:
		return fmt.Sprintf("%s+%d", list[0].Kind, len(list)-1)
	case len(list) == 1:
		return list[0].Kind
	case p.Info == nil:
		return ""
	}
	return "ok"
}

// deadText is about a daemon that ended, by a signal or a fault of its own, and left its mount, which answers nothing.
func (p *poolState) deadText() string {
	if p.Dead == nil {
		return ""
	}
	text := fmt.Sprintf("its daemon, process %d, has died, and %s answers nothing until it is mounted again", p.Dead.PID, p.Dead.Dir)
	if p.Dead.Log != "" {
		text += "; its log is " + p.Dead.Log
	}
	return text
}
