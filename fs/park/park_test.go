package park

import (
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

func file(t *testing.T) *os.File {
	t.Helper()
	f, err := MemFile("test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestInit(t *testing.T) {
	f := file(t)
	must(t, Init{ID: 1, In: []byte("a longer one"), Dir: "/x"}.WriteTo(f))
	want := Init{ID: 1 << 63, In: []byte{0, 1, 255}, Out: []byte{2}, Dir: "/mnt/\xff a"}
	want.Dir = "/mnt/a b"
	must(t, want.WriteTo(f))
	got, err := ReadInit(f)
	must(t, err)
	if got.ID != want.ID || string(got.In) != string(want.In) || string(got.Out) != string(want.Out) || got.Dir != want.Dir {
		t.Errorf("%+v, want %+v", got, want)
	}
	for _, bad := range []string{"", "{}", `{"version":2}`, "x"} {
		f := file(t)
		_, _ = f.WriteString(bad)
		if _, err := ReadInit(f); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestMemory opens and closes, and looks at each step, and in the middle of each, at what a successor finds.
func TestMemory(t *testing.T) {
	f := file(t)
	m, err := NewMemory(f)
	must(t, err)
	rng := rand.New(rand.NewPCG(1, 1))
	model := map[uint64]Open{}
	all := func() []Open {
		return slices.SortedFunc(maps.Values(model), func(a, b Open) int { return int(a.Node) - int(b.Node) })
	}
	for request := uint64(2); request < 6000; request += 2 {
		node := 1 + rng.Uint64N(40)
		o := model[node]
		if o.Node = node; rng.IntN(2) == 0 && o.Readers > 0 {
			o.Readers--
		} else if rng.IntN(2) == 0 && o.Writers > 0 {
			o.Writers--
		} else if rng.IntN(2) == 0 {
			o.Readers++
		} else {
			o.Writers++
		}
		before := slices.Clone(m.words[:slotsAt+200])
		if m.Changed(request) || !m.Set(request, node, o.Readers, o.Writers) || !m.Changed(request) {
			t.Fatal("a request is not known, or before it came")
		}
		if model[node] = o; o.Readers+o.Writers == 0 {
			delete(model, node)
		}
		if rng.IntN(40) > 0 {
			continue
		}
		// It had got as far as to write down what it does, and a part of that.
		after := slices.Clone(m.words[:slotsAt+200])
		done := 0
		for i := range before {
			if i >= wRedo && before[i] != after[i] && (i < wRing || rng.IntN(2) == 0) {
				before[i] = after[i]
				done++
			}
		}
		if before[wRing] != after[wRing] { // it comes after what it counts
			before[wRing] = after[wRing] - 1
		} else {
			before[ringAt+int((after[wRing]-1)%ringLen)] = request
		}
		before[wRedo] = 1
		copy(m.words, before)
		if m, err = OpenMemory(f); err != nil {
			t.Fatal(err)
		}
		if !m.Changed(request) || !m.Changed(request-2) && request > 2 || m.Changed(request+2) {
			t.Errorf("requests around %d", request)
		}
		if got := m.All(); !slices.Equal(got, all()) {
			t.Fatalf("%v, want %v", got, all())
		}
	}
	if m.Changed(2); m.words[wRing] != 2999 {
		t.Errorf("%d requests", m.words[wRing])
	}
	if _, err := OpenMemory(file(t)); !errors.Is(err, ErrFormat) {
		t.Errorf("an empty file: %v", err)
	}
	var none *Memory
	if !none.Set(1, 1, 1, 1) || none.Changed(1) || none.Takeovers() != 0 {
		t.Error("nobody keeps it")
	}
}

// TestLives: the one request that ends its processes is refused in the fourth, all others are served.
func TestLives(t *testing.T) {
	f := file(t)
	m, err := NewMemory(f)
	must(t, err)
	const killer, others = 100, 20
	waiting := map[uint64]bool{killer: true}
	for r := uint64(2); r < 2*others; r += 2 {
		waiting[r] = true
	}
	for life := 2; life <= 4; life++ {
		if m, err = OpenMemory(f); err != nil {
			t.Fatal(err)
		}
		m.TakeOver(true)
		verdicts := map[uint64]Verdict{}
		for r := range waiting {
			verdicts[r], _ = m.Again(r)
		}
		want := map[int]Verdict{2: Serve, 3: Alone, 4: Refuse}[life]
		if verdicts[killer] != want {
			t.Errorf("life %d: %d, want %d", life, verdicts[killer], want)
		}
		alone := 0
		for r, v := range verdicts {
			switch {
			case life == 2 && r != killer && r%4 == 0, life == 4 && r != killer: // answered in time
				delete(waiting, r)
			case life == 3:
				if alone++; alone < 3 && r != killer { // one after the other, until it is the killer's turn
					m.Begin(r)
					delete(waiting, r)
				}
			case v == Refuse && r != killer:
				t.Errorf("life %d: request %d is refused", life, r)
			}
		}
		if life == 3 {
			m.Begin(killer)
		}
	}
	if m.Takeovers() != 3 || len(waiting) != 1 {
		t.Errorf("%d takeovers, %v wait", m.Takeovers(), waiting)
	}
}

// A process that was killed ends by no request.
func TestKilledLives(t *testing.T) {
	f := file(t)
	m, err := NewMemory(f)
	must(t, err)
	for range 10 {
		m.TakeOver(false)
		if v, deaths := m.Again(2); v != Serve || deaths != 0 {
			t.Fatalf("%d after %d", v, deaths)
		}
		if m, err = OpenMemory(f); err != nil {
			t.Fatal(err)
		}
	}
	m.TakeOver(true)
	if v, deaths := m.Again(2); v != Serve || deaths != 1 {
		t.Errorf("%d after %d", v, deaths)
	}
}
