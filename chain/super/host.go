package super

import (
	"encoding/binary"
	"fmt"
	"time"
)

// Host says who holds a pool. The zero Host is nobody.
type Host struct {
	Machine [16]byte  // of the machine, for good
	Since   time.Time // when it opened the pool
	Name    string    // at most MaxHostName bytes count
}

// MaxHostName bounds the bytes of a host's name in the superblock.
const MaxHostName = 64

// The host's place in the superblock, behind the pool's name.
const (
	hostAt    = 520 // 16 bytes machine, 8 since, 1 length of the name, name; zero: nobody
	hostBytes = 16 + 8 + 1 + MaxHostName
)

func (h *Host) marshal(b []byte) {
	if *h == (Host{}) {
		return
	}
	name := h.Name[:min(len(h.Name), MaxHostName)]
	copy(b, h.Machine[:])
	if !h.Since.IsZero() {
		binary.LittleEndian.PutUint64(b[16:], uint64(h.Since.UnixNano()))
	}
	b[24] = byte(len(name))
	copy(b[25:], name)
}

func (h *Host) unmarshal(b []byte) error {
	*h = Host{}
	n := int(b[24])
	if n > MaxHostName {
		return fmt.Errorf("superblock: host's name of %d bytes: %w", n, ErrCorrupt)
	}
	copy(h.Machine[:], b)
	if ns := int64(binary.LittleEndian.Uint64(b[16:])); ns != 0 {
		h.Since = time.Unix(0, ns)
	}
	h.Name = string(b[25 : 25+n])
	return nil
}

// None tells that nobody holds the pool.
func (h Host) None() bool { return h.Machine == [16]byte{} }

// Same tells whether two are one opening of one machine.
func (h Host) Same(o Host) bool {
	return h.Machine == o.Machine && h.Since.Equal(o.Since)
}

// String names the host and since when it holds the pool.
func (h Host) String() string {
	return fmt.Sprintf("%s (machine %x) since %s", h.Name, h.Machine, h.Since.UTC().Format(time.RFC3339))
}

// MayHold refuses, as ErrHeld, a pool that another host than that machine holds; zero is a machine that is none of them.
func (s *Block) MayHold(machine [16]byte) error {
	if s.Host.None() || s.Host.Machine == machine {
		return nil
	}
	return fmt.Errorf("pool %s is held by host %v: %w", s.Name, s.Host, ErrHeld)
}
