package control

import (
	"fmt"
	"strings"
	"time"

	"slatefs/cmd/slatefs/internal/show"
)

// PoolTrouble is something about a pool that needs somebody. Its kind is a word that stays, for programs; the text is for people.
type PoolTrouble struct {
	Kind string `json:"kind"`
	Text string `json:"text"`
}

// infoTroubles are the kinds of troubles of a pool that was looked into, the worst first, and how each is seen: the text, or nothing
// if there is none of it.
var infoTroubles = []struct {
	kind string
	of   func(i *PoolInfo, u *Usage) string
}{
	{"read-only", func(i *PoolInfo, _ *Usage) string { return i.Failed }},
	{"metadata-damaged", func(_ *PoolInfo, u *Usage) string {
		return only(len(u.Damages) > 0, "metadata is damaged: "+strings.Join(u.Damages, "; ")+more(u.Damaged-len(u.Damages)))
	}},
	{"promises-short", func(_ *PoolInfo, u *Usage) string {
		return only(u.Short > 0, "promises short by "+show.FormatSize(u.Short)+"; no new ones are made")
	}},
	{"writers-refused", func(_ *PoolInfo, u *Usage) string { return refusedText(u.Refused) }},
	{"full", func(_ *PoolInfo, u *Usage) string {
		return only(u.Total > 0 && u.Avail == 0 && u.Promised == 0, "it is full: nothing is available")
	}},
	{"host-short", func(i *PoolInfo, _ *Usage) string { return i.HostShort }},
	{"erase-failed", func(_ *PoolInfo, u *Usage) string {
		return only(u.Failed > 0, show.FormatSize(u.Failed)+" could not be erased and are not used again; tried again by and by")
	}},
	{"log-altered", func(i *PoolInfo, _ *Usage) string { return i.LogTrouble }},
	{"key-replaced", func(i *PoolInfo, _ *Usage) string { return i.KeyTrouble }},
	{"deadline-broken", func(i *PoolInfo, _ *Usage) string {
		return only(i.Late.Broken > 0, LateText(i.Late, i.Asked))
	}},
	{"deadline-at-risk", func(i *PoolInfo, _ *Usage) string {
		return only(i.Late.Broken == 0, LateText(i.Late, i.Asked))
	}},
	{"log-cut", func(i *PoolInfo, _ *Usage) string { return i.LogCut }},
	{"pages-held", func(i *PoolInfo, _ *Usage) string { return PagesText(i.PagesHeld, i.Asked, pagesLate) }},
	{"erase-stuck", func(i *PoolInfo, _ *Usage) string {
		return only(i.EraseTrouble != "", "erasing does not go on: "+i.EraseTrouble)
	}},
	{"superblock-lost", func(i *PoolInfo, _ *Usage) string { return strings.Join(i.Lost, "; ") }},
	{"superblock-rewritten", func(i *PoolInfo, _ *Usage) string {
		return only(len(i.Rewritten) > 0, "what was lost was written anew: "+strings.Join(i.Rewritten, "; "))
	}},
	{"part-failed", func(i *PoolInfo, _ *Usage) string {
		return only(i.Troubles != "", i.Troubles+"; tried again by and by")
	}},
	{"work-failed", func(_ *PoolInfo, u *Usage) string {
		if len(u.Troubles) == 0 {
			return ""
		}
		t := u.Troubles[0]
		return fmt.Sprintf("%s failed %d times and is tried again: %s", t.What, t.Tries, t.Error) + more(u.Troubled-1)
	}},
	{"grow-stuck", func(i *PoolInfo, _ *Usage) string {
		return only(i.Stuck != "", "it wanted to grow: "+i.Stuck)
	}},
	{"pages-repaired", func(_ *PoolInfo, u *Usage) string {
		return only(u.Repairs > 0, fmt.Sprintf("%d metadata pages were damaged and repaired from their twins since the mount", u.Repairs))
	}},
}

// pagesLate is how long the kernel may take to give up what it has cached before that is a trouble.
const pagesLate = 10 * time.Second

// TroubleKinds are the words for what PoolTroubles may tell of.
func TroubleKinds() (kinds []string) {
	for _, k := range infoTroubles {
		kinds = append(kinds, k.kind)
	}
	return kinds
}

// PoolTroubles lists what is wrong with a pool that was looked into, the worst first.
func (i *PoolInfo) PoolTroubles() (list []PoolTrouble) {
	for _, k := range infoTroubles {
		if text := k.of(i, &i.Usage); text != "" {
			list = append(list, PoolTrouble{k.kind, text})
		}
	}
	return list
}

// only is a text if something holds.
func only(holds bool, text string) string {
	if !holds {
		return ""
	}
	return text
}

// more says that there are others.
func more(n int) string {
	if n <= 0 {
		return ""
	}
	return fmt.Sprintf("; and %d more", n)
}

// PagesText says which snapshot's pages the kernel has had for so long or more; empty: of none. Names are escaped.
func PagesText(h *HeldInfo, now time.Time, least time.Duration) string {
	if h == nil || h.Error == "" && now.Sub(h.Since) < least {
		return ""
	}
	name := "a destroyed snapshot"
	if h.Snapshot != "" {
		name += ", " + show.Escape(h.Snapshot)
	}
	why := "a read of it does not end"
	if h.Error != "" {
		why = "it cannot be told to give them up: " + show.Escape(h.Error)
	}
	what := "what only that shows is not erased before"
	switch {
	case h.All:
		what = "nothing that was freed since is erased before"
	case h.Kept:
		what = "what only that shows is kept until the pool is mounted anew"
	}
	return fmt.Sprintf("the kernel has pages of %s since %s (%s): %s; %s", name, show.FormatTime(h.Since),
		show.FormatDuration(now.Sub(h.Since)), why, what) + more(h.More)
}

// LateText says what of erase_deadline is broken, or will be; empty: all is in time.
func LateText(l Late, now time.Time) string {
	due, err := time.Parse(time.RFC3339, l.Due)
	if l.Jobs == 0 || err != nil {
		return ""
	}
	words := LateWords(due, time.Duration(l.By*float64(time.Second)), l.Never, now)
	s := fmt.Sprintf("erase_deadline of job %d ", l.Job) + words + ": " + l.Why
	return s + more(l.Jobs-1)
}

// LateWords says of a deadline that it is broken, or will be: by how much, or for how long nobody knows.
func LateWords(due time.Time, by time.Duration, never bool, now time.Time) string {
	at := show.FormatTime(due)
	switch {
	case now.After(due) && never:
		return fmt.Sprintf("is broken: it was due %s, and is %s late", at, show.FormatDuration(by))
	case now.After(due):
		return fmt.Sprintf("is broken: it was due %s, and will be %s late", at, show.FormatDuration(by))
	case never:
		return fmt.Sprintf("will be broken: it is due %s", at)
	}
	return fmt.Sprintf("will be broken: it is due %s, and will be %s late", at, show.FormatDuration(by))
}

// refusedText is about writers that were told that there is no space.
func refusedText(r Refused) string {
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
