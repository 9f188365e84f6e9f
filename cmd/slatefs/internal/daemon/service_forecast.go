package daemon

import (
	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/control"
)

// forecastDestroy tells what a destroy would free, and when that would be erased, if nothing else comes and nobody waits
// for clean blocks.
func (s *Service) forecastDestroy(of func() (chain.DestroyForecast, error), o chain.DestroyOptions) (*control.DestroyForecast, error) {
	f, err := of()
	if err != nil {
		return nil, err
	}
	u, e := s.Pool.Usage(), s.Eraser.Stats()
	d := &control.DestroyForecast{Frees: f.Freed, Kept: f.Kept, SeenBy: f.SeenBy, None: f.None, Rate: e.Rate, Paused: e.Paused}
	queue := u.Dirty - u.Unscheduled + u.Freeing + f.Freed - f.None
	if v, err := s.Pool.Prop(chain.RootIno, chain.PropDestroyDelay); err == nil && v.Value != "0" && !o.Now {
		d.Delay = v.Value
	}
	if e.Rate > 0 {
		d.Done = endOf(e, s.Now(), queue)
	}
	return d, nil
}

// forecastOf turns a forecast of the pool into what is shown, or into the refusal.
func forecastOf(f chain.Forecast) ([]string, error) {
	if f.Err != nil {
		return nil, f.Err
	}
	return []string{f.String()}, nil
}
