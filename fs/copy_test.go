package fs

import (
	"bytes"
	"testing"
)

// writerAt keeps what is written, from offset 0 on.
type writerAt struct{ b []byte }

func (w *writerAt) WriteAt(b []byte, off int64) (int, error) {
	w.b = append(w.b[:off], b...)
	return len(b), nil
}

func TestCopyThatIsInterruptedMakesProgress(t *testing.T) {
	interrupted := make(chan struct{})
	close(interrupted)
	want := pattern(3*copyChunk, 1)
	var dst writerAt
	for len(dst.b) < len(want) {
		at := int64(len(dst.b))
		n, err := copyRange(interrupted, &dst, at, bytes.NewReader(want), at, int64(len(want))-at)
		if err != nil || n <= 0 || n > copyChunk {
			t.Fatalf("at %d: %d, %v", at, n, err)
		}
	}
	if !bytes.Equal(dst.b, want) {
		t.Error("content differs")
	}
}
