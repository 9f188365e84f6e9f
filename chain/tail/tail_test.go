package tail

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"slatefs/chain/journal"
)

const testRing, testSalt = 256 << 10, 0x5a17

func memFile(t *testing.T, content []byte) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate("tail", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "tail")
	t.Cleanup(func() { _ = f.Close() })
	if _, err := f.Write(content); err != nil {
		t.Fatal(err)
	}
	return f
}

// model is a journal and a tail, as they must be.
type model struct {
	at         journal.Pos
	last       []byte
	cutting    bool
	cut, waits []byte // published
	more       []byte // not published
}

// left is what a successor must find, with the journal of this moment or, if a batch is being written, with it in the journal.
func (m *model) left(written bool) (journal.Pos, []byte, []byte) {
	if m.cutting && written {
		return journal.Pos{Seq: m.at.Seq + 1, Sum: m.at.Sum + 17}, m.cut, m.waits
	}
	return m.at, m.last, append(bytes.Clone(m.cut), m.waits...)
}

// TestTail: whenever a process ends, its successor finds what was published and is in no batch of the journal, in order.
func TestTail(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	f := memFile(t, []byte("what was there before"))
	m := &model{at: journal.Pos{Seq: 7, Sum: 99}}
	tl, err := Create(f, testRing, testSalt, m.at)
	if err != nil {
		t.Fatal(err)
	}
	cuts, undone := 0, 0
	for range 600 {
		switch k := rng.IntN(10); {
		case k < 4:
			b := bytes.Repeat([]byte{byte(rng.Uint32())}, rng.IntN([]int{10, 300, 9 << 10}[rng.IntN(3)]))
			if len(m.cut)+len(m.waits)+len(m.more)+len(b) > testRing {
				continue
			}
			tl.Add(b)
			m.more = append(m.more, b...)
		case k < 7:
			tl.Publish()
			m.waits, m.more = append(m.waits, m.more...), nil
		case !m.cutting:
			tl.Cut()
			m.cutting, m.cut, m.waits, m.more = true, append(m.waits, m.more...), nil, nil
			cuts++
		case k < 9:
			m.at, m.last, _ = m.left(true)
			tl.Done(m.at)
			m.cutting, m.cut = false, nil
		default:
			tl.Undo()
			m.cutting, m.waits, m.cut, m.more = false, append(append(m.cut, m.waits...), m.more...), nil, nil
			undone++
		}
		image := bytes.Clone(tl.mem)
		for _, written := range []bool{false, true} {
			at, last, want := m.left(written)
			next, err := Open(memFile(t, image), testSalt)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second one is the successor's successor
				got, err := next.Join(at, last)
				if err != nil || !bytes.Equal(got, want) {
					t.Fatalf("%d bytes, want %d: %v", len(got), len(want), err)
				}
			}
			if m.cutting && written {
				next, _ = Open(memFile(t, image), testSalt)
				if _, err := next.Join(at, append(bytes.Clone(last), 1)); !errors.Is(err, ErrForeign) {
					t.Fatalf("another batch than was cut: %v", err)
				}
			}
			if _, err := next.Join(journal.Pos{Seq: at.Seq, Sum: at.Sum + 1}, append(bytes.Clone(last), 1)); !errors.Is(err, ErrForeign) {
				t.Fatalf("another journal: %v", err)
			}
			if err := next.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if cuts < 20 || undone < 5 {
		t.Errorf("%d cuts, %d undone", cuts, undone)
	}
}

// A file that is no tail of this pool is refused.
func TestOpenRefuses(t *testing.T) {
	f := memFile(t, nil)
	tl, err := Create(f, testRing, testSalt, journal.Pos{})
	if err != nil {
		t.Fatal(err)
	}
	good := bytes.Clone(tl.mem)
	with := func(word int, val byte) []byte {
		b := bytes.Clone(good)
		b[8*word] = val
		return b
	}
	for name, c := range map[string]struct {
		mem  []byte
		want error
	}{
		"good":    {good, nil},
		"empty":   {nil, ErrFormat},
		"short":   {good[:areas-1], ErrFormat},
		"cut":     {good[:len(good)-areas], ErrFormat},
		"unmade":  {with(wMagic, 0), ErrFormat},
		"version": {with(wVersion, 2), ErrFormat},
		"state":   {with(wState, 2), ErrFormat},
		"length":  {func() []byte { b := with(wLen, 1); b[8*wLen+7] = 1; return b }(), ErrFormat},
		"pool":    {with(wSalt, 0), ErrForeign},
	} {
		_, err := Open(memFile(t, c.mem), testSalt)
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// Who has no tail has nothing to do.
func TestNil(t *testing.T) {
	var tl *Tail
	tl.Add([]byte("x"))
	tl.Publish()
	tl.Cut()
	tl.Undo()
	tl.Done(journal.Pos{Seq: 1})
	if err := tl.Close(); err != nil {
		t.Error(err)
	}
}

// An area that was large gives its memory back, and is used again.
func TestTrim(t *testing.T) {
	f := memFile(t, nil)
	tl, err := Create(f, 3<<20, testSalt, journal.Pos{})
	if err != nil {
		t.Fatal(err)
	}
	held := func() int64 {
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil {
			t.Fatal(err)
		}
		return st.Blocks * 512
	}
	for seq := uint64(1); seq < 5; seq++ {
		b := bytes.Repeat([]byte{byte(seq)}, 2<<20)
		tl.Add(b)
		tl.Cut()
		if n := held(); n < 2<<20 {
			t.Errorf("%d bytes of memory", n)
		}
		got, err := tl.Join(journal.Pos{Seq: seq - 1}, nil)
		if err != nil || !bytes.Equal(got, b) {
			t.Fatalf("%d bytes: %v", len(got), err)
		}
		tl.Cut()
		tl.Done(journal.Pos{Seq: seq})
		if n := held(); n > 2*keepBytes+areas {
			t.Errorf("%d bytes of memory are kept", n)
		}
	}
}
