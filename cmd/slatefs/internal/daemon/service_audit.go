package daemon

import (
	"context"
	"fmt"
	"time"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/control"
)

// audit reads the device of the pool while it is in use; one at a time.
func (s *Service) audit(ctx context.Context, _ control.Peer, _ control.None, tell func(control.Progress) error,
) (control.AuditInfo, error) {
	if !s.auditing.TryLock() {
		return control.AuditInfo{}, fmt.Errorf("pool %s: is being audited already", s.Pool.Name())
	}
	defer s.auditing.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	at := teller{tell: tell, failed: cancel}
	r, err := s.Pool.Audit(ctx, at.set)
	if err != nil {
		return control.AuditInfo{}, err
	}
	at.last()
	return AuditInfoOf(s.Pool.Name(), r), nil
}

// teller tells how far something is, not more often than somebody can look.
type teller struct {
	tell   func(control.Progress) error
	failed func(error) // nobody hears it
	now    control.Progress
	told   time.Time
}

// tellTime is how long it rests between two events.
const tellTime = 100 * time.Millisecond

func (t *teller) set(done, total int64) {
	t.now = control.Progress{Done: done, Total: total}
	if time.Since(t.told) < tellTime {
		return
	}
	t.last()
}

// last tells how far it came.
func (t *teller) last() {
	t.told = time.Now()
	if err := t.tell(t.now); err != nil {
		t.failed(err)
	}
}

// AuditInfoOf is a report of the pool's as it travels.
func AuditInfoOf(pool string, r *chain.AuditReport) control.AuditInfo {
	i := control.AuditInfo{
		Pool: pool, Clean: r.Clean, Lost: r.Lost, Queued: r.Queued, NotYet: r.NotYet, More: r.More,
		Found: []int64{}, Unread: []string{},
	}
	i.Found, i.Unread = append(i.Found, r.Found...), append(i.Unread, r.Unread...)
	return i
}
