package daemon

import (
	"fmt"
	"strings"

	"github.com/google/uuid"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
)

// What a property of the host means is said here; what is set is kept by the host, and a pool says nothing of it
// (control.Property.Host).

// ReadSettings reads what this host says of a pool, as host.Settings does.
func ReadSettings(h host.Host, id uuid.UUID) (*host.Settings, error) {
	return h.Settings(id, hostValue)
}

// hostProp is a property of the host as it holds, and whether it is set.
func hostProp(own *host.Settings, name string) (val string, set bool) {
	p, err := control.PropertyNamed(name)
	if err != nil {
		panic(err) // a name of this program's
	}
	if val, set = own.Get(name); !set {
		val = p.Default
	}
	return val, set
}

// hostWord is hostProp for who does not ask where it is from.
func hostWord(own *host.Settings, name string) string {
	val, _ := hostProp(own, name)
	return val
}

// hostValue makes a value of a host's property canonical.
func hostValue(name, val string) (string, error) {
	p, err := control.PropertyNamed(name)
	if err != nil {
		return "", err
	}
	if !p.Host {
		return "", fmt.Errorf("%s is kept in the pool: %w", name, chain.ErrInvalid)
	}
	if len(val) > maxSetting || strings.ContainsRune(val, 0) {
		return "", fmt.Errorf("%s: %d bytes, at most %d, and none is 0: %w", name, len(val), maxSetting, chain.ErrInvalid)
	}
	val, err = p.Parse(val, control.OnPool)
	if err != nil {
		err = badValue{err}
	}
	return val, err
}

// badValue is a value that its property does not take: an ErrInvalid of the control socket that reads as it did.
type badValue struct{ error }

func (e badValue) Unwrap() []error { return []error{control.ErrInvalid, e.error} }

// maxSetting bounds a value, in bytes.
const maxSetting = 4 << 10

// EngineSettings is settings as the pool takes them.
func EngineSettings(list []control.Setting) (out []chain.Setting) {
	for _, s := range list {
		out = append(out, chain.Setting(s))
	}
	return out
}

// HostSettings is settings as the host takes them.
func HostSettings(list []control.Setting) (out []host.Setting) {
	for _, s := range list {
		out = append(out, host.Setting(s))
	}
	return out
}

// SplitSettings divides settings into those of the host and those of the pool.
func SplitSettings(list []control.Setting) (ofHost, ofPool []control.Setting) {
	for _, s := range list {
		if p, err := control.PropertyNamed(s.Name); err == nil && p.Host {
			ofHost = append(ofHost, s)
		} else {
			ofPool = append(ofPool, s)
		}
	}
	return ofHost, ofPool
}
