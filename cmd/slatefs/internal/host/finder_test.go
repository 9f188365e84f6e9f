package host

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"slatefs/cmd/slatefs/internal/show"
	"slatefs/fs/mounts"
)

// finderOf finds on a host with a pool lab, mounted on /lab and by a bind mount on /bind, a dead mount on /dead, a pool twin
// mounted
// twice, and what is known.
func finderOf(t *testing.T, known ...Known) *Finder {
	t.Helper()
	h := hostIn(t)
	for _, k := range known {
		if err := h.Register(k); err != nil {
			t.Fatal(err)
		}
	}
	return &Finder{
		host: h, cwd: t.TempDir(), byName: h.Named,
		mounts: mounts.Table{
			{Dir: "/", Root: "/", Dev: "1:1", Type: "ext4"},
			{Dir: "/lab", Root: "/", Dev: "0:7", Type: mounts.Type, Source: "lab"},
			{Dir: "/bind", Root: "/images", Dev: "0:7", Type: mounts.Type, Source: "lab"},
			{Dir: "/lab@x", Root: "/", Dev: "0:1", Type: mounts.Type, Source: "twin"},
			{Dir: "/dead", Root: "/", Dev: "0:9", Type: mounts.Type, Source: "old"},
		},
		Live: []Live{
			{UUID: uuid.UUID{1}, Name: "lab", Dir: "/lab", MountDev: "0:7", Device: "/nowhere/lab"},
			{UUID: uuid.UUID{2}, Name: "twin", Dir: "/t1", MountDev: "0:1", Device: "/nowhere/t1"},
			{UUID: uuid.UUID{3}, Name: "twin", Dir: "/t2", MountDev: "0:2", Device: "/nowhere/t2"},
		},
		LVs:   func() ([]LVPool, error) { return nil, nil },
		there: func(Known) bool { return true },
	}
}

// refused wants an error with these words, in it or in its hint.
func refused(t *testing.T, what string, err error, words ...string) {
	t.Helper()
	for _, w := range words {
		if err == nil || !strings.Contains(err.Error()+"\n"+show.HintOf(err), w) {
			t.Errorf("%s: %v, hint %q, want %q", what, err, show.HintOf(err), w)
		}
	}
}

func TestPlace(t *testing.T) {
	f := finderOf(t)
	for arg, want := range map[string]Place{
		"/lab/vm.raw":    {Path: "vm.raw"},
		"/lab/a/../vm@s": {Path: "vm@s"},
		"/lab":           {},
		"/bind/vm":       {Path: "images/vm"},
		"/bind":          {Path: "images"},
		"/lab@now":       {Snap: "now"},
		"/lab/vm@a@b":    {Path: "vm@a@b"},
		"/lab/caf\xe9\n": {Path: "caf\xe9\n"},
		"/bind@x":        {Path: "images", Snap: "x"},
	} {
		l, p, err := f.Place(arg)
		if want.Arg = arg; err != nil || p != want || l.Name != "lab" {
			t.Errorf("%s is %+v of %s, %v, want %+v", arg, p, l.Name, err, want)
		}
	}
	if l, p, err := f.Place("/lab@x/a/vm"); err != nil || p.Path != "a/vm" || l.Dir != "/t1" {
		t.Errorf("below a mount that is called as a snapshot would be: %+v of %s, %v", p, l.Dir, err)
	}
	_, _, err := f.Place("/lab@x")
	refused(t, "a mount that is called as a snapshot would be", err, "and is the snapshots x of /lab")
	for _, arg := range []string{"/labs/vm", "relative/vm.raw", "/lab@a@b"} {
		_, _, err := f.Place(arg)
		refused(t, arg, err, "is not on a slatefs mount", "slatefs pool list")
	}
	_, _, err = f.Place("/dead/vm")
	refused(t, "a dead mount", err, "/dead: the daemon of this mount is dead", "slatefs mount old /dead mounts it again")
}

func TestListed(t *testing.T) {
	f := finderOf(t, Known{UUID: uuid.UUID{5}, Name: "away", Device: "/nowhere/away"})
	if l, p, err := f.Listed("lab"); err != nil || l.Name != "lab" || p != (Place{Arg: "lab"}) {
		t.Errorf("lab is %+v of %s, %v", p, l.Name, err)
	}
	_, _, err := f.Listed("away")
	refused(t, "away", err, "pool away is not mounted", "slatefs mount away DIR")
	_, _, err = f.Listed("nobody")
	refused(t, "nobody", err, "nobody: is not on a slatefs mount")
	_, _, err = f.Listed("twin")
	refused(t, "twin", err, "2 pools are named twin, on /t1 and /t2")
}

func TestPool(t *testing.T) {
	file := filepath.Join(t.TempDir(), "some.pool")
	writeSuper(t, file, uuid.UUID{8}, "some")
	none := filepath.Join(t.TempDir(), "none")
	if err := os.WriteFile(none, make([]byte, 1<<16), 0o644); err != nil {
		t.Fatal(err)
	}
	f := finderOf(t, Known{UUID: uuid.UUID{5}, Name: "away", Device: "/srv/away"},
		Known{UUID: uuid.UUID{6}, Name: "one", Device: "/srv/1"},
		Known{UUID: uuid.UUID{7}, Name: "one", Device: "/srv/2"})
	for arg, want := range map[string]PoolRef{
		"lab":    {Device: "/nowhere/lab", UUID: uuid.UUID{1}, Name: "lab"},
		"/lab":   {Device: "/nowhere/lab", UUID: uuid.UUID{1}, Name: "lab"},
		"/lab/x": {Device: "/nowhere/lab", UUID: uuid.UUID{1}, Name: "lab"},
		"/bind":  {Device: "/nowhere/lab", UUID: uuid.UUID{1}, Name: "lab"},
		"away":   {Device: "/srv/away", UUID: uuid.UUID{5}, Name: "away"},
		file:     {Device: file, UUID: uuid.UUID{8}, Name: "some"},
		none:     {Device: none, Name: none}, // nothing is known of it
		"vg0/lv": {Device: "/dev/vg0/lv", Name: "/dev/vg0/lv"},
	} {
		got, err := f.Pool(arg)
		if mounted := want.UUID == (uuid.UUID{1}); mounted != (got.Live != nil) {
			t.Errorf("%s: daemon %v", arg, got.Live)
		}
		if got.Live = nil; err != nil || got != want {
			t.Errorf("%s is %+v, %v, want %+v", arg, got, err, want)
		}
	}
	for arg, words := range map[string]string{
		"twin":   "2 pools are named twin, on /t1 and /t2: give the mountpoint",
		"one":    "2 pools are named one, on /srv/1 and /srv/2: give the device",
		"nobody": ErrUnknown.Error(), "/nowhere/at/all": "no such file", "a b/c": "is neither a name, nor a path, nor VG/LV",
		"/dead": "is dead",
	} {
		_, err := f.Pool(arg)
		refused(t, arg, err, words)
	}
	f.Live = append(f.Live, Live{UUID: uuid.UUID{9}, Name: "away", Dir: "/away"})
	_, err := f.Pool("away")
	refused(t, "a name of a mounted pool and of a known one", err, "2 pools are named away, one mounted on /away, one on /srv/away")
	f.there = func(Known) bool { return false }
	if ref, err := f.Pool("away"); err != nil || ref.Live == nil {
		t.Errorf("the known one has gone: %+v, %v", ref, err)
	}
}

// A file that is there is not taken for a logical volume that is not.
func TestPoolFileLikeLV(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := errors.Join(os.Mkdir("vg0", 0o755), os.WriteFile("vg0/lv", nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	_, err := finderOf(t).Pool("vg0/lv")
	refused(t, "vg0/lv", err, "is taken for VG/LV, and there is no such logical volume", "as ./vg0/lv")
}

func TestMountedPool(t *testing.T) {
	f := finderOf(t)
	for _, arg := range []string{"lab", "/lab", "/lab/vm", "/bind/x"} {
		if l, err := f.MountedPool(arg); err != nil || l.Name != "lab" {
			t.Errorf("%s is %s, %v", arg, l.Name, err)
		}
	}
	_, err := f.MountedPool("/etc")
	refused(t, "/etc", err, "/etc: is not where a pool is mounted, it is a directory of the ext4 on /", "slatefs pool list")
	_, err = f.MountedPool("/")
	refused(t, "/", err, "it is the mountpoint of a ext4")
}

func TestEnding(t *testing.T) {
	f := finderOf(t)
	end := func(arg string) (Live, error) {
		m, ok, err := f.Mountpoint(arg)
		if err != nil {
			return Live{}, err
		}
		return f.Ending(arg, m, ok)
	}
	for _, arg := range []string{"/lab", "lab"} {
		if l, err := end(arg); err != nil || l.Name != "lab" {
			t.Errorf("%s is %s, %v", arg, l.Name, err)
		}
	}
	for arg, words := range map[string][]string{
		"/lab/x": {"is no mountpoint, it lies in the pool that is mounted on /lab", "slatefs umount /lab unmounts that pool"},
		"/bind":  {"is a bind mount of the pool that is mounted on /lab", "umount /bind takes it away"},
		"/dead":  {"is dead"},
		"/etc":   {"is not where a pool is mounted"},
		"nobody": {ErrUnknown.Error()},
	} {
		_, err := end(arg)
		refused(t, arg, err, words...)
	}
}
