package fs

import (
	"testing"

	"slatefs/chain"
)

func TestNodeID(t *testing.T) {
	const top = uint64(1)<<48 - 1
	for _, num := range []uint64{1, 2, 1 << 32, top} {
		for _, c := range []struct {
			node uint64
			kind nodeKind
		}{
			{num, plain},
			{snapDirNode(chain.Ino(num)), snapDir},
			{snapFileNode(chain.LayerID(num)), snapFile},
		} {
			if kind, got := split(c.node); kind != c.kind || got != num {
				t.Errorf("%x: kind %d, number %x; want %d, %x", c.node, kind, got, c.kind, num)
			}
		}
	}
	if snapDirNode(1) == snapFileNode(1) || snapDirNode(1)>>63 != 0 {
		t.Error("node ids collide or use the sign")
	}
}

func TestLookupCounts(t *testing.T) {
	var l lookups
	l.init()
	l.add(7)
	l.add(7)
	l.add(8)
	if l.drop(7, 1) {
		t.Error("one of two lookups is left")
	}
	if !l.drop(7, 1) || !l.drop(9, 1) {
		t.Error("none is left, or never was")
	}
	l.add(7)
	if !l.drop(7, 5) {
		t.Error("the kernel knows of more lookups than we")
	}
	if all := l.takeAll(); len(all) != 1 || all[0] != 8 {
		t.Errorf("left: %v", all)
	}
}

func TestOpenCountsAndDrain(t *testing.T) {
	var f files
	f.init()
	open := func(node uint64, write bool) {
		if !f.begin() {
			t.Fatal("draining")
		}
		f.add(0, &openFile{node: node}, write)
	}
	closed := func() bool {
		select {
		case <-f.done():
			return true
		default:
			return false
		}
	}
	open(2, true)
	open(2, false)
	open(3, false)
	if f.count() != 3 || f.get(2).readers != 1 || f.get(2).writers != 1 || f.get(4) != nil {
		t.Error("wrong counts")
	}
	done := f.done()
	if n := f.drain(true); n != 3 || f.begin() {
		t.Errorf("drain: %d open, or an open got through", n)
	}
	if f.remove(0, 3, true) || f.remove(0, 4, false) {
		t.Error("closed what is not open")
	}
	if !f.remove(0, 2, true) || !f.remove(0, 2, false) || closed() || !f.remove(0, 3, false) || !closed() {
		t.Error("drained too early or too late")
	}
	select {
	case <-done:
	default:
		t.Error("who waited since before the drain is not woken")
	}
	f.drain(false)
	if closed() || !f.begin() {
		t.Error("the drain was called off")
	}
	f.end()
	if f.drain(true); !closed() {
		t.Error("nothing is open")
	}
	f.drain(true)
	f.drain(false)
	if !closed() || f.begin() {
		t.Error("who gave up has ended the drain of another")
	}
	f.drain(false)
	open(5, true)
	open(5, true)
	if all := f.takeAll(); len(all) != 1 || all[0].writers != 2 || f.count() != 0 {
		t.Errorf("left: %v", all)
	}
}
