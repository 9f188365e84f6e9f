package fs

import (
	"errors"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"

	"slatefs/chain"
)

// What is counted of requests, for who looks. Nobody decides by it. It is in memory, and begins anew with a daemon that takes over.
//
//   - A request is counted once, when its answer was given to the kernel: who looks at once after it may not find it yet.
//   - A thread that serves has a meter of its own; what goroutines serve is counted on the one of their connection.
//   - The time of a request is from the turn in which the loop received it, or from where it begins to be served, to its answer.

// Kind is what a request asks for, as far as it is counted apart.
type Kind uint8

// The kinds. Flush is fsync, Attr all that asks for attributes or sets them, Open whatever opens or closes.
const (
	KindOther Kind = iota
	KindRead
	KindWrite
	KindFlush
	KindFallocate
	KindLookup
	KindAttr
	KindOpen
	Kinds // how many there are
)

var kindNames = [Kinds]string{"other", "read", "write", "flush", "fallocate", "lookup", "attr", "open"}

// String is the word for it in metrics: an ABI.
func (k Kind) String() string { return kindNames[k] }

// kindOf is the kind of an opcode. What is not here is KindOther.
var kindsOf = [64]Kind{
	codeRead: KindRead, codeWrite: KindWrite, codeFsync: KindFlush, 30: KindFlush, 43: KindFallocate, codeLookup: KindLookup,
	codeGetAttr: KindAttr, 4: KindAttr, codeStatFS: KindAttr, 52: KindAttr,
	14: KindOpen, 18: KindOpen, 27: KindOpen, 29: KindOpen, 35: KindOpen,
}

func kindOf(opcode uint32) Kind { return kindsOf[opcode%uint32(len(kindsOf))] }

// LatencySlots is how many slots a latency is counted in, and LatencyUnit the bound of the first.
const (
	LatencySlots = 22
	LatencyUnit  = 1 << latencyShift * time.Nanosecond
	latencyShift = 13
)

// Answered is what was answered of one kind.
type Answered struct {
	Bytes  int64               // read or written
	Failed int64               // answered with EIO
	Time   time.Duration       // of all together
	Slots  [LatencySlots]int64 // slot i counts what took less than 2^i x LatencyUnit, and not less than half of that; the last, the rest
}

// Count is how many were answered.
func (a *Answered) Count() (n int64) {
	for _, s := range a.Slots {
		n += s
	}
	return n
}

// Use is what was done with one volume, of one kind.
type Use struct {
	Count, Bytes int64
	Time         time.Duration // of all together
}

// VolumeUse is what was done with one volume. Reads of its snapshots are not among it.
type VolumeUse struct{ Read, Write, Flush Use }

// epoch is what moments are counted from, in nanoseconds of a clock that never goes back.
var epoch = time.Now() //nolint:forbidigo // what took how long in fact, whatever clock the pool has

func moment() int64 { return int64(time.Since(epoch)) }

// meter counts what one thread, or one connection, answers. Any goroutine may count on it.
type meter [Kinds]kindMeter

type kindMeter struct {
	slots                [LatencySlots]atomic.Int64
	nanos, bytes, failed atomic.Int64
}

// took counts a request.
func (m *meter) took(k Kind, nanos, bytes int64, failed bool) {
	c := &m[k]
	c.slots[min(bits.Len64(uint64(nanos)>>latencyShift), LatencySlots-1)].Add(1)
	c.nanos.Add(nanos)
	if bytes > 0 {
		c.bytes.Add(bytes)
	}
	if failed {
		c.failed.Add(1)
	}
}

// add adds what a meter has counted to a sum.
func (m *meter) add(to *[Kinds]Answered) {
	for k := range m {
		a, c := &to[k], &m[k]
		a.Bytes += c.bytes.Load()
		a.Failed += c.failed.Load()
		a.Time += time.Duration(c.nanos.Load())
		for i := range c.slots {
			a.Slots[i] += c.slots[i].Load()
		}
	}
}

// volumeMeter counts what is done with a volume.
type volumeMeter [KindFlush + 1]struct{ count, bytes, nanos atomic.Int64 }

// took counts a request; of another kind than VolumeUse has it does nothing. A nil meter is that of no volume.
func (m *volumeMeter) took(k Kind, nanos, bytes int64) {
	if m == nil || k == KindOther || k > KindFlush {
		return
	}
	c := &m[k]
	c.count.Add(1)
	c.nanos.Add(nanos)
	if bytes > 0 {
		c.bytes.Add(bytes)
	}
}

func (m *volumeMeter) use(k Kind) Use {
	c := &m[k]
	return Use{Count: c.count.Load(), Bytes: c.bytes.Load(), Time: time.Duration(c.nanos.Load())}
}

// leastVolumes is how many volumes are counted before anybody looks which of them are gone.
const leastVolumes = 1024

// meters are all of a mount.
type meters struct {
	mu    sync.Mutex
	all   []*meter                   // guarded by mu
	vols  map[chain.Ino]*volumeMeter // guarded by mu
	clean int                        // guarded by mu: so many volumes are looked through for those that are gone
}

func (m *meters) init() { m.vols, m.clean = make(map[chain.Ino]*volumeMeter), leastVolumes }

// next makes a meter.
func (m *meters) next() *meter {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := new(meter)
	m.all = append(m.all, n)
	return n
}

// volume is the meter of a volume that is there; nil where there is none and none is to be made.
func (m *meters) volume(ino chain.Ino, makeIt bool) *volumeMeter {
	m.mu.Lock()
	defer m.mu.Unlock()
	v := m.vols[ino]
	if v == nil && makeIt {
		v = new(volumeMeter)
		m.vols[ino] = v
	}
	return v
}

// many tells whose volumes are to be looked through, when there are many: nobody says when one is gone.
func (m *meters) many() (all []chain.Ino) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.vols) < m.clean {
		return nil
	}
	for ino := range m.vols {
		all = append(all, ino)
	}
	return all
}

// drop forgets volumes that are gone, and looks again when there are twice as many as are left.
func (m *meters) drop(gone []chain.Ino) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, ino := range gone {
		delete(m.vols, ino)
	}
	m.clean = max(leastVolumes, 2*len(m.vols))
}

// countFor makes the meter of a volume that is about to be open. It may read from the device, to find those that are gone.
func (f *FS) countFor(ino chain.Ino) *volumeMeter {
	if all := f.meters.many(); all != nil {
		var gone []chain.Ino
		for _, old := range all {
			if _, err := f.pool.GetAttr(old); (errors.Is(err, chain.ErrNotFound) || errors.Is(err, chain.ErrGone)) && f.countOf(uint64(old)) == nil {
				gone = append(gone, old)
			}
		}
		f.meters.drop(gone)
	}
	return f.meters.volume(ino, true)
}

// countOf is the meter of an open volume; nil: it is none.
func (f *FS) countOf(node uint64) *volumeMeter {
	if o := f.files.get(node); o != nil {
		return o.count
	}
	return nil
}

// Answered tells what was answered since this process began to serve, by Kind.
func (f *FS) Answered() (all [Kinds]Answered) {
	f.meters.mu.Lock()
	list := f.meters.all
	f.meters.mu.Unlock()
	for _, m := range list {
		m.add(&all)
	}
	return all
}

// VolumeUse tells what was done with a volume since this process began to serve. One that was never open was not used.
func (f *FS) VolumeUse(ino chain.Ino) (u VolumeUse) {
	if m := f.meters.volume(ino, false); m != nil {
		u = VolumeUse{Read: m.use(KindRead), Write: m.use(KindWrite), Flush: m.use(KindFlush)}
	}
	return u
}

// served counts a request that a goroutine has answered, with so many bytes read or written.
func (c *conn) served(opcode uint32, node uint64, begun, bytes int64, st fuse.Status) {
	k, nanos := kindOf(opcode), moment()-begun
	c.meter.took(k, nanos, bytes, st == fuse.EIO)
	if k >= KindRead && k <= KindFlush {
		c.fs.countOf(node).took(k, nanos, bytes)
	}
}

// answeredBy counts what was served by go-fuse, whose answer is out.
func (c *conn) answeredBy(in, out []byte, begun int64) {
	h, o, bytes := headerOf(in), (*fuse.OutHeader)(unsafe.Pointer(&out[0])), int64(0)
	if h.Opcode == codeWrite && o.Status == 0 && len(out) >= headerBytes+int(unsafe.Sizeof(fuse.WriteOut{})) {
		bytes = int64((*fuse.WriteOut)(unsafe.Pointer(&out[headerBytes])).Size)
	}
	c.served(h.Opcode, h.NodeId, begun, bytes, fuse.Status(-o.Status))
}
