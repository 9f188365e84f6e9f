package chain

import (
	"slices"
	"strings"
	"testing"

	"slatefs/chain/blockdev"
	"slatefs/chain/blockdev/devtest"
)

// Several hand-outs of one job are open, and of others. None holds a block that another does, and each is reported alone.
func TestHandOutsOfOneJob(t *testing.T) {
	p, _, _ := dirtied(t)
	a, r1 := lend(t, p, 2*BlockSize)
	b, r2 := lend(t, p, 2*BlockSize)
	if a == b || jobOfToken(p, a) != jobOfToken(p, b) || len(r1) == 0 || len(r2) == 0 || r1[len(r1)-1].End() > r2[0].Off {
		t.Fatalf("%d: %v, %d: %v", a, r1, b, r2)
	}
	first := jobOfToken(p, a)
	c, r3 := lend(t, p, 1<<30)
	if d, _ := lend(t, p, BlockSize); jobOfToken(p, c) != first || jobOfToken(p, d) == first {
		t.Error("all of the first job is handed out, and more of it is")
	}
	for tok, runs := range map[blockdev.Token][]blockdev.Extent{a: r1, b: r2, c: r3} {
		zeroThem(t, p, runs)
		ok(t, report(p, tok, runs, nil))
		mustCheck(t, p)
	}
	if p.jobs.all[first] != nil {
		t.Error("the first job is not done")
	}
}

// A report of what is not in the hand-out is a bug of the eraser. It ends the process, and before that nothing is clean.
func TestForeignReportsAreMisuse(t *testing.T) {
	for what, bad := range map[string]func(a, b []blockdev.Extent) (zeroed, failed []blockdev.Extent){
		"of another hand-out": func(_, b []blockdev.Extent) (_, _ []blockdev.Extent) { return b, nil },
		"too much":            func(a, b []blockdev.Extent) (_, _ []blockdev.Extent) { return slices.Concat(a, b), nil },
		"of no job": func(_, _ []blockdev.Extent) (_, _ []blockdev.Extent) {
			return nil, []blockdev.Extent{{Off: 3 << 20, Len: 5 * BlockSize}}
		},
		"one twice": func(a, _ []blockdev.Extent) (_, _ []blockdev.Extent) { return slices.Concat(a, a[:1]), nil },
		"in both":   func(a, _ []blockdev.Extent) (_, _ []blockdev.Extent) { return a, a[:1] },
		"half a block": func(a, _ []blockdev.Extent) (_, _ []blockdev.Extent) {
			return []blockdev.Extent{{Off: a[0].Off, Len: 512}}, nil
		},
		"of nothing": func(a, _ []blockdev.Extent) (_, _ []blockdev.Extent) { return []blockdev.Extent{{Off: a[0].Off}}, nil },
	} {
		p, _, _ := dirtied(t)
		a, r1 := lend(t, p, 2*BlockSize)
		_, r2 := lend(t, p, 2*BlockSize)
		zeroed, failed := bad(r1, r2)
		clean := p.Clean()
		misuse(t, what, func() error { return report(p, a, zeroed, failed) })
		if p.Clean() != clean {
			t.Errorf("%s: %d bytes became clean", what, p.Clean()-clean)
		}
	}
	p, _, _ := dirtied(t)
	a, runs := lend(t, p, 2*BlockSize)
	misuse(t, "unknown", func() error { return report(p, 999, runs, nil) })
	zeroThem(t, p, runs)
	ok(t, report(p, a, runs, nil))
	misuse(t, "what is done", func() error { return report(p, a, runs, nil) })
}

func misuse(t *testing.T, what string, f func() error) {
	t.Helper()
	defer func() {
		if s, ok := recover().(string); !ok || !strings.HasPrefix(s, "broken invariant: ") {
			t.Errorf("%s: panic of %q", what, s)
		}
	}()
	t.Errorf("%s: accepted: %v", what, f())
}

// What is given back is handed out again, before anything else of its job; what of it was reported is not.
func TestGivenBack(t *testing.T) {
	p, _, _ := dirtied(t)
	a, r1 := lend(t, p, 3*BlockSize)
	b, r2 := lend(t, p, BlockSize)
	job := jobOfToken(p, a)
	zeroThem(t, p, r1[1:2])
	ok(t, report(p, a, r1[1:2], nil)) // above what is open
	mustCheck(t, p)
	p.GiveBack(a)
	p.GiveBack(a) // nothing is left to give back
	c, r3 := lend(t, p, BlockSize)
	d, r4 := lend(t, p, 1<<30)
	if jobOfToken(p, c) != job || !slices.Equal(r3, r1[:1]) || !slices.Equal(r4, r1[2:]) {
		t.Errorf("given back of %v: %v, then %v", r1, r3, r4)
	}
	for tok, runs := range map[blockdev.Token][]blockdev.Extent{d: r4, b: r2, c: r3} {
		zeroThem(t, p, runs)
		ok(t, report(p, tok, runs, nil))
		mustCheck(t, p)
	}
	eraseAll(t, p)
	usageOf(t, p, "all", 30, 0, 0, 0)
}

// Reports in parts, from the end, with a checkpoint between or none, and a crash: nothing that is clean is handed out
// again, nothing dirty is forgotten, and what was not reported comes again.
func TestPartialReportsSurviveACrash(t *testing.T) {
	for _, checkpoints := range []int{0, 1, 2} {
		p, _, _ := dirtied(t)
		var toks []blockdev.Token
		var all [][]blockdev.Extent
		for range 4 {
			tok, runs := lend(t, p, 4*BlockSize)
			toks, all = append(toks, tok), append(all, runs)
		}
		clean := map[int64]bool{}
		for i := range slices.Backward(toks) {
			if i == 2 { // all of it stays open
				continue
			}
			blocks := blocksIn(all[i])
			zeroThem(t, p, blocks[len(blocks)-1:])
			ok(t, report(p, toks[i], blocks[len(blocks)-1:], nil))
			clean[blocks[len(blocks)-1].Off] = true
			if len(blocks) > 1 {
				ok(t, report(p, toks[i], nil, blocks[:1]))
			}
			if checkpoints > 0 {
				ok(t, p.Checkpoint())
			}
			mustCheck(t, p)
		}
		apart := 0
		for _, j := range p.jobs.all {
			apart += j.apart.Len()
		}
		if apart == 0 {
			t.Fatal("nothing is apart")
		}
		p.dev.(*devtest.Disk).CrashAt(1)
		p, _ = reopen(t, p.dev.(*devtest.Disk), 1)
		mustCheck(t, p)
		if checkpoints > 1 {
			ok(t, p.Checkpoint())
			mustCheck(t, p)
		}
		p.opt.Now = later(p.opt.Now)
		for {
			tok, runs := lend(t, p, 3*BlockSize)
			if tok == 0 {
				break
			}
			for _, b := range blocksIn(runs) {
				if clean[b.Off] {
					t.Fatalf("block %d is clean, and handed out", b.Off/BlockSize)
				}
				clean[b.Off] = true
			}
			zeroThem(t, p, runs)
			ok(t, report(p, tok, runs, nil))
		}
		usageOf(t, p, "all", 30, 0, 0, 0)
		for _, b := range blocksIn(slices.Concat(all...)) {
			if !clean[b.Off] {
				t.Errorf("block %d was handed out and not reported, and is not handed out again", b.Off/BlockSize)
			}
		}
		mustCheck(t, p)
	}
}

// blocksIn are runs block by block.
func blocksIn(runs []blockdev.Extent) (out []blockdev.Extent) {
	for _, r := range runs {
		for b := r.Off; b < r.End(); b += BlockSize {
			out = append(out, blockdev.Extent{Off: b, Len: BlockSize})
		}
	}
	return out
}
