package alloc

import (
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

// cleanPool returns a pool of which only the given runs are clean.
func cleanPool(t testing.TB, groupBlocks int, total int64, clean ...Run) *Pool {
	t.Helper()
	p := New(groupBlocks, total)
	for _, r := range clean {
		must(t, p.Set(r, InUse, Clean))
	}
	return p
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
}

func wantRuns(t *testing.T, have []Run, want ...Run) {
	t.Helper()
	if !slices.Equal(have, want) {
		t.Fatalf("runs %v, want %v", have, want)
	}
}

// checkCounts compares all counts with the blocks of the loaded groups, and the window
// with its sums.
func checkCounts(t testing.TB, p *Pool) {
	t.Helper()
	var sum Counts
	for g := range p.Groups() {
		c := p.GroupCounts(g)
		sum = Counts{sum.InUse + c.InUse, sum.Claimed + c.Claimed, sum.Meta + c.Meta, sum.Clean + c.Clean}
		if c.Total() != int64(p.size(g)) {
			t.Fatalf("group %d: counts %+v of %d blocks", g, c, p.size(g))
		}
		if p.groups[g].loaded() && p.groups[g].body.page.count(p.size(g)).counts() != c {
			t.Fatalf("group %d: counts %+v, page has others", g, c)
		}
	}
	if sum != p.Counts() || sum.Total() != p.Total() {
		t.Fatalf("counts %+v, sum of groups %+v, total %d", p.Counts(), sum, p.Total())
	}
	var all, full int64
	for i, s := range p.win.slots {
		if s.ready|s.waiting == 0 || s.ready&s.waiting != 0 || i > 0 && p.win.slots[i-1].index >= s.index {
			t.Fatalf("window slot %d: %+v", i, s)
		}
		if s.ready == allBlocks {
			full++
		}
	}
	for _, r := range p.Unnamed() {
		all += r.Len
	}
	if all != p.win.ready+p.win.waiting || full != int64(p.win.full) || all > sum.Claimed {
		t.Fatalf("window of %d blocks, %d full slots; has %+v; counts %+v", all, full, p.win, sum)
	}
	for stream, index := range p.win.open {
		if i := p.win.at(index); i < 0 || !p.win.slots[i].owned || p.win.slots[i].stream != stream {
			t.Fatalf("stream %d fills slot %d, which says otherwise", stream, index)
		}
	}
}

// remount returns the pool that the durable images give, all pages not loaded, and a
// function that loads one.
func remount(t testing.TB, groupBlocks int, total int64, images map[int]Image) (*Pool, func(g int)) {
	t.Helper()
	p := New(groupBlocks, total)
	for g, img := range images {
		must(t, p.SetGroup(g, img.Counts, img.Uniform, img.State))
	}
	return p, func(g int) { must(t, p.Load(g, images[g].Page)) }
}

func TestSet(t *testing.T) {
	p := New(16, 40)
	must(t, p.Set(Run{4, 30}, InUse, Clean)) // spans three groups, the last one partial
	checkCounts(t, p)
	if p.Counts() != (Counts{InUse: 10, Clean: 30}) {
		t.Fatalf("%+v", p.Counts())
	}
	err := p.Set(Run{10, 28}, Clean, Meta)
	wantErr(t, err, ErrState)
	if want := "alloc: set: clean to metadata: block 34: want clean, have in use: block in another state"; err.Error() != want {
		t.Fatalf("error %q", err)
	}
	if p.Counts().Meta != 0 {
		t.Fatal("a refused change changed something")
	}
	must(t, p.Set(Run{16, 16}, Clean, Meta))
	if st, err := p.State(20); st != Meta || err != nil || !p.groups[1].uniform {
		t.Fatal(st, err)
	}
	must(t, p.Set(Run{17, 1}, Meta, InUse))
	checkCounts(t, p)
	for _, r := range []Run{{0, 0}, {0, -1}, {40, 1}, {39, 2}, {1 << 63, 1}, {8, 1 << 62}} {
		wantErr(t, p.Set(r, InUse, Clean), ErrRange)
	}
	_, err = p.State(40)
	wantErr(t, err, ErrRange)
}

func TestSetRefusesOtherMoves(t *testing.T) {
	legal := map[[2]State]bool{
		{InUse, Clean}: true, {InUse, Meta}: true, {Clean, InUse}: true, {Clean, Meta}: true, {Meta, InUse}: true,
	}
	for from := State(0); from < 5; from++ {
		for to := State(0); to < 5; to++ {
			if err := New(16, 16).Set(Run{0, 1}, from, to); errors.Is(err, ErrMove) == legal[[2]State{from, to}] {
				t.Errorf("%v to %v: %v", from, to, err)
			}
		}
	}
}

func TestGrow(t *testing.T) {
	p := cleanPool(t, 16, 20, Run{0, 20})
	p.Grow(50)
	checkCounts(t, p)
	if p.Counts() != (Counts{InUse: 30, Clean: 20}) || p.Groups() != 4 {
		t.Fatalf("%+v %d", p.Counts(), p.Groups())
	}
	// A partial group that is not loaded grows without its page.
	images := map[int]Image{}
	for _, img := range cleanPool(t, 16, 20, Run{0, 18}).Cut() {
		images[img.Group] = img
	}
	q, load := remount(t, 16, 20, images)
	q.Grow(30)
	if got := unsettled(t, q); !slices.Equal(got, []int{1}) {
		t.Fatal(got)
	}
	load(1)
	checkCounts(t, q)
	if c := q.GroupCounts(1); c != (Counts{InUse: 12, Clean: 2}) {
		t.Fatalf("%+v", c)
	}
	defer func() {
		if recover() == nil {
			t.Fatal("shrinking did not panic")
		}
	}()
	p.Grow(10)
}

func TestSetGroupRefusesWrongCounts(t *testing.T) {
	p := New(16, 20)
	for _, c := range []struct {
		g       int
		c       Counts
		uniform bool
		st      State
		want    error
	}{
		{2, Counts{InUse: 16}, false, 0, ErrRange},
		{-1, Counts{InUse: 16}, false, 0, ErrRange},
		{0, Counts{InUse: 15}, false, 0, ErrCorrupt},
		{1, Counts{InUse: 16}, false, 0, ErrCorrupt},
		{0, Counts{InUse: 17, Clean: -1}, false, 0, ErrCorrupt},
		{0, Counts{InUse: 10, Clean: 6}, true, Clean, ErrCorrupt},
		{0, Counts{Clean: 16}, true, 4, ErrCorrupt},
	} {
		wantErr(t, p.SetGroup(c.g, c.c, c.uniform, c.st), c.want)
	}
	must(t, p.SetGroup(1, Counts{Clean: 4}, true, Clean))
	must(t, p.SetGroup(0, Counts{Clean: 10, Claimed: 6}, false, 0))
	checkCounts(t, p)
	_, err := p.State(3)
	var u *UnloadedError
	if !errors.As(err, &u) || u.Group != 0 {
		t.Fatal(err)
	}
	wantErr(t, err, ErrUnloaded)
}

func TestLoad(t *testing.T) {
	images := map[int]Image{}
	for _, img := range cleanPool(t, 16, 32, Run{4, 8}).Cut() {
		images[img.Group] = img
	}
	p, load := remount(t, 16, 32, images)
	must(t, p.Claim(Run{4, 2}))
	must(t, p.Claim(Run{6, 2}))
	must(t, p.Use(Run{5, 1}))
	must(t, p.Set(Run{5, 1}, InUse, Clean))
	wantErr(t, p.Claim(Run{8, 6}), ErrState) // five are clean
	wantErr(t, p.Ready(Run{4, 1}), ErrUnloaded)
	if img := p.Cut(); len(img) != 1 || !img[0].Pending || img[0].Page != nil {
		t.Fatalf("%+v", img)
	}
	wantErr(t, p.Load(0, make([]byte, 3)), ErrCorrupt)
	wantErr(t, p.Load(0, make([]byte, 4)), ErrCorrupt)
	wantErr(t, p.Load(2, make([]byte, 4)), ErrRange)
	load(0)
	load(0) // the second of two readers
	checkCounts(t, p)
	want := []State{0, 0, 0, 0, Claimed, Clean, Claimed, Claimed, Clean, Clean, Clean, Clean, 0, 0, 0, 0}
	for b, st := range want {
		if have, err := p.State(BlockID(b)); have != st || err != nil {
			t.Fatalf("block %d: %v %v, want %v", b, have, err, st)
		}
	}
	must(t, p.Ready(Run{4, 1}))
	if img := p.Cut(); len(img) != 1 || img[0].Pending || len(unsettled(t, p)) != 0 {
		t.Fatalf("%+v", img)
	}
}

func TestLoadFindsWrongDelta(t *testing.T) {
	images := map[int]Image{}
	for _, img := range cleanPool(t, 16, 16, Run{4, 8}).Cut() {
		images[img.Group] = img
	}
	p, _ := remount(t, 16, 16, images)
	must(t, p.Claim(Run{0, 2})) // in use on disk; only the page can tell
	wantErr(t, p.Load(0, images[0].Page), ErrState)
	wantErr(t, p.Ready(Run{0, 2}), ErrUnloaded)
	if p.Take(2, 0, 1) != nil {
		t.Fatal("a claim that was never verified was handed out")
	}
	partial := New(16, 12)
	must(t, partial.SetGroup(0, Counts{InUse: 12}, false, 0))
	wantErr(t, partial.Load(0, []byte{0, 0, 0, 0xff}), ErrCorrupt) // past the end
	must(t, partial.Load(0, make([]byte, 4)))
}

// Images that are taken in pieces, while groups go on changing, are those of the instant at which the cut began.
func TestImagesInPieces(t *testing.T) {
	const groups, size = 12, 32
	rng := rand.New(rand.NewPCG(1, 2))
	p, q := New(size, groups*size), New(size, groups*size)
	change := func(ps ...*Pool) {
		b := BlockID(rng.IntN(groups * size))
		r := Run{b, 1 + int64(rng.IntN(min(8, groups*size-int(b))))}
		from, to := InUse, Clean
		if rng.IntN(2) == 0 {
			from, to = Clean, InUse
		}
		for _, p := range ps {
			_ = p.Set(r, from, to) // where it may not be nothing changes
		}
	}
	for round := range 300 {
		for range rng.IntN(20) {
			change(p, q)
		}
		want := q.Cut()
		p.BeginCut()
		var got []Image
		for more := true; more; {
			for range rng.IntN(4) {
				change(p, q)
			}
			var some []Image
			some, more = p.Images(1 + rng.IntN(3))
			for _, img := range some {
				img.Page = slices.Clone(img.Page)
				got = append(got, img)
			}
		}
		slices.SortFunc(got, func(a, b Image) int { return a.Group - b.Group })
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("round %d: %+v\nwant %+v", round, got, want)
		}
		if rng.IntN(4) > 0 { // else this checkpoint came to nothing, and the next one has them again
			for p.DurableSome(2) {
			}
			q.Durable()
		}
	}
	checkCounts(t, p)
}

// unloadAll drops all pages that may be dropped.
func unloadAll(p *Pool) {
	for g := range p.groups {
		p.Unload(g)
	}
}

// What may not be dropped Evict passes by, and goes on behind it; what comes back is listed once.
func TestEvict(t *testing.T) {
	const groups, most = 40, 4
	p := New(16, 16*groups)
	pages := map[int][]byte{}
	for g := range groups {
		must(t, p.Set(Run{BlockID(16 * g), 3}, InUse, Clean))
	}
	for _, img := range p.Cut() {
		pages[img.Group] = slices.Clone(img.Page)
	}
	p.Evict(0, 2*groups)
	if p.HeldPages() != groups {
		t.Fatalf("%d of %d pages are left that are on no disk yet", p.HeldPages(), groups)
	}
	p.Durable()
	must(t, p.Claim(Run{16 * 5, 1}))
	must(t, p.Set(Run{16 * 7, 1}, Clean, InUse))
	if p.Changed() != 2 {
		t.Fatalf("%d groups changed, not 2", p.Changed())
	}
	p.Evict(most, 3)
	if p.HeldPages() < groups-3 {
		t.Fatalf("%d pages are left after 3 steps", p.HeldPages())
	}
	p.Evict(most, 2*groups)
	if p.HeldPages() != most || !p.Loaded(5) || !p.Loaded(7) {
		t.Fatalf("%d pages are left; of the claimed group %v, of the changed one %v", p.HeldPages(), p.Loaded(5), p.Loaded(7))
	}
	for lap := range 3 {
		for g := range groups {
			must(t, p.Load(g, pages[g]))
			p.Evict(most, 8)
			if n := p.HeldPages(); n > most || len(p.pages) > groups {
				t.Fatalf("lap %d: %d pages, %d listed", lap, n, len(p.pages))
			}
		}
	}
	if !p.Loaded(groups - 1) {
		t.Fatal("what was loaded last went first")
	}
	must(t, p.Set(Run{16*(groups-1) + 1, 2}, Clean, InUse))
	must(t, p.Set(Run{16 * (groups - 1), 1}, Clean, InUse))
	before := p.HeldPages()
	must(t, p.Shrink(16*(groups-1)))
	if n := p.HeldPages(); n > before || p.Changed() != 2 || len(p.pages) > groups-1 {
		t.Fatalf("%d pages of %d, %d changes, %d listed after the end has gone", n, before, p.Changed(), len(p.pages))
	}
	checkCounts(t, p)
}

func TestCutIsImmutableAndRepeatedUntilDurable(t *testing.T) {
	p := cleanPool(t, 16, 48, Run{0, 20})
	first := p.Cut()
	if len(first) != 2 || !first[0].Uniform || first[0].State != Clean || first[1].Uniform || len(first[1].Page) != 4 {
		t.Fatalf("%+v", first)
	}
	page := slices.Clone(first[1].Page)
	must(t, p.Claim(Run{16, 2}))
	if !slices.Equal(page, first[1].Page) {
		t.Fatal("a page changed after its Cut")
	}
	unloadAll(p)
	if !p.Loaded(1) {
		t.Fatal("a changed group was unloaded")
	}
	if again := p.Cut(); len(again) != 2 || slices.Equal(again[1].Page, page) {
		t.Fatalf("without Durable the groups must come again: %+v", again)
	}
	unloadAll(p)
	if !p.Loaded(1) {
		t.Fatal("a group was unloaded before its image was durable")
	}
	must(t, p.Set(Run{19, 1}, Clean, InUse))
	p.Durable()
	last := p.Cut()
	if len(last) != 1 || last[0].Group != 1 {
		t.Fatalf("%+v", last)
	}
	p.Durable()
	if len(p.Cut()) != 0 {
		t.Fatal("nothing changed")
	}
	unloadAll(p)
	if p.Loaded(1) {
		t.Fatal("not unloaded")
	}
	must(t, p.Load(1, last[0].Page))
	checkCounts(t, p)
}

func TestWords(t *testing.T) {
	var words []string
	for s := State(0); s < 5; s++ {
		words = append(words, s.String())
	}
	if want := []string{"in use", "claimed", "metadata", "clean", "state 4"}; !slices.Equal(words, want) {
		t.Fatal(words)
	}
	if s := (&UnloadedError{Group: 3}).Error(); s != "alloc: group 3: group not loaded" {
		t.Fatal(s)
	}
}
