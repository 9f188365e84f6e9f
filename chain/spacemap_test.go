package chain

import (
	"context"
	"testing"
)

// TestMap compares maps with what Usage says and with the states of all blocks, while jobs are half worked off, failed, loaded again and
// larger than a piece.
func TestMap(t *testing.T) {
	d := newDisk(t, 32<<20)
	p := openPool(t, d)
	sums := func(what string, cells int) (all MapCell) {
		t.Helper()
		m, err := p.Map(t.Context(), cells)
		ok(t, err)
		for _, c := range m {
			all.Clean, all.Live, all.Claimed = all.Clean+c.Clean, all.Live+c.Live, all.Claimed+c.Claimed
			all.Meta, all.Dirty, all.Failed = all.Meta+c.Meta, all.Dirty+c.Dirty, all.Failed+c.Failed
		}
		u := p.Usage()
		want := MapCell{Clean: u.Clean, Live: u.Live + u.Freeing, Claimed: u.Claimed, Meta: u.Meta, Dirty: u.Dirty, Failed: u.Failed}
		if all != want {
			t.Errorf("%s, %d cells: %+v, want %+v", what, cells, all, want)
		}
		return all
	}
	sums("a new pool", 1)
	v := inPieces(t, p, "v", 3*pieceLen)
	sums("written", 100)
	ok(t, p.DestroySnapshots(Req{}, v.ino, []string{"s"}, DestroyOptions{}))
	ok(t, p.DestroyVolume(Req{}, v.ino, DestroyOptions{}))
	ok(t, p.EraseDrain(t.Context()))
	if s := sums("destroyed", 100); s.Dirty < 3*pieceLen*BlockSize {
		t.Errorf("%d bytes are dirty", s.Dirty)
	}
	tok, out := lend(t, p, 10*BlockSize)
	sums("handed out", 77)
	ok(t, report(p, tok, out[1:], out[:1]))
	if s := sums("failed in part", 77); s.Failed == 0 {
		t.Error("nothing failed")
	}
	for range 3 {
		_, err := eraseSome(p, 20*BlockSize)
		ok(t, err)
		sums("half erased", 77)
	}
	ok(t, p.Checkpoint())
	ok(t, p.Close())
	p = openPool(t, d)
	sums("loaded again", 77)
	p.opt.Now = later(p.opt.Now)
	eraseAll(t, p)
	if s := sums("erased", 10); s.Dirty != 0 {
		t.Errorf("%d bytes are dirty", s.Dirty)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Map(ctx, 10); err == nil {
		t.Error("it was drawn all the same")
	}
}

// bytesOf is what Usage has, in bytes.
func bytesOf(c MapCell) MapCell {
	for _, n := range []*int64{&c.Clean, &c.Live, &c.Claimed, &c.Meta, &c.Dirty, &c.Failed} {
		*n *= BlockSize
	}
	return c
}

// TestMapByGroups has the counts of groups make the map of a pool that has many.
func TestMapByGroups(t *testing.T) {
	p := openPool(t, newDisk(t, 32<<20))
	groups := p.blocks.alloc.Groups()
	m := mapper{make([]MapCell, groups), int64(p.format.GroupBlocks)}
	for g := 0; g < groups; {
		g = m.groups(p.blocks, g, groups)
	}
	for g := range groups {
		n, c := p.blocks.alloc.GroupCounts(g), m.cells[g]
		if c != bytesOf(MapCell{Clean: n.Clean, Live: n.InUse, Claimed: n.Claimed, Meta: n.Meta}) {
			t.Errorf("group %d: %+v, want %+v", g, c, n)
		}
	}
}
