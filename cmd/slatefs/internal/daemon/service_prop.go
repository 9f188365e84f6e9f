package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/schedule"
)

// setProps sets or inherits properties of one object; they take effect at once.
func (s *Service) setProps(ctx context.Context, who control.Peer, args control.SetArgs) ([]string, error) {
	a, snap, err := s.find(args.Object, aVolume)
	if err != nil {
		return nil, err
	}
	if snap != "" {
		return nil, errors.New(args.Object.Arg + ": a snapshot has no properties")
	}
	if args.Recursive && slices.ContainsFunc(args.Settings, func(o control.Setting) bool { return !o.Inherit }) {
		return nil, fmt.Errorf("%s: only what is inherited is taken from all that is below: %w", args.Object.Arg, control.ErrInvalid)
	}
	if err := Offered(s.Dev, args.Settings); err != nil {
		return nil, err
	}
	ofHost, ofPool := SplitSettings(args.Settings)
	if beyond := append(slices.Clone(ofHost), ofGrowth(ofPool)...); len(beyond) > 0 && who.Circle != control.Owner {
		return nil, fmt.Errorf("%s: reaches beyond the pool: root, and who mounted it, may set it: %w", beyond[0].Name, control.ErrPerm)
	}
	if err := s.avoidAll(ofHost); err != nil {
		return nil, err
	}
	if args.Dry {
		return forecastOf(s.Pool.ForecastSet(a.Ino, EngineSettings(ofPool)...))
	}
	if a.Ino == chain.RootIno {
		s.setting.Lock()
		defer s.setting.Unlock()
	}
	if args.Recursive {
		err := s.inheritAll(ctx, who, a, args.Settings)
		return nil, errors.Join(err, s.propsChanged(who, a.Ino, settingsText(args.Settings)+" recursively"))
	}
	if err := s.putProps(reqOf(who), a.Ino, args.Settings); err != nil {
		return nil, s.explain(a.Ino, err)
	}
	return nil, s.propsChanged(who, a.Ino, settingsText(args.Settings))
}

// propsChanged makes other values of properties durable, and has them take effect.
func (s *Service) propsChanged(who control.Peer, ino chain.Ino, what string) error {
	if err := s.Pool.Flush(); err != nil {
		return err
	}
	s.did(who, "on", s.abs(ino), "properties", what)
	if s.autosnap != nil && strings.Contains(what, schedule.PropAutosnap) {
		s.autosnap.changed()
	}
	if ino != chain.RootIno {
		return nil
	}
	return s.applyProps()
}

// inheritAll takes properties away from an object and from all below it that have them set, one after the other.
func (s *Service) inheritAll(ctx context.Context, who control.Peer, a chain.Attr, list []control.Setting) error {
	one := func(ino chain.Ino) error {
		set, err := s.setHere(ino, list)
		if err == nil && len(set) > 0 {
			err = s.putProps(reqOf(who), ino, set)
		}
		if err != nil {
			err = s.explain(ino, err)
		}
		return err
	}
	if err := one(a.Ino); err != nil || a.Type != chain.TypeDir {
		return err
	}
	return s.eachBelow(ctx, a.Ino, one)
}

// setHere are those of some properties that are set on an object itself.
func (s *Service) setHere(ino chain.Ino, list []control.Setting) (set []control.Setting, err error) {
	for _, o := range list {
		p, err := control.PropertyNamed(o.Name)
		if err != nil {
			return nil, err
		}
		_, source, err := s.prop(ino, p)
		if errors.Is(err, chain.ErrInvalid) {
			continue // it can't have it
		}
		if err != nil {
			return nil, err
		}
		if source == sourceLocal || source == sourceHost {
			set = append(set, o)
		}
	}
	return set, nil
}

// ofGrowth are the settings by which a pool takes more of its host, as pool extend does.
func ofGrowth(list []control.Setting) []control.Setting {
	return slices.DeleteFunc(slices.Clone(list), func(o control.Setting) bool {
		return !slices.Contains([]string{control.PropAutoThreshold, control.PropAutoPercent, control.PropAutoMax}, o.Name)
	})
}

// putProps sets properties, those of the host in its file, the others in the pool: all or none.
func (s *Service) putProps(r chain.Req, ino chain.Ino, list []control.Setting) error {
	var ofHost, ofPool []control.Setting
	if ofPool = list; ino == chain.RootIno { // nothing else has properties of the host
		ofHost, ofPool = SplitSettings(list)
	}
	undo, err := s.Own.Change(HostSettings(ofHost))
	if err != nil {
		return err
	}
	for _, h := range ofHost {
		if h.Inherit { // from where an earlier program kept it, too
			ofPool = append(ofPool, h)
		}
	}
	if err := s.Pool.SetProps(r, ino, EngineSettings(ofPool)...); err != nil {
		return errors.Join(err, undo())
	}
	return nil
}

// Sources of what is set on an object itself, as chain.PropValue says it, and on this host.
const (
	sourceLocal = "local"
	sourceHost  = "host"
)

// prop is a property as it holds, and where it comes from.
func (s *Service) prop(ino chain.Ino, p control.Property) (val, source string, err error) {
	v, err := s.Pool.Prop(ino, p.Name)
	if err != nil || !p.Host {
		return v.Value, v.Source(s.abs), err
	}
	val, set := hostProp(s.Own, p.Name)
	if source = "default"; set {
		source = sourceHost
	}
	return val, source, nil
}

// getProps reads properties of an object, and of all below it if asked to. No names: all that it can have. Those of the host are
// shown to its owner only.
func (s *Service) getProps(ctx context.Context, who control.Peer, args control.GetArgs) (out []control.PropValue, err error) {
	a, snap, err := s.find(args.Object, aVolume)
	if err != nil {
		return nil, err
	}
	if snap != "" {
		return nil, errors.New(args.Object.Arg + ": a snapshot has no properties")
	}
	out = []control.PropValue{}
	add := func(ino chain.Ino, all bool) error {
		for _, p := range control.Properties() {
			if len(args.Names) > 0 && !slices.Contains(args.Names, p.Name) {
				continue
			}
			if p.Host && who.Circle != control.Owner { // a command may have what is secret
				continue
			}
			val, source, err := s.prop(ino, p)
			switch {
			case err == nil:
				out = append(out, control.PropValue{Name: s.abs(ino), Property: p.Name, Value: val, Source: source, Bytes: p.Bytes})
			case !errors.Is(err, chain.ErrInvalid) || all && len(args.Names) > 0:
				return err
			}
		}
		return nil
	}
	if err := add(a.Ino, !args.Recursive); err != nil || !args.Recursive || a.Type != chain.TypeDir {
		return out, err
	}
	return out, s.eachBelow(ctx, a.Ino, func(ino chain.Ino) error { return add(ino, false) })
}

// eachBelow calls fn for all volumes and directories below one, each directory before what is in it.
func (s *Service) eachBelow(ctx context.Context, dir chain.Ino, fn func(chain.Ino) error) error {
	entries, err := s.entries(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if e.Type == chain.TypeSymlink {
			continue
		}
		if err = fn(e.Ino); err == nil && e.Type == chain.TypeDir {
			err = s.eachBelow(ctx, e.Ino, fn)
		}
		if err != nil && !errors.Is(err, chain.ErrNotFound) { // it went meanwhile
			return err
		}
	}
	return nil
}
