package chain

import (
	"errors"
	"testing"
)

// TestMaxSize: what a volume accepts a map must be able to hold, else the next checkpoint fails.
func TestMaxSize(t *testing.T) {
	p := openPool(t, newDisk(t, 8<<20))
	v := mustVolume(t, p, "big", MaxSize)
	write(t, v, fill('z', 8192), MaxSize-8192)
	if _, err := v.WriteAt(fill('z', 8192), MaxSize-4096); !errors.Is(err, ErrTooBig) {
		t.Errorf("write over the end: %v", err)
	}
	if err := v.Truncate(MaxSize + 1); !errors.Is(err, ErrTooBig) {
		t.Errorf("truncate over the end: %v", err)
	}
	if err := p.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	expect(t, v, MaxSize-8192, fill('z', 8192))
	expect(t, v, MaxSize-12288, fill(0, 4096))
}

// TestNamesOfOneHash: names that share a row, as somebody could make them, are refused before the row is too long.
func TestNamesOfOneHash(t *testing.T) {
	p := openPool(t, newDisk(t, 8<<20))
	name := string(fill('n', 255))
	var es []nameEntry
	for i := range 3 { // their hash is another one, which only check would see
		es = append(es, nameEntry{string(fill(byte('a'+i), 255)), Ino(100 + i), TypeFile})
	}
	p.names.cat.Put(nameKey(RootIno, name), marshalNames(es))
	if _, err := p.Create(Req{}, RootIno, name, 0o600); !errors.Is(err, ErrNoSpace) {
		t.Errorf("create: %v", err)
	}
	mustVolume(t, p, "short", 0)
	if err := p.Rename(Req{}, RootIno, "short", RootIno, name, 0); !errors.Is(err, ErrNoSpace) {
		t.Errorf("rename: %v", err)
	}
	if _, err := p.Mkdir(Req{}, RootIno, "fits", 0o700); err != nil {
		t.Error(err)
	}
	p.names.cat.Put(nameKey(RootIno, name), nil)
	if err := p.Checkpoint(); err != nil {
		t.Error(err)
	}
}
