package chain

import (
	"fmt"
	"testing"
)

// The last 4096 results of requests survive restarts of both kinds, in their order.
func TestAnswers(t *testing.T) {
	p := openPool(t, newDisk(t, 16<<20))
	expectLast := func(last uint64) {
		t.Helper()
		first := max(1, int64(last)-answersKept+1)
		if n := int64(len(p.names.answers.last())); n != int64(last)-first+1 {
			t.Fatalf("after %d requests %d answers", last, n)
		}
		for i := range p.names.answers.last() {
			a := p.names.answers.last()[i]
			if a.unique != uint64(first)+uint64(i) || a.ino != Ino(2+(a.unique-1)/3) {
				t.Fatalf("answer %d is of request %d: inode %d", i, a.unique, a.ino)
			}
		}
	}
	n := uint64(0)
	for round, upTo := range []uint64{9, 30, answersKept - 5, answersKept + 700, 2*answersKept + 1} {
		for n < upTo { // three answers for each inode
			name := fmt.Sprint(n)
			_, err := p.Create(Req{Unique: n + 1}, RootIno, name, 0)
			ok(t, err)
			ok(t, p.Rename(Req{Unique: n + 2}, RootIno, name, RootIno, "x", 0))
			ok(t, p.Unlink(Req{Unique: n + 3}, RootIno, "x"))
			_, err = p.Create(Req{Unique: 0}, RootIno, ".snap", 0) // refused: no answer
			wantErr(t, ".snap", err, ErrPerm)
			n += 3
		}
		expectLast(n)
		p = again(t, p, round%2 == 0)
		expectLast(n)
	}
}

func TestAnswerOfEachKind(t *testing.T) {
	p := openPool(t, newDisk(t, 2<<20))
	plant(t, p, "d/")
	var want []Ino
	for i, do := range []func(r Req) (Ino, error){
		func(r Req) (Ino, error) { a, err := p.Mkdir(r, 2, "e", 0o700); return a.Ino, err },
		func(r Req) (Ino, error) { return 3, p.Rmdir(r, 2, "e") },
		func(r Req) (Ino, error) { a, err := p.Symlink(r, 2, "l", "x"); return a.Ino, err },
		func(r Req) (Ino, error) { return 4, p.Unlink(r, 2, "l") },
		func(r Req) (Ino, error) { return 0, p.Unlink(r, 2, "l") }, // refused
	} {
		ino, err := do(Req{Unique: uint64(100 + i)})
		if err == nil {
			want = append(want, ino)
		}
	}
	if len(p.names.answers.last()) != len(want) {
		t.Fatalf("%+v", p.names.answers.last())
	}
	for i, a := range p.names.answers.last() {
		if a.unique != uint64(100+i) || a.ino != want[i] {
			t.Errorf("%+v, want inode %d", a, want[i])
		}
	}
}
