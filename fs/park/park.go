// Package park is what the kernel knows of a mount and its daemon does not have on disk: in files that somebody else keeps open,
// so that a successor of the daemon goes on with them. Who keeps them is not known here.
//
//	fuse        /dev/fuse: the connection. The mount lives as long as anybody holds it
//	fuse-init   a memory file: how the connection was opened, and what was agreed on (Init)
//	fuse-opens  a memory file: what is open, and the requests that were sent again (Memory)
//	fuse-clone-N, N from 0: clones of the connection, if there are any: what was read from one is failed when nobody holds it
//
// What holds here:
//
//   - The files are good at every instant at which their process may end (memory.go).
//   - How often something is open is exact: an OPEN or RELEASE that is sent again counts once.
//   - A request that ends three processes is answered EIO, and no other is (lives.go).
package park

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Names of the files, as whoever keeps them knows them.
const (
	FuseName  = "fuse"
	InitName  = "fuse-init"
	OpensName = "fuse-opens"
)

// CloneName is the name of a clone, by number from 0.
func CloneName(i int) string { return fmt.Sprintf("fuse-clone-%d", i) }

// ErrFormat is for files that this program can't go on with.
var ErrFormat = errors.New("what the last daemon left is not understood")

// Init is how a connection was opened. A successor goes on with it, whatever it would have asked for itself.
type Init struct {
	Version int    `json:"version"`
	ID      uint64 `json:"id"`  // of the connection: a number that no other has
	In      []byte `json:"in"`  // the kernel's INIT
	Out     []byte `json:"out"` // what it was answered
	Dir     string `json:"dir"` // mountpoint
}

// InitVersion is the version of an Init.
const InitVersion = 1

// MemFile makes an empty memory file.
func MemFile(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate("slatefs-"+name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memory file %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// WriteTo writes an Init to a file of its own.
func (i Init) WriteTo(f *os.File) error {
	i.Version = InitVersion
	b, err := json.Marshal(i)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(b, 0); err != nil {
		return err
	}
	return f.Truncate(int64(len(b)))
}

// maxInit bounds an Init, in bytes.
const maxInit = 64 << 10

// ReadInit reads what WriteTo wrote.
func ReadInit(f *os.File) (i Init, err error) {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, maxInit))
	if err == nil {
		err = json.Unmarshal(b, &i)
	}
	switch {
	case err != nil:
		return i, fmt.Errorf("%s: %w: %w", InitName, ErrFormat, err)
	case i.Version != InitVersion:
		return i, fmt.Errorf("%s: version %d, want %d: %w", InitName, i.Version, InitVersion, ErrFormat)
	}
	return i, nil
}
