package chain

import (
	"slatefs/chain/meta"
	"slatefs/chain/runs"
)

// Memory. What grows with use is bounded by Options.CacheBytes: pages of maps, lists and the catalog, pages of groups, and
// what is dirty, that is, what changed since the last cut (entries over maps, entries of lists, rows, groups; records that wait) with the
// pages that a checkpoint will make of it, and what the cut of a checkpoint had, until that is written. Clean pages are
// what gives way: their bound is what the others leave (fitCache). So is what there is of layers, which is bounded by nothing.
//
// A checkpoint begins when a quarter is dirty. At half, records that take space wait for it, and at three quarters those that
// free it too, as they wait for room in the journal (rooms.holds). A checkpoint waits for neither.

// What things take, in bytes.
const (
	pageMem  = 2 * meta.PageSize // a page that is made: raw, decoded, and where it stands
	entryMem = 72                // an entry over a map or in a list
	rowMem   = 160               // a row of the catalog, beside its value: an entry, and an edit of a tree
	groupMem = 3 * meta.PageSize // a group that changed: its page, the one of the cut, the one that is written
	layerMem = 768               // a layer, and what it stands in

	// A byte of the records that wait for a commit: in the batch, which grows; in the tail; and once more while the journal
	// writes it. Who flushes makes it none; who never does makes a checkpoint begin.
	pendingMem = 4
)

// leastDirty is what may be dirty before a checkpoint begins, however small the cache.
const leastDirty = 1 << 20

// leastClean is left for clean pages: what a plan reads must still be there when it is made again.
const leastClean = 4 << 20

// memory is what is known of the memory that the next checkpoint frees. The plan lock guards it.
type memory struct {
	*core
	fresh  int64 // mu: bytes, of heads and lists since the cut
	cut    int64 // mu: of the checkpoint that is being built and written
	limit  int64 // mu: a quarter of the cache
	others int64 // mu: that clean pages leave room for
	check  int64 // mu: bytes, that a check beside has: see viewMem

	// What others know: bytes of rows and groups that changed since the cut, and of what is there beside what is dirty.
	counted func() (dirty, beside int64) // mu
	// setCache tells the store what its clean pages may take.
	setCache func(bytes int64) // mu
}

func newMemory(c *core) *memory { return &memory{core: c, limit: max(c.opt.CacheBytes/4, leastDirty)} }

// since is what has become dirty since the last cut, in bytes.
func (m *memory) since() int64 {
	dirty, _ := m.counted()
	return m.fresh + dirty
}

// wants: a checkpoint should begin, for what is in memory.
func (m *memory) wants() bool { return m.since() >= m.limit }

// holds tells whether one more batch of records may be made, for what is in memory.
func (m *memory) holds(c credit) bool {
	n := 2 * m.limit
	if c.frees {
		n = 3 * m.limit
	}
	return c.light || m.since()+m.cut < n
}

// freeze: what is dirty is the cut's now. It returns what heads and lists have of it.
func (m *memory) freeze() (fresh int64) {
	m.mu.assertHeld()
	fresh = m.fresh
	m.cut, m.fresh = m.since(), 0
	return fresh
}

// note brings what something has dirty up to date; was is what it had.
func (m *memory) note(was *int64, is int64) {
	m.fresh += is - *was
	*was = is
}

// evictSteps bounds the pages that are looked at when one is loaded.
const evictSteps = 64

// fit leaves clean pages what others leave of the cache, a quarter at least. It does so in steps of some pages.
func (m *memory) fit() {
	dirty, beside := m.counted()
	others := m.fresh + dirty + m.cut + beside + m.check
	if d := others - m.others; d >= evictSteps*BlockSize || d <= -evictSteps*BlockSize {
		m.others = others
		all := m.opt.CacheBytes
		m.setCache(max(all/4, all-others, min(all, leastClean)))
	}
}

// lend counts what a check beside has, from now on; 0: nothing any more. The plan lock is held.
func (m *memory) lend(bytes int64) {
	m.mu.assertHeld()
	m.check = bytes
	m.fit()
}

// memLayer is what a layer has dirty: pages of its map, entries over it and in its list.
func memLayer(l *layer) int64 {
	n := int64(l.top.Len())
	return pageMem*memPages(n, blocksOf(l.size)) + entryMem*n + memList(&l.lost)
}

// memList is what a list has dirty: entries, and the leaves of the tree that takes them.
func memList(l *runs.List) int64 {
	n := int64(l.Fresh.Len())
	leaves := n/128 + 1
	if len(l.Trees) > 0 {
		leaves += min(n, int64(l.Trees[0].Entries)/128)
	}
	if n == 0 {
		return 0
	}
	return entryMem*n + pageMem*(leaves+leaves/32)
}

// memJob is what a job has dirty.
func memJob(j *job) int64 { return memList(&j.fresh) + memList(&j.ready) + memList(&j.bad) }

// memPages are the pages of a map that changes at so many places, as they lie in memory: twins are one there.
func memPages(places, blocks int64) int64 {
	n := min(places, blocks/128+1)
	for bits := 13; bits <= 37; bits += 6 {
		above := blocks >> bits
		if n += min(places, above+1); above == 0 {
			break
		}
	}
	return n
}
