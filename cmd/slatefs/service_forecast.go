package main

import (
	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/control"
)

// forecastDestroy tells what a destroy would free, and when that would be erased, if nothing else comes and nobody waits
// for clean blocks.
func (s *service) forecastDestroy(ino chain.Ino, names []string, o chain.DestroyOptions) (*control.DestroyForecast, error) {
	f, err := s.pool.ForecastDestroy(ino, names, o)
	if err != nil {
		return nil, err
	}
	u, e := s.pool.Usage(), s.eraser.Stats()
	d := &control.DestroyForecast{Frees: f.Freed, Kept: f.Kept, SeenBy: f.SeenBy, None: f.None, Rate: e.Rate, Paused: e.Paused}
	queue := u.Dirty - u.Unscheduled + u.Freeing + f.Freed - f.None
	if v, err := s.pool.Prop(chain.RootIno, chain.PropDestroyDelay); err == nil && v.Value != "0" && !o.Now {
		d.Delay = v.Value
	}
	if e.Rate > 0 {
		d.Done = endOf(e, s.now(), queue)
	}
	return d, nil
}
