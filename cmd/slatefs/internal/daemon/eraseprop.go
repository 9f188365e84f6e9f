package daemon

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"slatefs/chain"
	"slatefs/chain/blockdev"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/erase"
)

// eraseDevice is a device that is erased.
type eraseDevice interface{ Methods() []blockdev.Method }

// Offered refuses a method that a device does not have.
func Offered(dev eraseDevice, settings []control.Setting) error {
	for _, s := range settings {
		if s.Name != erase.PropMethod || s.Inherit {
			continue
		}
		if m, err := blockdev.ParseMethod(s.Value); err == nil { // what is no word at all is refused by its name
			if err := erase.Offers(dev, m); err != nil {
				return fmt.Errorf("%s: %w", s.Name, err)
			}
		}
	}
	return nil
}

// EraseSettings are the properties of a pool as the eraser takes them.
type EraseSettings struct {
	rate, reserve, idle int64 // bytes/s, bytes, bytes/s
	Method              blockdev.Method
	verify              blockdev.Verify
	window              *erase.Window
	paused              bool
}

// EraseSettingsOf reads them.
func EraseSettingsOf(p *chain.Pool) (s EraseSettings, err error) {
	var errs []error
	get := func(name string) string {
		v, err := p.Prop(chain.RootIno, name)
		errs = append(errs, err)
		return v.Value
	}
	number := func(name string) int64 {
		text := get(name)
		if text == "none" {
			return 0
		}
		n, err := strconv.ParseInt(text, 10, 64)
		errs = append(errs, err)
		return n
	}
	s.rate, s.reserve, s.idle = number(erase.PropThroughput), number(erase.PropReserve), number(erase.PropIdle)
	s.paused = get(erase.PropPaused) == "on"
	s.Method, err = blockdev.ParseMethod(get(erase.PropMethod))
	errs = append(errs, err)
	s.verify, err = blockdev.ParseVerify(get(erase.PropVerify))
	errs = append(errs, err)
	s.window, err = erase.ParseWindow(get(erase.PropWindow), time.Local)
	if err := errors.Join(append(errs, err)...); err != nil {
		return s, fmt.Errorf("pool %s: properties: %w", p.Name(), err)
	}
	return s, nil
}

// apply makes an eraser work by them. A method that was set and that this device does not have, for the pool was copied
// to it, is none to fail for: what erases at least as well is taken, and told.
func (s EraseSettings) apply(e *erase.Eraser, told func(error)) error {
	err := e.SetMethod(s.Method)
	if errors.Is(err, erase.ErrMethod) {
		told(err)
		err = e.SetMethod(blockdev.Auto)
	}
	e.SetRate(s.rate)
	e.SetReserve(s.reserve, s.idle)
	e.SetVerify(s.verify)
	e.SetWindow(s.window)
	e.SetPaused(s.paused)
	return err
}

// applyProps brings the pool's properties to those who work by them. What this mount was told goes before them.
func (s *Service) applyProps() error {
	set, err := EraseSettingsOf(s.Pool)
	if err != nil {
		return err
	}
	if s.verify != nil {
		set.verify = *s.verify
	}
	s.Pool.Log().SetExport(logExport(hostWord(s.Own, chain.PropLogExport), s.avoid))
	if s.grower != nil {
		if err := s.grower.configure(); err != nil {
			return err
		}
	}
	return set.apply(s.Eraser, func(err error) {
		s.Log.Warn("a method that is set is not there", "property", erase.PropMethod, "error", err)
	})
}
