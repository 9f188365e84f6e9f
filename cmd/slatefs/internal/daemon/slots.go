package daemon

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"slatefs/chain"
	"slatefs/chain/blockdev"
)

// slots looks now and then whether both superblocks of the pool are there. One that the device has lost is written anew when the
// pool writes its next but one, so that it has to be seen before that: it says something of the device.
type slots struct {
	dev  *blockdev.File
	pool uuid.UUID
	log  *slog.Logger

	mu        sync.Mutex
	lost      []string
	rewritten []string // that were lost once, and are not any more
}

const (
	slotsTime  = 10 * time.Second       // between two looks
	slotsAgain = 100 * time.Millisecond // what was being written just then is whole after that
	slotsTries = 3
	maxSlots   = 16 // of rewritten that are shown
)

func (s *slots) run(ctx context.Context) error {
	for ctx.Err() == nil {
		s.note(s.look(ctx))
		rest(ctx, slotsTime)
	}
	return nil
}

// look reads the superblocks. What it calls lost was so each time.
func (s *slots) look(ctx context.Context) (lost []string) {
	for try := range slotsTries {
		again := chain.LostSuperblocks(s.dev, s.pool)
		if try > 0 {
			again = slices.DeleteFunc(again, func(text string) bool { return !slices.Contains(lost, text) })
		}
		if lost = again; len(lost) == 0 {
			return nil
		}
		rest(ctx, slotsAgain)
	}
	return lost
}

// note compares what is lost with what was.
func (s *slots) note(lost []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, text := range lost {
		if !slices.Contains(s.lost, text) {
			s.log.Error("the device has lost a superblock; the other one is whole", "device", s.dev.Path(), "superblock", text)
		}
	}
	for _, text := range s.lost {
		if !slices.Contains(lost, text) && !slices.Contains(s.rewritten, text) && len(s.rewritten) < maxSlots {
			s.rewritten = append(s.rewritten, text)
		}
	}
	s.lost = lost
}

func (s *slots) state() (lost, rewritten []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.lost), slices.Clone(s.rewritten)
}
