package main

import (
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

// finder finds by what is mounted now.
func (a *app) finder() (*host.Finder, error) {
	table, err := a.mounts()
	if err != nil {
		return nil, err
	}
	return host.NewFinder(a.host, table)
}

// objectAt is what FILE, FILE@NAME, DIR or DIR@NAME means, to the daemon that has it.
func objectAt(f *host.Finder, arg string) (host.Live, control.Object, error) {
	l, p, err := f.Place(arg)
	return l, control.Object(p), err
}

// listedAt is objectAt for PATH, which may be the name of a mounted pool as well.
func listedAt(f *host.Finder, arg string) (host.Live, control.Object, error) {
	l, p, err := f.Listed(arg)
	return l, control.Object(p), err
}

// objectsAt finds several that must lie in one pool.
func objectsAt(f *host.Finder, args []string) (l host.Live, objs []control.Object, err error) {
	for i, arg := range args {
		one, o, err := objectAt(f, arg)
		if err != nil {
			return l, nil, err
		}
		if i > 0 && one.UUID != l.UUID {
			return l, nil, show.Usagef("%s and %s lie in two pools, %s and %s", args[0], arg, l.Name, one.Name)
		}
		l, objs = one, append(objs, o)
	}
	return l, objs, nil
}

// unmounted finds a pool that a command is to have for itself: one that is mounted is refused, with the way out.
func (a *app) unmounted(arg string) (*host.Finder, host.PoolRef, error) {
	f, err := a.finder()
	if err != nil {
		return nil, host.PoolRef{}, err
	}
	ref, err := f.Pool(arg)
	if err == nil && ref.Live != nil {
		err = show.Hinted(host.InUse(*ref.Live), "slatefs umount %s", ref.Live.Dir)
	}
	return f, ref, err
}

// mountedPool is Finder.MountedPool for who looks for one pool only.
func (a *app) mountedPool(arg string) (host.Live, error) {
	f, err := a.finder()
	if err != nil {
		return host.Live{}, err
	}
	return f.MountedPool(arg)
}
