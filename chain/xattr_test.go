package chain

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"slatefs/chain/blockdev/devtest"
	"slatefs/chain/super"
)

func TestXattr(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	plant(t, p, "f", "d/", "l>x") // 2 to 4
	long := "user." + strings.Repeat("n", MaxName-5)
	for _, c := range []struct {
		name string
		val  int // bytes
		flag XattrFlag
		err  error
	}{
		{"user.a", 3, 0, nil},
		{"user.a", 4, XattrCreate, ErrExist},
		{"user.a", 5, XattrReplace, nil},
		{"user.b", 1, XattrReplace, ErrNoAttr},
		{"user.b", 0, XattrCreate, nil},
		{"user.big", MaxXattr, 0, nil},
		{"user.big", MaxXattr + 1, 0, ErrTooBig},
		{"user.big", 990, 0, nil}, // fewer parts
		{"user.edge", 1000 - 10, 0, nil},
		{"user.edge", 1000 - 11, 0, nil},
		{"user.edge", 2000 - 11, XattrReplace, nil},
		{long, 1, 0, nil},
		{long + "n", 1, 0, ErrUnsupported},
		{"user.", 1, 0, ErrUnsupported},
		{"trusted.a", 1, 0, ErrUnsupported},
		{"security.a", 1, 0, ErrUnsupported},
		{"", 1, 0, ErrUnsupported},
	} {
		for ino := Ino(2); ino <= 4; ino++ {
			before, _ := p.GetXattr(ino, c.name)
			val := bytes.Repeat([]byte{byte('0' + ino)}, c.val)
			wantErr(t, fmt.Sprintf("%.20s of %d", c.name, c.val), p.SetXattr(Req{}, ino, c.name, val, c.flag), c.err)
			if c.err != nil {
				val = before
			}
			if got, _ := p.GetXattr(ino, c.name); !bytes.Equal(got, val) {
				t.Errorf("%.20s: %d bytes, want %d", c.name, len(got), len(val))
			}
		}
	}
	want := []string{"user.a", "user.b", "user.big", "user.edge", long}
	slices.Sort(want)
	for round := range 3 {
		for ino := Ino(2); ino <= 4; ino++ {
			names, err := p.ListXattr(ino)
			ok(t, err)
			if slices.Sort(names); !slices.Equal(names, want) {
				t.Errorf("round %d: names %.80q", round, names)
			}
			for name, n := range map[string]int{"user.a": 5, "user.b": 0, "user.big": 990, "user.edge": 1989} {
				if got, err := p.GetXattr(ino, name); err != nil || !bytes.Equal(got, fill(byte('0'+ino), n)) {
					t.Errorf("round %d: %s: %d bytes, %v", round, name, len(got), err)
				}
			}
		}
		p = again(t, p, round == 0)
	}
	for _, name := range []string{"user.a", "user.big", "user.edge"} {
		ok(t, p.RemoveXattr(Req{}, 2, name))
		wantErr(t, "removed twice", p.RemoveXattr(Req{}, 2, name), ErrNoAttr)
		_, err := p.GetXattr(2, name)
		wantErr(t, "a removed one", err, ErrNoAttr)
	}
	wantErr(t, "remove", p.RemoveXattr(Req{}, 2, "system.x"), ErrUnsupported)
	_, err := p.GetXattr(2, "system.x")
	wantErr(t, "get", err, ErrUnsupported)
	if names, _ := p.ListXattr(2); len(names) != 2 {
		t.Errorf("left: %.80q", names)
	}
	if names, _ := p.ListXattr(3); len(names) != 5 {
		t.Errorf("of another inode: %.80q", names)
	}
}

// An inode takes its attributes with it, from memory and from the device.
func TestXattrGoesWithItsInode(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	plant(t, p, "f")
	ok(t, p.SetXattr(Req{}, 2, "user.secret", fill('S', 3000), 0))
	ok(t, p.Checkpoint())
	inPages(t, p, 'S', true)
	ok(t, p.Unlink(Req{}, RootIno, "f"))
	if names, err := p.ListXattr(2); len(names) != 0 || !errors.Is(err, ErrGone) {
		t.Errorf("%q, %v", names, err)
	}
	for range super.Slots {
		ok(t, p.Checkpoint())
	}
	inPages(t, p, 'S', false) // invariant 7
}

// inPages tells whether a text of one character lies on the device, the ring of the journal aside.
func inPages(t testing.TB, p *Pool, c byte, want bool) {
	t.Helper()
	for _, at := range p.dev.(*devtest.Disk).Find(fill(c, 64)) {
		if at >= super.Slots*BlockSize+p.format.Ring {
			if !want {
				t.Errorf("%c is in the page at %d", c, at)
			}
			return
		}
	}
	if want {
		t.Errorf("%c is in no page", c)
	}
}

// An inode that does not exist gets no attributes.
func TestXattrOfNothing(t *testing.T) {
	p := openPool(t, newDisk(t, 2<<20))
	wantErr(t, "set", p.SetXattr(Req{}, 99, "user.a", []byte("x"), 0), ErrNotFound)
	if _, err := p.GetXattr(99, "user.a"); err == nil {
		t.Error("it was set all the same")
	}
}
