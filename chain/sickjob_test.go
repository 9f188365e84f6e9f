package chain

import (
	"strings"
	"syscall"
	"testing"

	"slatefs/alloc"
	"slatefs/chain/blockdev"
	"slatefs/chain/blockdev/devtest"
	"slatefs/chain/fault"
	"slatefs/chain/omap"
	"slatefs/chain/runs"
)

// coldJobs is dirtied with its lists on the device and not in memory; the jobs in their order.
func coldJobs(t *testing.T) (*Pool, *devtest.Disk, []*job) {
	t.Helper()
	p, _, _ := dirtied(t)
	d := p.dev.(*devtest.Disk)
	ok(t, p.Close())
	p = openPool(t, d)
	p.opt.Now = newClock().now
	return p, d, p.jobsInOrder()
}

// pagesOf are the addresses of all pages of a job's lists, twins included.
func pagesOf(t *testing.T, j *job) map[alloc.BlockID]bool {
	t.Helper()
	out := map[alloc.BlockID]bool{}
	for _, l := range []*runs.List{&j.fresh, &j.ready, &j.bad} {
		for _, tree := range l.Trees {
			out[tree.Root.Addr], out[tree.Root.Twin] = true, true
		}
	}
	delete(out, 0)
	if len(out) == 0 {
		t.Fatalf("job %d has no pages", j.id)
	}
	return out
}

// eio fails reads of these pages.
func eio(d *devtest.Disk, pages map[alloc.BlockID]bool) {
	d.Fail(func(op devtest.Op) error {
		if op.Kind == devtest.OpRead && pages[alloc.BlockID(op.Off/BlockSize)] {
			return fault.Mark(fault.Transient, syscall.EIO)
		}
		return nil
	})
}

func stateOf(p *Pool, id uint64) JobInfo {
	for _, j := range p.EraseJobs() {
		if j.ID == id {
			return j
		}
	}
	return JobInfo{}
}

// A list that cannot be read for a while: its job is failing and out of available, the others go on, and when it can be
// read again it is erased.
func TestUnreadableJobIsPassedBy(t *testing.T) {
	p, d, js := coldJobs(t)
	sick := js[1]
	eio(d, pagesOf(t, sick))
	before := p.Usage().Avail
	for range 20 {
		_, err := eraseSome(p, 1<<20)
		ok(t, err)
	}
	i := stateOf(p, sick.id)
	if i.State != "failing" || !strings.Contains(i.Error, syscall.EIO.Error()) || i.Dirty != 15*BlockSize {
		t.Errorf("%+v", i)
	}
	if u := p.Usage(); u.Avail > before-i.Dirty || u.Dirty != i.Dirty {
		t.Errorf("%d available, was %d, and %d cannot be had; %+v", u.Avail, before, i.Dirty, u)
	}
	if left := p.EraseJobs(); len(left) != 1 {
		t.Errorf("the others are not done: %+v", left)
	}
	ok(t, p.Failed())
	d.Fail(nil)
	if tok, _ := lend(t, p, 1<<20); tok != 0 {
		t.Error("tried again before its back-off is over")
	}
	p.opt.Now = later(p.opt.Now)
	eraseAll(t, p)
	if left := p.EraseJobs(); len(left) != 0 || p.Usage().Avail < before {
		t.Errorf("%+v, %+v", left, p.Usage())
	}
}

// A list with a page that is damaged, and no twin that is not: that job stays, named; all else goes on, checkpoints too.
func TestDamagedJobStays(t *testing.T) {
	p, d, js := coldJobs(t)
	sick := js[1]
	for b := range pagesOf(t, sick) {
		d.Flip(int64(b)*BlockSize+100, 3)
	}
	for range 20 {
		_, err := eraseSome(p, 1<<20)
		ok(t, err)
	}
	i := stateOf(p, sick.id)
	if i.State != "failed" || !strings.Contains(i.Error, ErrCorrupt.Error()) || i.Dirty != 15*BlockSize {
		t.Errorf("%+v", i)
	}
	if left := p.EraseJobs(); len(left) != 1 {
		t.Errorf("the others are not done: %+v", left)
	}
	v := mustVolume(t, p, "new", 1<<20)
	for range 4 {
		blocksAt(t, v, 'n', 0, 20)
		ok(t, v.Punch(0, 10*BlockSize))
		ok(t, p.Checkpoint())
		_, err := eraseSome(p, 1<<20)
		ok(t, err)
		p.opt.Now = later(p.opt.Now)
		ok(t, p.Failed())
	}
	if u := p.Usage(); u.Dirty != 15*BlockSize {
		t.Errorf("%+v", u)
	}
	for b := range pagesOf(t, sick) { // it was a cable
		d.Flip(int64(b)*BlockSize+100, 3)
	}
	p.opt.Now = later(p.opt.Now)
	eraseAll(t, p)
	if left := p.EraseJobs(); len(left) != 0 {
		t.Errorf("%+v", left)
	}
}

// Checkpoints beside lists that cannot be read: what is worked off, what is added and what has ended wait, nothing is lost and
// no page is, and no checkpoint fails.
func TestCheckpointsBesideUnreadableLists(t *testing.T) {
	p, d, js := coldJobs(t)
	var ids []uint64
	for _, j := range js { // each is worked off in part
		ids = append(ids, j.id)
		ok(t, p.EraseFirst(Req{}, j.id))
		tok, runs := lend(t, p, 3*BlockSize)
		zeroThem(t, p, runs)
		ok(t, report(p, tok, runs, nil))
	}
	ok(t, p.Close())
	p = openPool(t, d)
	p.opt.Now = newClock().now
	pages := map[alloc.BlockID]bool{}
	for _, j := range p.jobs.all {
		for b := range pagesOf(t, j) {
			pages[b] = true
		}
	}
	eio(d, pages)
	v := existing(t, p, "v")
	for round := range 6 {
		for _, id := range ids { // their rows change, so that a checkpoint looks at them
			ok(t, p.EraseFirst(Req{}, id))
		}
		blocksAt(t, v, 'n', 0, 20)
		ok(t, v.Punch(int64(round)*BlockSize, 5*BlockSize)) // more for a list that cannot be read
		ok(t, p.Checkpoint())
		_, err := eraseSome(p, 1<<20)
		ok(t, err)
		p.opt.Now = later(p.opt.Now)
	}
	ok(t, p.Failed())
	for _, id := range ids {
		if i := stateOf(p, id); i.State != "failing" {
			t.Errorf("%+v", i)
		}
	}
	d.Fail(nil)
	p.opt.Now = later(p.opt.Now)
	eraseAll(t, p)
	if left := p.EraseJobs(); len(left) != 0 {
		t.Errorf("%+v", left)
	}
	mustCheck(t, p)
}

// A list that has ended and cannot be read is kept until it can: its pages go back then.
func TestEndedListThatCannotBeRead(t *testing.T) {
	p, d, js := coldJobs(t)
	pages := pagesOf(t, js[2])
	ok(t, p.EraseFirst(Req{}, js[2].id))
	tok, runs := lend(t, p, 1<<20) // it is read once
	zeroThem(t, p, runs)
	ok(t, report(p, tok, runs, nil))
	if p.jobs.all[js[2].id] != nil || len(p.jobs.spent) == 0 {
		t.Fatal("the job has not ended")
	}
	p.blocks.store.SetCacheBytes(0) // nothing stays in memory
	eio(d, pages)
	ok(t, p.Checkpoint())
	ok(t, p.Checkpoint())
	if len(p.jobs.spent) == 0 {
		t.Error("the list was read")
	}
	d.Fail(nil)
	p.blocks.store.SetCacheBytes(1 << 20)
	ok(t, p.Checkpoint())
	if len(p.jobs.spent) != 0 {
		t.Error("the list is not given back")
	}
	mustCheck(t, p)
}

// A report needs no page: the line of the log that it is added to is in memory.
func TestReportReadsNothing(t *testing.T) {
	p, d, js := coldJobs(t)
	daily := js[0]
	if !daily.daily() {
		t.Fatalf("%+v", daily)
	}
	tok, runs := lend(t, p, 2*BlockSize)
	if jobOfToken(p, tok) != daily.id {
		t.Fatal("another job")
	}
	zeroThem(t, p, runs)
	clean := p.Clean()
	p.blocks.store.SetCacheBytes(0)
	d.Fail(func(op devtest.Op) error {
		if op.Kind == devtest.OpRead {
			return fault.Mark(fault.Transient, syscall.EIO)
		}
		return nil
	})
	left, err := p.Report(blockdev.Done{Token: tok, Zeroed: runs}, How{})
	d.Fail(nil)
	p.blocks.store.SetCacheBytes(1 << 20)
	if i := stateOf(p, daily.id); err != nil || i.State != "queued" || len(left.Zeroed) > 0 || p.Clean() != clean+extentBytes(runs) {
		t.Errorf("%+v, left %+v, %v", i, left, err)
	}
	ok(t, p.Failed())
	eraseAll(t, p)
	usageOf(t, p, "all", 30, 0, 0, 0)
}

// What a list says and the groups, or its count, deny is damage of that job: it is failed, nothing of it is zeroed, and the
// others go on.
func TestJobThatContradictsIsFailed(t *testing.T) {
	for what, spoil := range map[string]func(p *Pool, j *job) (mend func()){
		"a block of it is clean": func(p *Pool, j *job) func() {
			var run alloc.Run
			ok(t, j.fresh.Ascend(p.blocks.lists, omap.Key{}, func(k omap.Key, e runs.Entry) bool {
				run = alloc.Run{Start: alloc.BlockID(k.Lo), Len: 1}
				return e.Page
			}))
			ok(t, p.blocks.alloc.Set(run, alloc.InUse, alloc.Clean))
			return func() { ok(t, p.blocks.alloc.Set(run, alloc.Clean, alloc.InUse)) }
		},
		"its list is empty": func(p *Pool, j *job) func() {
			touched := func() {
				p.mu.Lock()
				defer p.mu.Unlock()
				p.jobs.touchJob(j)
			}
			touched()
			was := j.fresh
			j.fresh = runs.List{}
			return func() { touched(); j.ready = was }
		},
	} {
		p, _, _ := dirtied(t)
		j := p.jobsInOrder()[1]
		mend := spoil(p, j)
		for range 10 {
			_, err := eraseSome(p, 1<<20)
			ok(t, err)
		}
		if i := stateOf(p, j.id); i.State != "failed" || !strings.Contains(i.Error, ErrCorrupt.Error()) || i.Erased != 0 {
			t.Errorf("%s: %+v", what, i)
		}
		if left := p.EraseJobs(); len(left) != 1 || p.Failed() != nil {
			t.Errorf("%s: %+v, pool %v", what, left, p.Failed())
		}
		mend()
		p.opt.Now = later(p.opt.Now)
		eraseAll(t, p)
		mustCheck(t, p)
	}
}

// jobsInOrder lists the jobs in the order in which they are erased.
func (p *Pool) jobsInOrder() (js []*job) {
	p.jobs.eachJob(func(j *job) { js = append(js, j) }, func() {})
	return js
}
