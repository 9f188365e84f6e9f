//go:build guest

package inside

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"slatefs/chain/lvm"
)

const mib = 1 << 20

// newVG makes a volume group on disks, which goes after the test.
func newVG(t *testing.T, name string, disks ...string) *lvm.Runner {
	t.Helper()
	run(t, "lvm", append([]string{"vgcreate", "-q", "-y", name}, disks...)...)
	t.Cleanup(func() {
		run(t, "lvm", "vgremove", "-q", "-f", "-y", name)
		run(t, "lvm", append([]string{"pvremove", "-q", "-y"}, disks...)...)
	})
	r, err := lvm.Find()
	must(t, err)
	return r
}

// TestRunner shows every command of the package lvm on a real volume group.
func TestRunner(t *testing.T) {
	ctx := context.Background()
	r := newVG(t, "vg0", "/dev/vda")
	n := lvm.Name{VG: "vg0", LV: "a"}
	must(t, r.Create(ctx, n, 10*mib, "slatefs", "slatefs-1"))
	g, err := r.Group(ctx, "vg0")
	must(t, err)
	v, ok := g.Volume("a")
	if !ok || v.Size != 12*mib || !v.Active || !v.Tagged("slatefs-1") || v.Layout != "linear" || g.Extent != 4*mib || g.Free != g.Size-12*mib || g.Shared || g.Missing {
		t.Fatalf("%+v", g)
	}
	if out := run(t, "lvm", "lvs", "--noheadings", "-o", "lv_autoactivation", "vg0/a"); strings.TrimSpace(out) != "" {
		t.Errorf("autoactivation: %q", out)
	}
	if _, err := os.Stat(n.Path()); err != nil {
		t.Error(err)
	}
	must(t, r.Extend(ctx, n, 16*mib))
	must(t, r.Reduce(ctx, n, 8*mib))
	must(t, r.Tag(ctx, n, []string{"x"}, []string{"slatefs-1"}))
	must(t, r.Deactivate(ctx, n))
	v, _, err = r.Volume(ctx, n)
	must(t, err)
	if v.Size != 8*mib || v.Active || strings.Join(v.Tags, ",") != "slatefs,x" {
		t.Errorf("%+v", v)
	}
	if _, err := os.Stat(n.Path()); err == nil {
		t.Error("the device of a volume that is not active is there")
	}
	must(t, r.Activate(ctx, n))
	var e *lvm.Error
	if err := r.Extend(ctx, n, 1<<40); !errors.As(err, &e) || e.Code != 5 || !strings.Contains(err.Error(), "nsufficient free space") {
		t.Errorf("%v", err)
	}
	must(t, r.Remove(ctx, n))
	none := lvm.Name{VG: "vgx", LV: "a"}
	for i, err := range []error{
		r.Remove(ctx, n), r.Activate(ctx, none), r.Extend(ctx, n, mib), r.Create(ctx, none, mib), third(r.Volume(ctx, n)), third(r.Volume(ctx, none)),
	} {
		if !errors.Is(err, lvm.ErrNotFound) {
			t.Errorf("call %d: %v", i, err)
		}
	}
	run(t, "lvm", "vgcreate", "-q", "-y", "vg1", "/dev/vdb")
	groups, err := r.Groups(ctx)
	must(t, err)
	run(t, "lvm", "vgremove", "-q", "vg1")
	if len(groups) != 2 || groups[0].Name == groups[1].Name {
		t.Errorf("%+v", groups)
	}
}

func third[A, B any](_ A, _ B, err error) error { return err }
