package chain

import (
	"fmt"
	"testing"

	"slatefs/chain/super"
)

// Users wait while a pool is handed over: that costs a few operations of the device, however much of it is free, where a close looks at
// what may have words in it. The pool stays its host's meanwhile, and the heir overwrites what was left.
func TestHandOver(t *testing.T) {
	c := newClock()
	d := newDisk(t, 64<<20)
	p, err := openAs(d, testHost(1, c), c, false)
	ok(t, err)
	v := mustVolume(t, p, "v", 1<<20)
	var links []Attr
	for i := range 20 {
		a, err := p.Symlink(Req{}, RootIno, fmt.Sprint("l", i), string(fill('x', 3000)))
		ok(t, err)
		links = append(links, a)
	}
	ok(t, p.Checkpoint())
	for i, a := range links {
		ok(t, p.Unlink(Req{}, RootIno, fmt.Sprint("l", i)))
		p.Forget(a.Ino)
	}
	ok(t, p.Checkpoint())

	d = d.Clone() // it is killed: its heir does not know which pages have words in them, and makes way for another one at once
	p, err = openAs(d, testHost(1, c), c, false)
	ok(t, err)
	v, err = p.Volume(v.ino)
	ok(t, err)
	write(t, v, fill('w', 64<<10), 0)
	if n := p.blocks.store.FreePages(); n < 100 {
		t.Fatalf("%d pages are free: that proves little", n)
	}
	reads, ops, closed := d.Reads(), d.Ops(), d.Clone()
	ok(t, HandOver(p))
	reads, ops = d.Reads()-reads, d.Ops()-ops
	t.Logf("%d reads, %d writes and syncs", reads, ops)
	if reads > 8 || ops > 24 {
		t.Errorf("%d reads, %d other operations", reads, ops)
	}
	if _, err := openAs(d, testHost(2, c), c, false); err == nil {
		t.Error("another host opens it in between")
	}

	p, err = openAs(d, testHost(1, c), c, false)
	ok(t, err)
	inPages(t, p, 'x', true)
	v, err = p.Volume(v.ino)
	ok(t, err)
	expect(t, v, 0, fill('w', 64<<10))
	for range super.Slots {
		ok(t, p.Checkpoint())
	}
	inPages(t, p, 'x', false)
	mustCheck(t, p)
	ok(t, p.Close())
	p, err = openAs(d, testHost(2, c), c, false)
	ok(t, err)
	ok(t, p.Close())

	p, err = openAs(closed, testHost(1, c), c, false)
	ok(t, err)
	before := closed.Reads()
	ok(t, p.Close())
	if n := closed.Reads() - before; n <= reads {
		t.Errorf("a close reads %d times as well", n)
	}
}
