package chain

import (
	"fmt"
	"slices"
	"testing"
)

// Lists of snapshots, of their clones and of layers are made in pieces, and are whole.
func TestInfoInPieces(t *testing.T) {
	p := openPool(t, newDisk(t, 16<<20))
	v := mustVolume(t, p, "v", 1<<20)
	const n = 2*pieceLen + 7
	for i := range n {
		if i%20 == 0 {
			write(t, v, fill(byte(i), BlockSize), 0)
		}
		mustSnapshot(t, v, fmt.Sprint("s", i))
	}
	for i := range n { // many on one, and a clone of each clone
		mustClone(t, v, "s3", fmt.Sprint("c", i))
	}
	far := mustClone(t, v, "s100", "far")
	mustSnapshot(t, far, "x")
	mustClone(t, far, "x", "farther")
	snaps, err := p.Snapshots(v.ino)
	ok(t, err)
	if len(snaps) != n || snaps[0].Name != "s0" || snaps[n-1].Name != fmt.Sprint("s", n-1) {
		t.Fatalf("%d snapshots, from %+v", len(snaps), snaps[0])
	}
	for i, s := range snaps {
		want := 2
		switch {
		case i <= 3:
			want += n
		case i > 100:
			want = 0
		}
		if len(s.Clones) != want || want > 0 && !slices.Contains(s.Clones, "farther") {
			t.Errorf("%s: %d clones, want %d", s.Name, len(s.Clones), want)
		}
	}
	layers, err := p.Tree(far.ino)
	ok(t, err)
	if want := len(p.tree.layers); len(layers) != want || layers[0].Parent != 0 {
		t.Errorf("%d layers, want %d", len(layers), want)
	}
	at := map[LayerID]int{}
	kids := 0
	for i, l := range layers {
		if up, known := at[l.Parent]; i > 0 && (!known || !slices.Contains(layers[up].Children, l.ID)) {
			t.Errorf("layer %v comes before its parent %v, or is no child of it", l.ID, l.Parent)
		}
		at[l.ID] = i
		kids += len(l.Children)
	}
	if kids != len(layers)-1 {
		t.Errorf("%d children of %d layers", kids, len(layers))
	}
}

// What a clone with snapshots of its own shows of its own is counted along its line, a few layers at a time.
func TestCloneShowsItsOwn(t *testing.T) {
	p := openPool(t, newDisk(t, 16<<20))
	v := mustVolume(t, p, "v", 1<<20)
	write(t, v, fill('o', 8*BlockSize), 0)
	mustSnapshot(t, v, "s")
	c := mustClone(t, v, "s", "c")
	for i := range 11 {
		write(t, c, fill(byte('a'+i), 3*BlockSize), int64(i)*BlockSize)
		mustSnapshot(t, c, fmt.Sprint("t", i))
		if i%4 == 0 {
			ok(t, p.Checkpoint())
		}
	}
	i, err := p.VolumeInfo(c.ino)
	ok(t, err)
	// It shows 13 blocks that were written in it, of 33 that its layers own.
	if i.UsedDS != 13*BlockSize || i.UsedSnap != 20*BlockSize || i.Snapshots != 11 || i.Origin != "v@s" {
		t.Errorf("%+v", i)
	}
}

// The length of a line of history is known without a look at it, and what was merged in it is counted away when it matters.
func TestDepthOfALine(t *testing.T) {
	p := openPool(t, newDisk(t, 16<<20))
	v := mustVolume(t, p, "v", 1<<20)
	const n = 2*pieceLen + 5
	var gone []string
	for i := range n {
		mustSnapshot(t, v, fmt.Sprint("s", i))
		if i%3 == 1 {
			gone = append(gone, fmt.Sprint("s", i))
		}
	}
	if got := v.head().depth; got != n+1 {
		t.Errorf("%d layers, counted %d", n+1, got)
	}
	ok(t, p.DestroySnapshots(Req{}, v.ino, gone, DestroyOptions{}))
	real := n + 1 - len(gone)
	p.tree.measureDepth(v.ino)
	if got := v.head().depth; got != n+1 {
		t.Errorf("it was counted for nothing: %d", got)
	}
	v.head().depth = MaxLayers + 1
	mustSnapshot(t, v, "last")
	if got := v.head().depth; got != real+1 {
		t.Errorf("%d layers, counted %d", real+1, got)
	}
	f := p.ForecastSnapshot([]Ino{v.ino, v.ino}, "x")
	wantErr(t, "twice", f.Err, ErrInvalid)
	ok(t, p.Checkpoint())
	p = again(t, p, true)
	if got := p.tree.heads[v.ino].depth; got != real+1 {
		t.Errorf("after a mount %d layers, counted %d", real+1, got)
	}
}
