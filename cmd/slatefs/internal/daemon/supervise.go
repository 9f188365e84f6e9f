package daemon

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"
)

// part is something that runs as long as the daemon does. run returns soon after ctx ended; when it returns before,
// the daemon ends, with its error unless that is errOver.
type part struct {
	name string
	run  func(ctx context.Context) error
}

// errOver is how a part ends the daemon without an error.
var errOver = errors.New("over")

// supervise runs parts, started in the order given, until one of them ends. It then stops the others, the last one
// started first, each after the one before it has ended. ctx carries values only: its end stops nothing.
func supervise(ctx context.Context, parts []part) error {
	g, over := errgroup.WithContext(context.WithoutCancel(ctx))
	cancel := make([]context.CancelFunc, len(parts))
	done := make([]chan struct{}, len(parts))
	errs := make([]error, len(parts))
	for i, p := range parts {
		var own context.Context
		own, cancel[i] = context.WithCancel(context.WithoutCancel(ctx))
		done[i] = make(chan struct{})
		g.Go(func() error {
			defer close(done[i])
			err := p.run(own)
			switch {
			case errors.Is(err, errOver):
				return errOver
			case own.Err() != nil && err == nil:
				return nil
			case err == nil:
				err = errors.New("ended by itself")
			}
			errs[i] = fmt.Errorf("%s: %w", p.name, err)
			return errs[i]
		})
	}
	g.Go(func() error {
		<-over.Done()
		for i := len(parts) - 1; i >= 0; i-- {
			cancel[i]()
			<-done[i]
		}
		return nil
	})
	if err := g.Wait(); !errors.Is(err, errOver) {
		return err
	}
	return errors.Join(errs...)
}
