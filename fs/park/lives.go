package park

import (
	"sync"
	"sync/atomic"

	"slatefs/chain/fault"
)

// The kernel sends again what a daemon has read and not answered. One of these requests may be what ended it, and would end
// every successor. Which one it is nobody knows, so it is found out:
//
//	life 1  it came for the first time, among others; the process ends by a fault of its own
//	life 2  all that was not answered is sent again, and served as ever; it ends again
//	life 3  what is sent again now was there both times, and is served one by one: each is noted when it begins
//	life 4  what had begun then is answered EIO. The others were not begun, or are answered: they go on
//
// A process that was killed has not ended by a request of its own: its end does not count.

// MaxDeaths is how many processes a request may end.
const MaxDeaths = 3

// lives is what this process knows of the requests that were sent again.
type lives struct {
	mu     sync.Mutex
	before map[uint64]uint64 // of the last life: deaths << 1 | begun
	fault  bool              // it ended by itself
	mine   map[uint64]int    // entries of this life
}

// Verdict says how to serve a request that was sent again.
type Verdict uint8

// The verdicts.
const (
	Serve  Verdict = iota + 1 // as ever
	Alone                     // one at a time, Begin first
	Refuse                    // with EIO
)

// TakeOver begins a life: the one before ended by a fault of its own, or was ended. It comes before anything is sent again.
func (m *Memory) TakeOver(byFault bool) {
	m.lives.mu.Lock()
	defer m.lives.mu.Unlock()
	old := m.words[wLives]
	m.lives.before, m.lives.mine, m.lives.fault = map[uint64]uint64{}, map[uint64]int{}, byFault
	for i := range min(m.words[wLivesLen+old], livesLen) {
		e := m.entry(old, int(i))
		m.lives.before[e[0]] = e[1]
	}
	m.words[wLivesLen+1-old] = 0
	atomic.StoreUint64(&m.words[wLives], 1-old)
	atomic.AddUint64(&m.words[wTakeovers], 1)
}

func (m *Memory) entry(list uint64, i int) []uint64 {
	return m.words[livesAt+2*(int(list)*livesLen+i):][:2]
}

// Again says what to do with a request that was sent again, and notes that it was. It is called once for each.
func (m *Memory) Again(request uint64) (v Verdict, deaths int) {
	m.lives.mu.Lock()
	defer m.lives.mu.Unlock()
	old, known := m.lives.before[request]
	n := old >> 1
	if m.lives.fault && (!known || old&1 != 0) {
		n++
	}
	switch v = Serve; {
	case n >= MaxDeaths:
		v = Refuse
	case n == MaxDeaths-1:
		v = Alone
	}
	i := m.words[wLivesLen+m.words[wLives]]
	if i >= livesLen {
		return v, int(n) // it will be taken for one that comes for the first time
	}
	e := m.entry(m.words[wLives], int(i))
	if e[0], e[1] = request, n<<1; v == Serve {
		e[1] |= 1
	}
	m.lives.mine[request] = int(i)
	atomic.StoreUint64(&m.words[wLivesLen+m.words[wLives]], i+1)
	return v, int(n)
}

// Begin notes that a request is being served now, of which Again said Alone.
func (m *Memory) Begin(request uint64) {
	m.lives.mu.Lock()
	defer m.lives.mu.Unlock()
	i, ok := m.lives.mine[request]
	if !ok {
		return
	}
	e := m.entry(m.words[wLives], i)
	if e[0] != request {
		fault.Misuse("request %d is not in entry %d", request, i)
	}
	atomic.StoreUint64(&e[1], e[1]|1)
}
