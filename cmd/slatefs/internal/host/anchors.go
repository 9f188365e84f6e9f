package host

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/google/uuid"
)

// What a pool's erase log came to is kept on the host too, as signed lines that somebody may copy elsewhere: a pool that is put back to
// an older state has them no more, and this host knows.

// AnchorPath is the file of a pool's anchors, a line each.
func (h Host) AnchorPath(id uuid.UUID) string {
	return filepath.Join(h.State, "anchors", id.String()+".jsonl")
}

// EndPath is where the certificate of a pool's end is kept.
func (h Host) EndPath(id uuid.UUID) string {
	return filepath.Join(h.State, "ended", id.String()+".json")
}

// MaxAnchors bounds what is read of a file of anchors, in bytes.
const MaxAnchors = 64 << 20

// Anchors are the lines that this host keeps of a pool; none if there is no file.
func (h Host) Anchors(id uuid.UUID) ([]byte, error) {
	f, err := os.Open(h.AnchorPath(id))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() //nolint:errcheck // it was only read
	b, err := io.ReadAll(io.LimitReader(f, MaxAnchors+1))
	if err == nil && len(b) > MaxAnchors {
		err = fmt.Errorf("%s: has more than %d bytes", f.Name(), MaxAnchors)
	}
	return b, err
}

// AddAnchor appends a line to a pool's anchors, durably. What a crash left of another one is cut off first.
func (h Host) AddAnchor(id uuid.UUID, line []byte) (err error) {
	path := h.AnchorPath(id)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	end, err := endOfLines(f)
	if err == nil {
		err = f.Truncate(end)
	}
	if err == nil {
		_, err = f.WriteAt(line, end)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil && end == 0 {
		err = SyncDir(filepath.Dir(path))
	}
	return err
}

// endOfLines is where the last whole line of a file ends. Lines have at most 4 KiB.
func endOfLines(f *os.File) (int64, error) {
	st, err := f.Stat()
	if err != nil || st.Size() == 0 {
		return 0, err
	}
	tail := make([]byte, min(st.Size(), 4096))
	if _, err := f.ReadAt(tail, st.Size()-int64(len(tail))); err != nil {
		return 0, err
	}
	return st.Size() - int64(len(tail)) + int64(bytes.LastIndexByte(tail, '\n')+1), nil
}

// KeepEnd keeps the certificate of a pool's end, durably.
func (h Host) KeepEnd(id uuid.UUID, b []byte) error {
	path := h.EndPath(id)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := WriteWhole(path, b, 0o600); err != nil {
		return err
	}
	return SyncDir(h.State)
}
