package chain

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"slatefs/alloc"
	"slatefs/chain/blockdev"
	"slatefs/chain/blockdev/devtest"
)

func mustAudit(t *testing.T, p *Pool) *AuditReport {
	t.Helper()
	var done, total int64
	r, err := p.Audit(t.Context(), func(d, all int64) {
		if d < done || d > all {
			t.Errorf("progress %d of %d after %d", d, all, done)
		}
		done, total = d, all
	})
	if err != nil {
		t.Fatal(err)
	}
	if done != total || total != r.Clean+r.Queued+r.Lost {
		t.Errorf("progress ends at %d of %d: %+v", done, total, r)
	}
	return r
}

// cleanBlock is a block that is clean.
func cleanBlock(t *testing.T, p *Pool) alloc.BlockID {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	runs, err := findCleanNow(p.blocks, 1, 1)
	if err != nil || len(runs) == 0 {
		t.Fatalf("no clean block: %v", err)
	}
	return runs[0].Start
}

// scribble writes past the pool, as a buggy device or a neighbour would.
func scribble(t *testing.T, p *Pool, b alloc.BlockID, c byte) {
	t.Helper()
	_, err := p.dev.WriteAt(fill(c, 512), int64(b)*BlockSize+1024)
	ok(t, err)
}

// offline audits what a new process finds, read-only.
func offline(t *testing.T, p *Pool) *AuditReport {
	t.Helper()
	q, err := Open(p.dev.(*devtest.Disk).Clone(), Options{Now: newClock().now, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	r := mustAudit(t, q)
	ok(t, q.Close())
	return r
}

// Every block that is not zero is found, whether it is clean or lost; what is in a job is not reported; nothing else is read.
func TestAuditFinds(t *testing.T) {
	p, _, now := dirtied(t)
	clean, lost := cleanBlock(t, p), alloc.BlockID(0)
	u := p.Usage()
	r := mustAudit(t, p)
	if len(r.Found)+len(r.Unread) > 0 || r.Clean != u.Clean || r.Queued != 60*BlockSize || r.NotYet != 60*BlockSize || r.Lost != 0 {
		t.Errorf("%+v of %+v", r, u)
	}
	id, runs := lend(t, p, 1<<30)
	zeroThem(t, p, runs)
	if r := mustAudit(t, p); r.Queued != 60*BlockSize || r.NotYet >= 60*BlockSize || len(r.Found) > 0 {
		t.Errorf("zero and not reported: %+v", r)
	}
	ok(t, report(p, id, nil, runs)) // failed is dirty
	if r := mustAudit(t, p); r.Queued != 60*BlockSize || len(r.Found) > 0 {
		t.Errorf("failed: %+v", r)
	}
	lost = clean + 1
	p.mu.Lock()
	ok(t, p.blocks.alloc.Set(alloc.Run{Start: lost, Len: 1}, alloc.Clean, alloc.InUse))
	p.mu.Unlock()
	if r := mustAudit(t, p); r.Lost != BlockSize || len(r.Found) > 0 {
		t.Errorf("lost and zero: %+v", r)
	}
	scribble(t, p, clean, 'c')
	scribble(t, p, lost, 'l')
	want := []int64{int64(clean) * BlockSize, int64(lost) * BlockSize}
	for _, r := range []*AuditReport{mustAudit(t, p), offline(t, p)} {
		if got := slices.Sorted(slices.Values(r.Found)); !slices.Equal(got, want) || r.More != 0 {
			t.Errorf("found %v, want %v", got, want)
		}
	}
	p.dev.(*devtest.Disk).Fail(func(op devtest.Op) error {
		if op.Kind == devtest.OpRead && op.Off <= want[0] && op.Off+op.Len > want[0] {
			return errors.New("injected")
		}
		return nil
	})
	if r := mustAudit(t, p); len(r.Unread) != 1 || !slices.Equal(r.Found, want[1:]) {
		t.Errorf("unreadable: %+v", r)
	}
	p.dev.(*devtest.Disk).Fail(nil)
	ok(t, p.dev.Zero(want[0], BlockSize, blockdev.Overwrite))
	ok(t, p.dev.Zero(want[1], BlockSize, blockdev.Overwrite))
	ok(t, p.dev.Sync())
	p.mu.Lock()
	ok(t, p.blocks.alloc.Set(alloc.Run{Start: lost, Len: 1}, alloc.InUse, alloc.Clean))
	p.mu.Unlock()
	now.t = now.t.Add(time.Hour)
	eraseAll(t, p)
	if r := offline(t, p); r.Queued != 0 || len(r.Found) > 0 {
		t.Errorf("erased: %+v", r)
	}
}

// More is found than is listed.
func TestAuditListIsBounded(t *testing.T) {
	p := openPool(t, newDisk(t, 16<<20))
	p.mu.Lock()
	runs, err := findCleanNow(p.blocks, auditFindings+20, 1)
	p.mu.Unlock()
	if err != nil || runBlocks(runs) <= auditFindings {
		t.Fatal(runs, err)
	}
	for _, r := range runs {
		_, err := p.dev.WriteAt(fill('x', int(r.Len)*BlockSize), int64(r.Start)*BlockSize)
		ok(t, err)
	}
	if r := mustAudit(t, p); len(r.Found) != auditFindings || r.More != runBlocks(runs)-auditFindings {
		t.Errorf("%d found, %d more of %d", len(r.Found), r.More, runBlocks(runs))
	}
	for _, r := range runs {
		ok(t, p.dev.Zero(int64(r.Start)*BlockSize, r.Len*BlockSize, blockdev.Overwrite))
	}
	ok(t, p.dev.Sync())
}

// Writers, discards and the eraser go on under an audit, and nothing of theirs is taken for residue.
func TestAuditUnderWriters(t *testing.T) {
	p := openPool(t, newDisk(t, 8<<20))
	var one sync.Mutex
	erase := func(_ context.Context, n int64) (int64, error) {
		one.Lock()
		defer one.Unlock()
		return eraseSome(p, n)
	}
	p.SetZeroNow(erase)
	v := mustVolume(t, p, "v", 2<<20)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := int64(0); ctx.Err() == nil; i++ {
			at := i * 7 % 400
			if _, err := v.WriteAt(fill(byte('a'+i%26), 8*BlockSize), at*BlockSize); err != nil && !errors.Is(err, ErrNoSpace) {
				t.Error(err)
			}
			if i%3 == 0 {
				if err := v.Punch(at*BlockSize, 16*BlockSize); err != nil {
					t.Error(err)
				}
			}
		}
	})
	wg.Go(func() {
		for ctx.Err() == nil {
			if _, err := erase(ctx, 64*BlockSize); err != nil {
				t.Error(err)
			}
		}
	})
	for range 20 {
		r, err := p.Audit(t.Context(), nil)
		if err != nil || len(r.Found)+len(r.Unread) > 0 {
			t.Errorf("%+v, %v", r, err)
		}
	}
	cancel()
	wg.Wait()
}

// Where the metadata does not add up no block's owner is known: that is said, instead of alarms.
func TestAuditOfCorruptMetadata(t *testing.T) {
	p, v, _ := dirtied(t)
	p.mu.Lock()
	p.tree.touch(v.head())
	v.head().own++
	p.mu.Unlock()
	_, err := p.Audit(t.Context(), nil)
	wantErr(t, "audit", err, ErrCorrupt)
	p.mu.Lock()
	p.tree.touch(v.head())
	v.head().own--
	p.mu.Unlock()
	ok(t, p.Checkpoint())
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Audit(cancelled, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// All that is not clean may hold something; a pool in use is not asked.
func TestUsed(t *testing.T) {
	p, _, _ := dirtied(t)
	_, _, err := p.Used()
	wantErr(t, "in use", err, ErrBusy)
	q, err := Open(p.dev.(*devtest.Disk).Clone(), Options{Now: newClock().now, ReadOnly: true})
	ok(t, err)
	guest, meta, err := q.Used()
	ok(t, err)
	u := q.Usage()
	if g, m := extentBytes(guest), extentBytes(meta); g != u.Total-u.Clean-u.Meta || m != u.Meta || meta[0].Off != 0 {
		t.Errorf("%d and %d bytes, %+v", g, m, u)
	}
	ok(t, q.Close())
}

// findCleanNow is findClean for who has nothing to look at again.
func findCleanNow(bs *blockSpace, n, least int64) (runs []alloc.Run, err error) {
	for err = errLookAgain; errors.Is(err, errLookAgain); {
		runs, err = bs.findClean(n, least)
	}
	return runs, err
}
