package daemon

import (
	"context"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/control"
)

// events tells what happened, and what happens from now on, if asked to, until who asks has gone.
func (s *Service) events(ctx context.Context, _ control.Peer, args control.EventsArgs, tell func([]control.Event) error,
) (control.EventsInfo, error) {
	from, seq := max(args.From, 1), uint64(0)
	for {
		others, last, news := s.chronicle.others(seq)
		err := s.chronicle.kept(from, func(es []control.Event) error {
			from = es[len(es)-1].ID + 1
			return tell(es)
		})
		if err == nil && len(others) > 0 {
			err = tell(others)
		}
		seq = last
		if err != nil || !args.Follow {
			return s.chronicle.info(), err
		}
		select {
		case <-news:
		case <-ctx.Done():
			return s.chronicle.info(), nil
		}
	}
}

// info is what is known of the log as a whole.
func (c *chronicle) info() control.EventsInfo {
	st, err := chain.EventsOf(c.pool).State()
	c.mu.Lock()
	defer c.mu.Unlock()
	i := control.EventsInfo{First: st.First, Last: st.Durable, Lost: c.lost, Trouble: c.why}
	if err != nil {
		i.Trouble = err.Error()
	}
	return i
}

// Events lists the events of a pool that is not mounted.
func Events(p *chain.Pool) (out []control.Event, info control.EventsInfo, err error) {
	st, err := chain.EventsOf(p).State()
	if err == nil {
		err = keptEvents(p, 1, func(es []control.Event) error { out = append(out, es...); return nil })
	}
	return out, control.EventsInfo{First: st.First, Last: st.Durable}, err
}
