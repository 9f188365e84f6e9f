package meta

import (
	"sync"

	"slatefs/alloc"
)

// cacheShards is a power of two: pages are spread over so many locks.
const (
	cacheShards    = 16
	cacheShardBits = 4
)

// Sized is implemented by decoded pages that know what memory they take.
// Anything else is counted as PageSize.
type Sized interface {
	// Size is the memory held, in bytes; it does not change.
	Size() int
}

// cacheKey names content, not only a place: what was reused is another key.
type cacheKey struct {
	addr alloc.BlockID
	sum  uint64
}

// cacheEntry is a decoded page. While raw is not nil the page is dirty: the
// entry is pinned, outside the ring and the byte bound.
type cacheEntry struct {
	key  cacheKey
	val  any
	raw  []byte
	size int64
	slot int // index in ring; -1 while pinned
	ref  bool
}

// cache is bounded in bytes; what was not used for a lap of the clock leaves
// first. It is safe for concurrent use; its locks are leaves.
type cache struct {
	shards [cacheShards]cacheShard
}

type cacheShard struct {
	mu    sync.Mutex
	m     map[cacheKey]*cacheEntry
	ring  []*cacheEntry
	hand  int
	bytes int64
	limit int64
	hits  int64
}

func newCache(limit int64) *cache {
	c := &cache{}
	for i := range c.shards {
		c.shards[i].m = make(map[cacheKey]*cacheEntry)
	}
	c.setLimit(limit)
	return c
}

func (c *cache) shard(k cacheKey) *cacheShard {
	return &c.shards[uint64(k.addr)*0x9E3779B97F4A7C15>>(64-cacheShardBits)]
}

func (c *cache) setLimit(limit int64) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.limit = limit / cacheShards
		s.evictLocked()
		s.mu.Unlock()
	}
}

// get returns the decoded value, or for a dirty page without one its bytes.
func (c *cache) get(k cacheKey) (val any, raw []byte) {
	s := c.shard(k)
	s.mu.Lock()
	if e := s.m[k]; e != nil {
		e.ref = true
		s.hits++
		val, raw = e.val, e.raw
	}
	s.mu.Unlock()
	return val, raw
}

// add keeps val, unless the key is there already: then a pinned entry without a
// value takes it.
func (c *cache) add(k cacheKey, val any) {
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.m[k]; e != nil {
		if e.val == nil {
			e.val, e.size = val, sizeOf(val)
		}
		return
	}
	e := &cacheEntry{key: k, val: val, size: sizeOf(val)}
	s.m[k] = e
	s.enterLocked(e)
}

// pin adds a dirty page.
func (c *cache) pin(k cacheKey, raw []byte, val any) {
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropLocked(k)
	s.m[k] = &cacheEntry{key: k, val: val, raw: raw, size: sizeOf(val), slot: -1}
}

// unpin makes a dirty page a clean one, which may be evicted.
func (c *cache) unpin(k cacheKey) {
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.m[k]
	if e == nil || e.raw == nil {
		return
	}
	e.raw = nil
	if e.val == nil {
		delete(s.m, k)
		return
	}
	s.enterLocked(e)
}

// drop forgets a page, pinned or not.
func (c *cache) drop(k cacheKey) {
	s := c.shard(k)
	s.mu.Lock()
	s.dropLocked(k)
	s.mu.Unlock()
}

// stats is what the evictable entries take and may take, in bytes, and how often an entry was found.
func (c *cache) stats() (bytes, limit, hits int64) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		bytes, limit, hits = bytes+s.bytes, limit+s.limit, hits+s.hits
		s.mu.Unlock()
	}
	return bytes, limit, hits
}

func (s *cacheShard) enterLocked(e *cacheEntry) {
	e.slot = len(s.ring)
	s.ring = append(s.ring, e)
	s.bytes += e.size
	s.evictLocked()
}

func (s *cacheShard) dropLocked(k cacheKey) {
	e := s.m[k]
	if e == nil {
		return
	}
	delete(s.m, k)
	if e.raw == nil {
		s.leaveLocked(e)
	}
}

func (s *cacheShard) leaveLocked(e *cacheEntry) {
	last := len(s.ring) - 1
	s.ring[e.slot] = s.ring[last]
	s.ring[e.slot].slot = e.slot
	s.ring[last] = nil
	s.ring = s.ring[:last]
	s.bytes -= e.size
}

// evictLocked turns the clock until the bound holds. The hand steps over the
// place it emptied, because the newest entry was moved there.
func (s *cacheShard) evictLocked() {
	for s.bytes > s.limit && len(s.ring) > 0 {
		if s.hand >= len(s.ring) {
			s.hand = 0
		}
		e := s.ring[s.hand]
		s.hand++
		if e.ref {
			e.ref = false
			continue
		}
		delete(s.m, e.key)
		s.leaveLocked(e)
	}
}

func sizeOf(val any) int64 {
	const overhead = 128 // the entry, its map slot and its ring slot
	if z, ok := val.(Sized); ok {
		return int64(z.Size()) + overhead
	}
	return PageSize + overhead
}
