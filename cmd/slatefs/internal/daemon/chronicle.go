package daemon

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/control"
)

// chronicle writes down what happens to the pool, in its log of events (chain.EventLog), and shows it. Who notes something never waits,
// for the pool or anything else, and is never told that it did not work: an event is no reason for anything to fail. What cannot be
// written is kept in memory and shown from there, without a number, and stands in the daemon's log.
//
// What is alike and comes soon again is one event with a count: it is written when its time is over, which is longer each time. So a storm
// of a day is some thirty lines, and the log has room for what else happened.
type chronicle struct {
	pool *chain.Pool
	log  *slog.Logger
	now  func() time.Time
	seen uint64              // records of the erase log up to this one are older than this daemon: another may have noted them
	tell func(control.Event) // what is to be seen now, each once; nil: nobody. It is called without a lock

	poke   chan struct{} // capacity 1: something was noted
	told   uint64        // for run: the newest number that tell was given, or that was durable before
	gave   uint64        // for run: the newest number that is given without it, as what the pool does not keep
	unread string        // for run: why what is durable could not be read; empty: it could
	retry  time.Time     // for run: nothing is tried to be written before
	wait   time.Duration // for run: so long after the next failure
	wrote  time.Time     // for run: when the oldest was written that is not durable; zero: all are
	stuck  bool          // for run: the log said that the pool takes none
	looks  []func()      // for run: each looks whether something has happened
	looked time.Time     // for run: when they did

	mu     sync.Mutex
	queue  []chain.Event     // to be written, the oldest first
	held   map[string]*again // what was noted lately, by what is alike
	burst  map[string]*spate // how many of a kind, lately
	unkept []unkept          // what the pool does not keep, the oldest first
	seq    uint64            // of the last of them
	lost   int64             // that are in neither
	news   chan struct{}     // closed when there is something new to be seen
	why    string            // the pool keeps none; empty: it does
}

// again is what was noted a moment ago, and how long more of that is added up.
type again struct {
	until time.Time
	wait  time.Duration
	event *chain.Event // nil: nothing of it came since
}

// spate counts events of a kind.
type spate struct {
	since time.Time
	n     int
}

// unkept is an event that has no number.
type unkept struct {
	seq uint64
	control.Event
}

// Bounds of a chronicle: how long what is alike is added up, at first and at last; how many of a kind are told apart in the first of
// these times; what is remembered; how often it looks, and how long after it has written something that is made durable, if nothing
// else has done it.
const (
	alikeFirst = time.Minute
	alikeLast  = time.Hour
	apartMost  = 16
	heldMost   = 512
	queueMost  = 256
	unkeptMost = 256
	lookEvery  = 2 * time.Second
	flushAfter = 2 * time.Second
	retryLast  = time.Minute

	noteEndTime = 2 * time.Second
)

func newChronicle(pool *chain.Pool, log *slog.Logger, now func() time.Time) *chronicle {
	c := &chronicle{
		pool: pool, log: log, now: now, poke: make(chan struct{}, 1), held: map[string]*again{}, burst: map[string]*spate{},
		news: make(chan struct{}), wait: time.Second,
	}
	c.seen = pool.Log().State().Head.Seq
	st, err := chain.EventsOf(pool).State()
	if c.told = st.Durable; err != nil {
		c.why = err.Error()
	}
	return c
}

// subject is what an event is of. The zero subject is the pool.
type subject struct {
	id   uuid.UUID
	path string
}

// note notes an event. Numbers are never negative, and add up. It may be called on a nil chronicle, by anybody.
func (c *chronicle) note(kind string, of subject, text string, numbers ...chain.EventNumber) {
	c.noteAs(kind, "", of, text, numbers...)
}

// noteAs is note of what is alike only under the same topic.
func (c *chronicle) noteAs(kind, topic string, of subject, text string, numbers ...chain.EventNumber) {
	if c == nil {
		return
	}
	now := c.now()
	e := chain.Event{Time: now, Last: now, Count: 1, Kind: kind, Object: of.id, Path: of.path, Text: text, Numbers: numbers}
	c.mu.Lock()
	defer c.mu.Unlock()
	key := kind + "\x00" + topic + "\x00" + of.path + "\x00" + string(of.id[:])
	if h := c.held[key]; h != nil {
		h.add(e)
		return
	}
	if c.tooMany(kind, now) || len(c.held) >= heldMost {
		key, e.Object, e.Path = kind, uuid.Nil, ""
		if h := c.held[key]; h != nil {
			h.add(e)
			return
		}
	}
	c.held[key] = &again{until: now.Add(alikeFirst), wait: alikeFirst}
	c.enqueue(e)
	select {
	case c.poke <- struct{}{}:
	default:
	}
}

// tooMany counts one more of a kind, and tells whether there were too many to tell them apart. c.mu is held.
func (c *chronicle) tooMany(kind string, now time.Time) bool {
	b := c.burst[kind]
	if b == nil || now.Sub(b.since) >= alikeFirst || now.Before(b.since) {
		b = &spate{since: now}
		c.burst[kind] = b
	}
	b.n++
	return b.n > apartMost
}

// add makes one event of two that are alike.
func (h *again) add(e chain.Event) {
	if h.event == nil {
		h.event = &e
		return
	}
	o := h.event
	o.Last, o.Count, o.Text = e.Last, o.Count+e.Count, e.Text
	o.Numbers = slices.Clone(o.Numbers)
	for _, n := range e.Numbers {
		if i := slices.IndexFunc(o.Numbers, func(m chain.EventNumber) bool { return m.Name == n.Name }); i >= 0 {
			o.Numbers[i].Value += n.Value
		} else {
			o.Numbers = append(o.Numbers, n)
		}
	}
}

// enqueue has an event written. c.mu is held.
func (c *chronicle) enqueue(e chain.Event) {
	if len(c.queue) >= queueMost {
		c.queue = c.queue[1:]
		c.lost++
	}
	c.queue = append(c.queue, e)
}

// release has what was added up written whose time is over, or all of it.
func (c *chronicle) release(all bool) {
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, h := range c.held {
		if !all && now.Before(h.until) && !now.Before(h.until.Add(-h.wait)) {
			continue
		}
		if h.event == nil {
			delete(c.held, key)
			continue
		}
		c.enqueue(*h.event)
		h.event, h.wait = nil, min(2*h.wait, alikeLast)
		h.until = now.Add(h.wait)
	}
	slices.SortStableFunc(c.queue, func(a, b chain.Event) int { return a.Last.Compare(b.Last) })
}

// run writes events until ctx is done.
func (c *chronicle) run(ctx context.Context) error {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		c.turn(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		case <-c.poke:
		}
	}
}

// turn looks whether something has happened, and writes and shows what has.
func (c *chronicle) turn(ctx context.Context) {
	if now := c.now(); now.Sub(c.looked) >= lookEvery || now.Before(c.looked) {
		c.looked = now
		for _, look := range c.looks {
			look()
		}
	}
	c.release(false)
	c.write(ctx)
	c.settle()
	c.show()
}

// end notes the last event, makes all durable and shows it. Nothing is noted afterwards that is written.
func (c *chronicle) end(ctx context.Context, kind, text string) {
	c.note(kind, subject{}, text)
	c.release(true)
	c.retry = time.Time{}
	c.write(ctx)
	c.wrote = time.Unix(1, 0)
	c.settle()
	c.show()
}

// write writes what waits, as far as the pool takes it.
func (c *chronicle) write(ctx context.Context) {
	if why := c.closed(); why != nil {
		c.keepNone(why)
		return
	}
	if c.now().Before(c.retry) && c.retry.Sub(c.now()) <= retryLast {
		return
	}
	for ctx.Err() == nil {
		c.mu.Lock()
		list := slices.Clone(c.queue)
		c.mu.Unlock()
		if len(list) == 0 {
			return
		}
		n, err := chain.EventsOf(c.pool).Add(ctx, list)
		if err != nil {
			c.failed(err)
			return
		}
		c.wait, c.stuck = time.Second, false
		if c.wrote.IsZero() {
			c.wrote = time.Now()
		}
		c.mu.Lock()
		c.drop(list[:n])
		c.mu.Unlock()
	}
}

// drop takes the oldest events out of the queue, as far as they are there still. c.mu is held.
func (c *chronicle) drop(list []chain.Event) {
	for i := range list {
		if len(c.queue) > 0 && c.queue[0].Time.Equal(list[i].Time) && c.queue[0].Kind == list[i].Kind && c.queue[0].Text == list[i].Text {
			c.queue = c.queue[1:]
		}
	}
}

// failed has it tried again later.
func (c *chronicle) failed(err error) {
	if c.retry = c.now().Add(c.wait); !c.stuck && c.pool.Failed() == nil {
		c.stuck = true
		c.log.Warn("events wait: the pool does not take them just now", "pool", c.pool.Name(), "error", err)
	}
	c.wait = min(2*c.wait, retryLast)
}

// closed tells why the pool will not take events any more; nil: it may.
func (c *chronicle) closed() error {
	if c.pool.ReadOnly() {
		return chain.ErrReadOnly
	}
	if err := c.pool.Failed(); err != nil {
		return err
	}
	_, err := chain.EventsOf(c.pool).State()
	return err
}

// keepNone remembers what the pool does not keep: what waits, and what was written and is not known to be durable. Some of that may be
// in the log at the next mount; who is told of events is not told of it again then: what is durable when a pool is opened is old.
func (c *chronicle) keepNone(why error) {
	c.show() // under its number, as long as it can be
	var wrote []chain.Event
	if st, err := chain.EventsOf(c.pool).State(); err == nil && st.Last > max(st.Durable, c.gave) {
		//nolint:errcheck // what cannot be read is not shown, and tried again
		_ = chain.EventsOf(c.pool).Each(max(st.Durable, c.gave)+1, func(es []chain.Event) error {
			for _, e := range es {
				wrote, c.gave = append(wrote, e), e.ID
			}
			return nil
		})
	}
	for _, e := range c.remember(wrote, why) { // c.mu is not held: whoever notes something waits for no log, and for nobody who is told
		c.log.Warn("an event that the pool does not keep", "pool", c.pool.Name(), "kind", e.Kind, "path", e.Path, "count", e.Count,
			"text", e.Text)
		if c.tell != nil {
			c.tell(e)
		}
	}
}

// remember puts what was written in vain, and what waits, to what the pool does not keep.
func (c *chronicle) remember(wrote []chain.Event, why error) (fresh []control.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.why = why.Error()
	for _, e := range append(wrote, c.queue...) {
		e.ID = 0
		if len(c.unkept) >= unkeptMost {
			c.unkept = c.unkept[1:]
			c.lost++
		}
		c.seq++
		seen := control.EventOf(c.pool.Name(), c.pool.UUID(), &e)
		c.unkept = append(c.unkept, unkept{c.seq, seen})
		fresh = append(fresh, seen)
	}
	if c.queue = nil; len(fresh) > 0 {
		c.wakeLocked()
	}
	return fresh
}

// settle makes what was written durable, if nothing else has done it in a while.
func (c *chronicle) settle() {
	if c.wrote.IsZero() {
		return
	}
	st, err := chain.EventsOf(c.pool).State()
	switch {
	case err != nil || st.Durable == st.Last:
		c.wrote = time.Time{}
	case time.Since(c.wrote) >= flushAfter:
		if err := c.pool.Flush(); err != nil {
			c.log.Debug("events are not durable yet", "pool", c.pool.Name(), "error", err)
		}
	}
}

// show gives what is durable by now to who wants to be told, and wakes who follows. What cannot be read now is told later, in its turn;
// what is damaged never.
func (c *chronicle) show() {
	st, err := chain.EventsOf(c.pool).State()
	if err != nil || st.Durable <= c.told {
		return
	}
	if c.tell != nil {
		err = c.kept(c.told+1, func(es []control.Event) error {
			for _, e := range es {
				if e.ID > c.gave {
					c.tell(e)
				}
				c.told = e.ID
			}
			return nil
		})
	}
	why := ""
	if err != nil {
		why = err.Error()
	}
	if why != "" && why != c.unread {
		c.log.Warn("events cannot be read", "pool", c.pool.Name(), "after", c.told, "error", err)
	}
	if c.unread = why; err == nil || errors.Is(err, chain.ErrCorrupt) {
		c.told = max(c.told, st.Durable)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wakeLocked()
}

// wakeLocked wakes who follows. c.mu is held.
func (c *chronicle) wakeLocked() {
	close(c.news)
	c.news = make(chan struct{})
}

// kept gives the durable events from a number on to fn.
func (c *chronicle) kept(from uint64, fn func([]control.Event) error) error {
	return keptEvents(c.pool, from, fn)
}

func keptEvents(p *chain.Pool, from uint64, fn func([]control.Event) error) error {
	st, err := chain.EventsOf(p).State()
	if err != nil {
		return err
	}
	return chain.EventsOf(p).Each(from, func(es []chain.Event) error {
		var out []control.Event
		for i := range es {
			if es[i].ID <= st.Durable {
				out = append(out, control.EventOf(p.Name(), p.UUID(), &es[i]))
			}
		}
		if len(out) == 0 {
			return nil
		}
		return fn(out)
	})
}

// others are the events that the pool does not keep, behind one of them, and what to wait for if more are wanted.
func (c *chronicle) others(seq uint64) (out []control.Event, last uint64, news <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, u := range c.unkept {
		if u.seq > seq {
			out = append(out, u.Event)
		}
	}
	return out, c.seq, c.news
}
