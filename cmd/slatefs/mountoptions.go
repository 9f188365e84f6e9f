package main

import (
	"os"
	"slices"
	"strings"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/daemon"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

// Who beside root and its own user may ask a daemon.
const (
	optReaders   = "readers"
	optOperators = "operators"
)

// ignoredOptions mean nothing to a mount: they are for mount(8) and fstab, or what we do anyway.
var ignoredOptions = []string{
	"defaults", "auto", "noauto", "nofail", "_netdev", "users", "owner", "group", "nouser", "nosuid", "nodev", "dev", "suid",
	"async", "noatime", "nodiratime", "relatime",
}

// splitOptions divides OPT,OPT. Empty ones are none.
func splitOptions(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' })
}

func parseMountOptions(opts []string) (o daemon.Options, err error) {
	for _, opt := range opts {
		key, val, _ := strings.Cut(opt, "=")
		switch {
		case opt == "allow_other":
			o.AllowOther = true
		case opt == "debug":
			o.Debug = true
		case opt == "ro", opt == "rw": // the last one counts
			o.ReadOnly = opt == "ro"
		case opt == "noexec", opt == "exec":
			o.NoExec = opt == "noexec"
		case opt == "nonempty":
			o.NonEmpty = true
		case key == optReaders, key == optOperators:
			err = setGroup(&o, key, val)
		case key == "memory", key == "cache":
			o.Memory, err = parseMemory(key, val)
		case key == "transport":
			if o.Transport, err = daemon.ParseTransport(val); err != nil {
				err = show.Usagef("mount option: %v", err)
			}
		case key == "loops":
			if o.Loops, err = daemon.ParseLoops(val); err != nil {
				err = show.Usagef("mount option: %v", err)
			}
		case key == "verify":
			if o.Verify, err = daemon.ParseVerify(val); err != nil {
				err = show.Usagef("mount option verify: %v", err)
			}
		case slices.Contains(ignoredOptions, opt), strings.HasPrefix(opt, "x-"), key == "user", key == "comment":
		default:
			err = show.Hinted(show.Usagef("mount option %q is unknown", opt), "slatefs mount --help lists them")
		}
		if err != nil {
			return o, err
		}
	}
	return o, nil
}

// memoryBesideCache is what a daemon takes beside what fstab files of older versions say: cache=SIZE was of metadata alone.
const memoryBesideCache = 128 << 20

func parseMemory(key, val string) (int64, error) {
	n, err := show.ParseSize(val)
	if err != nil {
		return 0, show.Usagef("mount option %s: %v", key, err)
	}
	if key == "cache" {
		return n + memoryBesideCache, nil
	}
	if err := daemon.CheckMemory(n); err != nil {
		return 0, show.Usagef("%s=%s: %v", key, val, err)
	}
	return n, nil
}

// setGroup takes the option of a group that may ask the daemon.
func setGroup(o *daemon.Options, key, group string) error {
	switch {
	case group == "":
		return show.Usagef("mount option %s: want the name or the number of a group", key)
	case o.Group != "":
		return show.Usagef("mount option %s=%s: %s is let in already, and it is one group", key, group, o.Group)
	}
	if o.Group, o.As = group, control.Readers; key == optOperators {
		o.As = control.Operators
	}
	return nil
}

// mayOpenTo refuses a group that there is not; a daemon that goes on with a mount goes on without it.
func mayOpenTo(group string) error {
	if group == "" {
		return nil
	}
	if os.Geteuid() != 0 {
		return show.Usagef("mount options %s and %s are for root: another user's daemons are not found by others", optReaders, optOperators)
	}
	_, err := host.GroupID(group)
	return err
}
