package chain

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"slatefs/chain/meta"
)

// Scope says what a property can be set on. The pool is the root directory.
type Scope uint8

// The scopes.
const (
	OnPool Scope = 1 << iota
	OnDir
	OnVolume
)

// String names the scopes: "a pool, directory or volume".
func (s Scope) String() string {
	var out []string
	for i, n := range []string{"pool", "directory", "volume"} {
		if s&(1<<i) != 0 {
			out = append(out, n)
		}
	}
	if k := len(out) - 1; k > 0 {
		out = append(out[:k-1], out[k-1]+" or "+out[k])
	}
	return "a " + strings.Join(out, ", ")
}

// Property is one thing that can be set. The table below is the only place that knows which there are.
type Property struct {
	Name     string
	On       Scope
	Inherits Scope  // where it is taken from the directory above, unless set
	Default  string // canonical
	Bytes    bool   // a value that is a number is printed as a size
	// Parse checks a value as people write it and returns the canonical text that is kept. on is one scope.
	Parse func(val string, on Scope) (string, error)
	Help  string // what it does, for help texts, in lines of at most 95 characters
}

var properties = append([]Property{
	{
		Name: propRefreservation, On: OnPool | OnDir | OnVolume, Inherits: OnDir, Default: "none", Bytes: true,
		Parse: func(v string, on Scope) (string, error) {
			if on != OnVolume {
				return oneOf("auto", "none")(v, on)
			}
			return sizeOr("auto", "none")(v, on)
		},
		Help: `space that is promised to a volume itself, its snapshots apart: a size, none, or auto, which is the
volume's size and moves with it. On a directory or pool, auto or none: what new volumes in it get`,
	},
	{
		Name: propReservation, On: OnDir | OnVolume, Default: "none", Bytes: true, Parse: sizeOr("none"),
		Help: `space that is promised to a volume with its snapshots, or to all that is in a directory: a size or none`,
	},
	{
		Name: propQuota, On: OnDir | OnVolume, Default: "none", Bytes: true, Parse: sizeOr("none"),
		Help: `the most that a volume with its snapshots, or all that is in a directory, may use: a size or none`,
	},
	{
		Name: propRefquota, On: OnVolume, Default: "none", Bytes: true, Parse: sizeOr("none"),
		Help: `the most that a volume may refer to, its snapshots apart: a size or none`,
	},
	{
		Name: propPreallocated, On: OnVolume, Default: "off", Parse: oneOf("on", "off"),
		Help: `on: the volume is promised its size because fallocate could not map all of it at once`,
	},
	{
		Name: PropLowSpace, On: OnPool, Default: "10%", Bytes: true, Parse: parseShare,
		Help: `when less than this is available, the log says so and on_low_space runs: a size, a share of the
pool as 10%, or 0 for never`,
	},
	{
		Name: PropOnLowSpace, On: OnPool, Parse: func(v string, _ Scope) (string, error) { return v, nil },
		Help: `a command for sh that runs, as who mounted the pool, when space gets low; SLATEFS_POOL,
SLATEFS_MOUNTPOINT, SLATEFS_AVAILABLE and SLATEFS_EVENT (low or short) tell it what happened`,
	},
}, slices.Concat(scrubberProperties, eraseProperties[:], growProperties)...)

// The names of properties that this package reads, and some that others do.
const (
	propRefreservation = "refreservation"
	propReservation    = "reservation"
	propQuota          = "quota"
	propRefquota       = "refquota"
	propPreallocated   = "preallocated"

	PropLowSpace   = "low_space"
	PropOnLowSpace = "on_low_space"

	PropAutoThreshold = "autoextend_threshold"
	PropAutoPercent   = "autoextend_percent"
	PropAutoMax       = "autoextend_max"
)

// Properties lists all properties in the order in which people are shown them. The slice is the caller's.
func Properties() []Property { return slices.Clone(properties) }

// PropertyNamed finds a property. ErrInvalid: there is none of that name.
func PropertyNamed(name string) (Property, error) {
	i := slices.IndexFunc(properties, func(d Property) bool { return d.Name == name })
	if i < 0 {
		return Property{}, fmt.Errorf("property %q is unknown: %w", name, ErrInvalid)
	}
	return properties[i], nil
}

// oneOf takes a word of a few.
func oneOf(words ...string) func(string, Scope) (string, error) {
	return func(v string, _ Scope) (string, error) {
		if slices.Contains(words, v) {
			return v, nil
		}
		return "", fmt.Errorf("%q: want %s: %w", v, strings.Join(words, " or "), ErrInvalid)
	}
}

// sizeOr takes a size or a word; 0 is none.
func sizeOr(words ...string) func(string, Scope) (string, error) {
	return func(v string, _ Scope) (string, error) {
		if slices.Contains(words, v) {
			return v, nil
		}
		n, err := ParseSize(v)
		if err != nil {
			return "", fmt.Errorf("%w, or %s", err, strings.Join(words, ", "))
		}
		if n == 0 {
			return "none", nil
		}
		return strconv.FormatInt(n, 10), nil
	}
}

// parseRate takes bytes per second; none and 0 are unlimited, and -50M is 50M, as cstream takes it.
func parseRate(v string, _ Scope) (string, error) {
	if v == "none" {
		return "0", nil
	}
	n, err := ParseSize(strings.TrimPrefix(v, "-"))
	if err != nil {
		return "", fmt.Errorf("%q: want a size per second as 50M, or 0 for unlimited: %w", v, ErrInvalid)
	}
	return strconv.FormatInt(n, 10), nil
}

// percent takes a whole number of a range.
func percent(least, most int) func(string, Scope) (string, error) {
	return func(v string, _ Scope) (string, error) {
		n, err := strconv.Atoi(strings.TrimSuffix(v, "%"))
		if err != nil || n < least || n > most {
			return "", fmt.Errorf("%q: want %d to %d: %w", v, least, most, ErrInvalid)
		}
		return strconv.Itoa(n), nil
	}
}

// parseShare takes a size, or a share of the pool as 10%.
func parseShare(v string, _ Scope) (string, error) {
	if digits, ok := strings.CutSuffix(v, "%"); ok {
		n, err := strconv.Atoi(digits)
		if err != nil || n < 0 || n > 100 {
			return "", fmt.Errorf("%q: want 0%% to 100%%: %w", v, ErrInvalid)
		}
		return strconv.Itoa(n) + "%", nil
	}
	n, err := ParseSize(v)
	if err != nil {
		return "", fmt.Errorf("%w, or a share as 10%%", err)
	}
	return strconv.FormatInt(n, 10), nil
}

// Share is the number of bytes that a canonical size or share means of a pool of total bytes.
func Share(val string, total int64) int64 {
	if digits, ok := strings.CutSuffix(val, "%"); ok {
		n, _ := strconv.ParseInt(digits, 10, 64) //nolint:errcheck // canonical
		return total / 100 * n
	}
	n, _ := strconv.ParseInt(val, 10, 64) //nolint:errcheck // canonical
	return n
}

// PropValue is a property as it holds for an inode.
type PropValue struct {
	Property
	Value string // canonical
	Set   bool   // on the inode itself
	From  Ino    // the directory that it is inherited from, 0: none
}

// Source says where the value comes from, in zfs's words; path turns an inode into what users see.
func (v PropValue) Source(path func(Ino) string) string {
	switch {
	case v.Set:
		return "local"
	case v.From != 0:
		return "inherited from " + path(v.From)
	}
	return "default"
}

func scopeOf(ino Ino, n *inode) (Scope, error) {
	switch {
	case ino == RootIno:
		return OnPool, nil
	case n.typ == TypeDir:
		return OnDir, nil
	case n.typ == TypeFile:
		return OnVolume, nil
	}
	return 0, fmt.Errorf("a symlink has no properties: %w", ErrInvalid)
}

// Prop is a property as it holds for a volume, a directory or (RootIno) the pool. ErrInvalid: it can't have it.
func (p *Pool) Prop(ino Ino, name string) (PropValue, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.prop(ino, name)
}

func (p *Pool) prop(ino Ino, name string) (PropValue, error) {
	d, err := PropertyNamed(name)
	if err != nil {
		return PropValue{}, err
	}
	n, err := p.inode(ino)
	if err != nil {
		return PropValue{}, err
	}
	on, err := scopeOf(ino, n)
	if err == nil && d.On&on == 0 {
		err = fmt.Errorf("%s is a property of %v: %w", name, d.On, ErrInvalid)
	}
	if err != nil {
		return PropValue{}, fmt.Errorf("%s: %w", p.nameOf(ino), err)
	}
	if name == propPreallocated { // it is a flag of the inode
		return PropValue{Property: d, Value: map[bool]string{false: "off", true: "on"}[n.kept], Set: n.kept}, nil
	}
	v := PropValue{Property: d, Value: d.Default}
	for at := ino; ; {
		val, ok, err := p.propRow(at, name)
		if err != nil {
			return PropValue{}, err
		}
		if ok {
			if v.Value, v.Set = val, at == ino; !v.Set {
				v.From = at
			}
			return v, nil
		}
		if d.Inherits&on == 0 || at == RootIno || n.parent == 0 {
			return v, nil
		}
		at = n.parent
		if n, err = p.inode(at); err != nil {
			return PropValue{}, err
		}
	}
}

// Properties are kept in the catalog under the hash of their name, as attributes are.

func propKey(ino Ino, name string) meta.Key {
	return meta.Key{Hi: rowKey(rowProperty, uint64(ino)).Hi, Lo: nameHash(name)}
}

func (p *Pool) propRow(ino Ino, name string) (val string, ok bool, err error) {
	row, ok, err := p.cat.get(propKey(ino, name))
	if err != nil || !ok {
		return "", false, wrapCorrupt(err)
	}
	key, val, err := parseProp(row)
	return val, key == name, err
}

func marshalProp(key, val string) []byte {
	e := encoder{}
	e.str(key)
	e.str(val)
	return e.b
}

func parseProp(row []byte) (key, val string, err error) {
	d := decoder{b: row}
	key, val = d.str(), d.str()
	return key, val, d.done()
}

// maxProp bounds the bytes of a property's name and value.
const maxProp = 500

// Setting gives one property a value, as people write it. Inherit: it loses its own.
type Setting struct {
	Name, Value string
	Inherit     bool
}

// SetProps sets properties of a volume, a directory or (RootIno) the pool, all or none. Durable after the next Flush.
//
// Errors: ErrInvalid for what cannot be set there or to that; for what promises or bounds space also ErrNoSpace and
// ErrQuota, with the numbers.
func (p *Pool) SetProps(_ Req, ino Ino, settings ...Setting) error {
	return p.changeWithSpace(func(time.Time) (Need, error) {
		canonical, err := p.parseSettings(ino, settings)
		if err != nil {
			return Need{}, err
		}
		if need, err := p.admitted(p.trySettings(ino, canonical)); err != nil || !need.None() {
			return need, err
		}
		for _, s := range canonical {
			if err := p.putProp(ino, s); err != nil {
				return Need{}, err
			}
		}
		return Need{}, nil
	})
}

// trySettings tries canonical settings on the ledger.
func (p *Pool) trySettings(ino Ino, settings []Setting) Forecast {
	a := p.ledger.accounts[ino]
	to := account{dir: a.dir, props: a.props}
	var words []string
	for _, s := range settings {
		to.take(s.Name, s.Value)
		words = append(words, s.Name+"="+readable(s.Value))
	}
	return p.tryProps(fmt.Sprintf("set %s on %s", strings.Join(words, " "), p.nameOf(ino)), a, to.props)
}

// readable prints a canonical value with its size as people write it.
func readable(val string) string {
	if n, err := strconv.ParseInt(val, 10, 64); err == nil {
		return FormatSize(n)
	}
	return val
}

func (p *Pool) putProp(ino Ino, s Setting) error {
	a := p.ledger.accounts[ino]
	a.take(s.Name, s.Value)
	p.ledger.settle(a)
	if s.Name == propPreallocated {
		v, err := p.volume(ino)
		if err != nil {
			return err
		}
		return v.setKept(a.kept)
	}
	p.policies++
	if s.Inherit {
		return p.do(&recPut{key: propKey(ino, s.Name)})
	}
	return p.do(&recPut{propKey(ino, s.Name), marshalProp(s.Name, s.Value)})
}

// takeDefault gives a new volume the refreservation that its directory says, which costs nothing yet: it has no size.
func (p *Pool) takeDefault(dir, ino Ino) error {
	v, err := p.prop(dir, propRefreservation)
	if err != nil || v.Value == v.Default {
		return err
	}
	return p.putProp(ino, Setting{Name: propRefreservation, Value: v.Value})
}

// parseSettings checks settings and makes their values canonical.
func (p *Pool) parseSettings(ino Ino, settings []Setting) ([]Setting, error) {
	n, err := p.inode(ino)
	if err != nil {
		return nil, err
	}
	on, err := scopeOf(ino, n)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.nameOf(ino), err)
	}
	out := slices.Clone(settings)
	for i, s := range out {
		v, err := p.prop(ino, s.Name) // it may be set here
		if err != nil {
			return nil, err
		}
		switch {
		case slices.ContainsFunc(out[:i], func(o Setting) bool { return o.Name == s.Name }):
			err = fmt.Errorf("set twice: %w", ErrInvalid)
		case s.Inherit:
			out[i].Value = v.Default
		default:
			if out[i].Value, err = v.Parse(s.Value, on); err == nil && len(s.Name)+len(out[i].Value) > maxProp {
				err = fmt.Errorf("%d bytes, at most %d: %w", len(out[i].Value), maxProp-len(s.Name), ErrTooBig)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", p.nameOf(ino), s.Name, err)
		}
	}
	return out, nil
}
