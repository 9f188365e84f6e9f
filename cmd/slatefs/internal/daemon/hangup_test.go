package daemon

import (
	"context"
	"errors"
	"testing"

	"slatefs/cmd/slatefs/internal/control"
)

// leaving is a client that hangs up when it has been looked for so often.
type leaving struct {
	context.Context
	looks, after int
}

func (l *leaving) Err() error {
	if l.looks++; l.looks > l.after {
		return context.Canceled
	}
	return nil
}

// Who hangs up has nothing more done for him: not what takes long, and nothing that would be changed only after that.
func TestHangUp(t *testing.T) {
	b := newBench(t)
	for _, name := range []string{"a", "b", "gone"} {
		b.volume(name, 1<<20, 16)
	}
	root, all := control.Object{Arg: "/lab"}, []control.Object{{Arg: "/lab"}}
	snap := func(name string) control.Object { return control.Object{Arg: name, Path: name} }
	must := func(_ []string, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(b.s.snapshot(t.Context(), control.Peer{}, control.SnapshotArgs{Objects: []control.Object{snap("a@s")}}))
	if _, err := b.s.clone(t.Context(), control.Peer{}, control.CloneArgs{Object: snap("a@s"), New: snap("c")}); err != nil {
		t.Fatal(err)
	}
	b.erased("gone")
	last := b.pool.LastJob()
	for what, do := range map[string]func(ctx context.Context) error{
		"list": func(ctx context.Context) error {
			_, err := b.s.list(ctx, control.Peer{}, control.ListArgs{Objects: all, Recursive: true, Types: []string{control.TypeVolume}})
			return err
		},
		"tree": func(ctx context.Context) error { _, err := b.s.tree(ctx, control.Peer{}, root); return err },
		"evidence": func(ctx context.Context) error {
			_, err := b.s.evidence(ctx, control.Peer{}, control.EvidenceArgs{Asked: []string{"gone", "a", "lab"}, Owners: []uint32{0}})
			return err
		},
		"snapshot": func(ctx context.Context) error {
			_, err := b.s.snapshot(ctx, control.Peer{}, control.SnapshotArgs{Objects: []control.Object{snap("@t")}, Recursive: true})
			return err
		},
		"destroy": func(ctx context.Context) error {
			_, err := b.s.destroy(ctx, control.Peer{}, control.DestroyArgs{Object: snap("a"), Snapshots: true, Clones: true})
			return err
		},
		"destroy snapshots": func(ctx context.Context) error {
			_, err := b.s.destroy(ctx, control.Peer{}, control.DestroyArgs{Object: snap("a@s"), Clones: true})
			return err
		},
	} {
		whole := &leaving{Context: t.Context(), after: 1 << 30}
		if what == "list" || what == "tree" || what == "evidence" { // the others change something
			if err := do(whole); err != nil || whole.looks < 3 {
				t.Errorf("%s: %v, looked %d times for who asked", what, err, whole.looks)
			}
		} else {
			whole.looks = 2 // as often at least
		}
		for after := range whole.looks {
			if err := do(&leaving{Context: t.Context(), after: after}); !errors.Is(err, context.Canceled) {
				t.Errorf("%s, of who left after %d looks of %d: %v", what, after, whole.looks, err)
			}
		}
	}
	rows, err := b.s.list(t.Context(), control.Peer{}, control.ListArgs{
		Objects: all, Recursive: true,
		Types: []string{control.TypeVolume, control.TypeSnapshot},
	})
	if err != nil || len(rows) != 4 || b.pool.LastJob() != last {
		t.Errorf("something was done: %+v, %v", rows, err)
	}
}
