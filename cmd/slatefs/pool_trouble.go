package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/show"
)

// poolTrouble is something about a pool that needs somebody. Its kind is a word that stays, for programs; the text is for people.
type poolTrouble struct {
	Kind string `json:"kind"`
	Text string `json:"text"`
}

// troubleKinds are the kinds of troubles, the worst first, and how each is seen: the text, or nothing if there is none of it.
// What can only be seen of a pool that answers is in infoTroubles.
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

// infoTroubles are the kinds of troubles of a pool that was looked into.
var infoTroubles = []struct {
	kind string
	of   func(i *control.PoolInfo, u *control.Usage) string
}{
	{"read-only", func(i *control.PoolInfo, _ *control.Usage) string { return i.Failed }},
	{"metadata-damaged", func(_ *control.PoolInfo, u *control.Usage) string {
		return only(len(u.Damages) > 0, "metadata is damaged: "+strings.Join(u.Damages, "; ")+more(u.Damaged-len(u.Damages)))
	}},
	{"promises-short", func(_ *control.PoolInfo, u *control.Usage) string {
		return only(u.Short > 0, "promises short by "+show.FormatSize(u.Short)+"; no new ones are made")
	}},
	{"writers-refused", func(_ *control.PoolInfo, u *control.Usage) string { return refusedText(u.Refused) }},
	{"full", func(_ *control.PoolInfo, u *control.Usage) string {
		return only(u.Total > 0 && u.Avail == 0 && u.Promised == 0, "it is full: nothing is available")
	}},
	{"host-short", func(i *control.PoolInfo, _ *control.Usage) string { return i.HostShort }},
	{"erase-failed", func(_ *control.PoolInfo, u *control.Usage) string {
		return only(u.Failed > 0, show.FormatSize(u.Failed)+" could not be erased and are not used again; tried again by and by")
	}},
	{"log-altered", func(i *control.PoolInfo, _ *control.Usage) string { return i.LogTrouble }},
	{"key-replaced", func(i *control.PoolInfo, _ *control.Usage) string { return i.KeyTrouble }},
	{"deadline-broken", func(i *control.PoolInfo, _ *control.Usage) string {
		return only(i.Late.Broken > 0, lateText(i.Late, i.Asked))
	}},
	{"deadline-at-risk", func(i *control.PoolInfo, _ *control.Usage) string {
		return only(i.Late.Broken == 0, lateText(i.Late, i.Asked))
	}},
	{"log-cut", func(i *control.PoolInfo, _ *control.Usage) string { return i.LogCut }},
	{"pages-held", func(i *control.PoolInfo, _ *control.Usage) string { return pagesText(i.PagesHeld, i.Asked, pagesLate) }},
	{"erase-stuck", func(i *control.PoolInfo, _ *control.Usage) string {
		return only(i.EraseTrouble != "", "erasing does not go on: "+i.EraseTrouble)
	}},
	{"superblock-lost", func(i *control.PoolInfo, _ *control.Usage) string { return strings.Join(i.Lost, "; ") }},
	{"superblock-rewritten", func(i *control.PoolInfo, _ *control.Usage) string {
		return only(len(i.Rewritten) > 0, "what was lost was written anew: "+strings.Join(i.Rewritten, "; "))
	}},
	{"part-failed", func(i *control.PoolInfo, _ *control.Usage) string {
		return only(i.Troubles != "", i.Troubles+"; tried again by and by")
	}},
	{"work-failed", func(_ *control.PoolInfo, u *control.Usage) string {
		if len(u.Troubles) == 0 {
			return ""
		}
		t := u.Troubles[0]
		return fmt.Sprintf("%s failed %d times and is tried again: %s", t.What, t.Tries, t.Error) + more(u.Troubled-1)
	}},
	{"grow-stuck", func(i *control.PoolInfo, _ *control.Usage) string {
		return only(i.Stuck != "", "it wanted to grow: "+i.Stuck)
	}},
	{"pages-repaired", func(_ *control.PoolInfo, u *control.Usage) string {
		return only(u.Repairs > 0, fmt.Sprintf("%d metadata pages were damaged and repaired from their twins since the mount", u.Repairs))
	}},
}

// pagesLate is how long the kernel may take to give up what it has cached before that is a trouble.
const pagesLate = 10 * time.Second

// only is a text if something holds.
func only(holds bool, text string) string {
	if !holds {
		return ""
	}
	return text
}

// troubles lists what is wrong with a pool, the worst first.
func (p *poolState) troubles() []poolTrouble {
	list := []poolTrouble{}
	add := func(kind, text string) {
		if text != "" {
			list = append(list, poolTrouble{kind, text})
		}
	}
	for _, k := range troubleKinds {
		add(k.kind, k.of(p))
	}
	if p.Info == nil {
		return list
	}
	for _, k := range infoTroubles {
		add(k.kind, k.of(p.Info, &p.Info.Usage))
	}
	return list
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

// refusedText is about writers that were told that there is no space.
func refusedText(r control.Refused) string {
	if r.Count == 0 {
		return ""
	}
	times := fmt.Sprintf("%d times", r.Count)
	if r.Count == 1 {
		times = "once"
	}
	return fmt.Sprintf("writers are refused since %s, %s, the last time %s: %s", show.FormatTime(r.Since), times, clockOf(r.Last), r.Error)
}

func clockOf(t time.Time) string { return t.Local().Format("15:04:05") }
