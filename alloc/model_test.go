package alloc

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
)

// The reference model: what each block of a tiny pool is, what is durable, and what the
// device holds. Block states: c clean, w claimed and waiting, r ready, n named, u in use.
type world struct {
	p       *Pool
	st      []byte
	zero    []bool // the block is zero on the device: never named since its last erase
	images  map[int]Image
	window  []Run // with the images
	durable []record
	pending []record
}

type record struct {
	op byte // c claim, k unclaim, u use, e erase
	b  BlockID
}

const (
	modelGroup = 16
	modelTotal = 24 // the second group is partial
)

func newWorld(t testing.TB, clean ...BlockID) *world {
	w := &world{p: New(modelGroup, modelTotal), images: map[int]Image{}}
	w.st, w.zero = slices.Repeat([]byte{'u'}, modelTotal), make([]bool, modelTotal)
	for _, b := range clean {
		must(t, w.p.Set(Run{b, 1}, InUse, Clean))
		w.st[b], w.zero[b] = 'c', true
	}
	w.checkpoint()
	return w
}

func (w *world) clone() *world {
	q := *w.p
	q.groups, q.touched = slices.Clone(q.groups), slices.Clone(q.touched)
	q.pages, q.cut = slices.Clone(q.pages), slices.Clone(q.cut)
	for g := range q.groups {
		if b := q.groups[g].body; b != nil {
			q.groups[g].body = &body{page: slices.Clone(b.page), shared: b.shared, deltas: slices.Clone(b.deltas)}
		}
	}
	q.win.slots, q.win.open = slices.Clone(q.win.slots), maps.Clone(q.win.open)
	return &world{
		p: &q, st: slices.Clone(w.st), zero: slices.Clone(w.zero), images: maps.Clone(w.images),
		window: w.window, durable: slices.Clone(w.durable), pending: slices.Clone(w.pending),
	}
}

// key names the world up to what no later step can tell: of the records of a block, only
// the last durable and the last pending one decide what recovery makes of it.
func (w *world) key() string {
	last := func(records []record) string {
		ops := slices.Repeat([]byte{'.'}, modelTotal)
		for _, r := range records {
			ops[r.b] = r.op
		}
		return string(ops)
	}
	return fmt.Sprint(string(w.st), w.zero, w.images, w.window, last(w.durable), last(w.pending), w.p.win)
}

// commit makes the pending records durable.
func (w *world) commit(t testing.TB) {
	for _, r := range w.pending {
		if r.op == 'c' && w.st[r.b] == 'w' {
			must(t, w.p.Ready(Run{r.b, 1}))
			w.st[r.b] = 'r'
		}
	}
	w.durable = append(w.durable, w.pending...)
	w.pending = nil
}

func (w *world) checkpoint() {
	for _, img := range w.p.Cut() {
		w.images[img.Group] = img
	}
	w.p.Durable()
	w.window, w.durable = w.p.Unnamed(), nil
}

// recover is what a mount does after a crash; it ends with a checkpoint.
func (w *world) recover(t testing.TB) {
	p, load := remount(t, modelGroup, modelTotal, w.images)
	for _, r := range w.window {
		must(t, p.Restore(r))
	}
	for _, r := range w.durable {
		run := Run{r.b, 1}
		switch r.op {
		case 'c':
			must(t, p.Claim(run))
		case 'k':
			must(t, p.Unclaim(run))
		case 'u':
			must(t, p.Use(run))
		case 'e':
			must(t, p.Set(run, InUse, Clean))
		}
	}
	if n := p.WindowReady(); n != 0 {
		t.Fatalf("%d blocks ready in recovery", n)
	}
	for g := range p.Groups() {
		if !p.Loaded(g) {
			load(g)
		}
	}
	_, err := p.Abandon()
	must(t, err)
	w.st, w.p, w.pending = w.afterCrash(), p, nil
	w.checkpoint()
}

// afterCrash is the model of recovery: the durable image, the durable records, and what
// is claimed then is dirty.
func (w *world) afterCrash() []byte {
	st := slices.Repeat([]byte{'u'}, modelTotal)
	for g, img := range w.images {
		for i := range img.Counts.Total() {
			s := img.State
			if !img.Uniform {
				s = page(img.Page).state(int(i))
			}
			if s == Clean {
				st[int64(g)*modelGroup+i] = 'c'
			}
		}
	}
	for _, r := range w.durable {
		st[r.b] = map[byte]byte{'c': 'u', 'k': 'c', 'u': 'u', 'e': 'c'}[r.op]
	}
	return st
}

// verify compares the pool with the model.
func (w *world) verify(t testing.TB) {
	t.Helper()
	checkCounts(t, w.p)
	var ready int64
	for i, s := range w.st {
		have, err := w.p.State(BlockID(i))
		var u *UnloadedError
		if errors.As(err, &u) {
			must(t, w.p.Load(u.Group, w.images[u.Group].Page))
			have, err = w.p.State(BlockID(i))
		}
		want := map[byte]State{'c': Clean, 'w': Claimed, 'r': Claimed, 'n': Claimed, 'u': InUse}[s]
		_, in := w.p.win.has(Run{BlockID(i), 1})
		if err != nil || have != want || in != (s == 'w' || s == 'r') {
			t.Fatalf("block %d: %v %v, in window %t; model %c", i, have, err, in, s)
		}
		if s == 'r' {
			ready++
		}
		if s == 'c' && !w.zero[i] {
			t.Fatalf("block %d is clean and holds data", i)
		}
	}
	if w.p.WindowReady() != ready {
		t.Fatalf("%d ready, model %d", w.p.WindowReady(), ready)
	}
}

// step is one operation; it reports whether it changed anything.
type step struct {
	name string
	do   func(t testing.TB, w *world) bool
}

func take(n int64, near BlockID, stream uint64) step {
	return step{fmt.Sprintf("take %d near %d for %d", n, near, stream), func(t testing.TB, w *world) bool {
		var got int64
		ready := w.p.WindowReady()
		for _, r := range w.p.Take(n, near, stream) {
			for b := r.Start; b < r.End(); b++ {
				if w.st[b] != 'r' || !w.zero[b] {
					t.Fatalf("block %d handed out: model %c, zero %t", b, w.st[b], w.zero[b])
				}
				w.st[b], w.zero[b] = 'n', false
				got++
			}
		}
		if got != min(n, ready) {
			t.Fatalf("%d named of %d ready", got, ready)
		}
		return got > 0
	}}
}

func claim(n, least int64, near BlockID) step {
	return step{fmt.Sprintf("claim %d near %d", n, near), func(t testing.TB, w *world) bool {
		runs, err := w.p.FindClean(n, least, near)
		must(t, err)
		for _, r := range runs {
			must(t, w.p.Claim(r))
			for b := r.Start; b < r.End(); b++ {
				w.st[b] = 'w'
				w.pending = append(w.pending, record{'c', b})
			}
		}
		if len(runs) == 0 && w.p.Counts().Clean > 0 {
			t.Fatal("clean blocks not found")
		}
		return len(runs) > 0
	}}
}

// onBlock makes the step that moves block b from one model state to another.
func onBlock(op byte, b BlockID, from, to byte, change func(t testing.TB, w *world) error) step {
	return step{fmt.Sprintf("%c %d", op, b), func(t testing.TB, w *world) bool {
		if w.st[b] != from {
			return false
		}
		w.pending = append(w.pending, record{op, b})
		must(t, change(t, w))
		w.st[b] = to
		return true
	}}
}

func steps(blocks []BlockID) []step {
	out := []step{
		claim(1, 1, 15), claim(3, 2, modelTotal), take(1, 0, 1), take(2, 14, 2),
		{"commit", func(t testing.TB, w *world) bool {
			defer w.commit(t)
			return len(w.pending) > 0
		}},
		{"checkpoint", func(t testing.TB, w *world) bool {
			w.commit(t)
			w.checkpoint()
			unloadAll(w.p)
			return true
		}},
		{"crash", func(t testing.TB, w *world) bool {
			w.recover(t)
			return true
		}},
	}
	for _, b := range blocks {
		r := Run{b, 1}
		out = append(out,
			onBlock('u', b, 'n', 'u', func(_ testing.TB, w *world) error { return w.p.Use(r) }),
			onBlock('k', b, 'r', 'c', func(_ testing.TB, w *world) error { return w.p.Unclaim(r) }),
			onBlock('e', b, 'u', 'c', func(t testing.TB, w *world) error {
				w.zero[b] = true
				w.commit(t)
				return w.p.Set(r, InUse, Clean)
			}))
	}
	return out
}

// TestAllOrders runs every order of operations on a tiny pool, breadth first: all distinct
// worlds of one and two blocks, as many as the limit allows of more.
func TestAllOrders(t *testing.T) {
	for _, blocks := range [][]BlockID{{15}, {15, 16}, {3, 4, 5}, {13, 14, 15, 16, 17}} {
		t.Run(fmt.Sprint(blocks), func(t *testing.T) { allOrders(t, blocks, 12000) })
	}
}

func allOrders(t *testing.T, blocks []BlockID, limit int) {
	all := steps(blocks)
	start := newWorld(t, blocks...)
	seen := map[string]bool{start.key(): true}
	level, depth := []*world{start}, 0
	for ; len(level) > 0 && len(seen) < limit; depth++ {
		var next []*world
		for _, w := range level {
			for _, s := range all {
				v := w.clone()
				if !s.do(t, v) {
					continue
				}
				v.verify(t)
				if k := v.key(); !seen[k] && len(seen) < limit {
					seen[k] = true
					next = append(next, v)
				}
			}
		}
		level = next
	}
	t.Logf("%d worlds, depth %d, all: %t", len(seen), depth, len(level) == 0)
	if len(blocks) < 3 && len(level) > 0 {
		t.Fatal("not all worlds were reached")
	}
}
