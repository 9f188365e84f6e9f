package main

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/show"
	"slatefs/fs"
)

// Two volumes whose names differ in a byte that JSON has no place for.
func TestNamesAreBytes(t *testing.T) {
	l := newLab(t)
	exact, other := "caf\xe9.raw", "caf\ufffd.raw"
	l.ok("create --size 1M /lab/" + exact)
	l.ok("create --size 2M /lab/" + other)
	l.write(exact, 0, 1, 1)
	l.ok("snapshot /lab/" + exact + "@s")
	l.write(exact, 0, 1, 2)
	l.ok("clone /lab/" + exact + "@s /lab/\xff")

	if out := l.ok("list -Hr -o name,origin,clones -t all /lab"); out != "/lab\t-\t-\n"+
		"/lab/caf\\351.raw\t-\t-\n/lab/caf\\351.raw@s\t-\t/lab/\\377\n/lab/caf\ufffd.raw\t-\t-\n/lab/\\377\t/lab/caf\\351.raw@s\t-\n" {
		t.Errorf("list prints %q", out)
	}
	if out := l.ok("list -j /lab/" + exact); !strings.Contains(out, `"name": "/lab/caf\\351.raw",`) || !strings.Contains(out, `"name_bytes": "L2xhYi9jYWbpLnJhdw=="`) {
		t.Errorf("list -j prints %s", out)
	}
	if out := l.ok("list -j /lab/" + other); strings.Contains(out, "name_bytes") {
		t.Errorf("list -j prints %s", out)
	}
	if out := l.ok("tree /lab/" + exact); !strings.Contains(out, "/lab/caf\\351.raw@s  size") || !strings.Contains(out, "─ /lab/\\377  size") {
		t.Errorf("tree prints %q", out)
	}
	if out := l.ok("get -H -o name,value refquota /lab/" + exact); out != "/lab/caf\\351.raw\tnone\n" {
		t.Errorf("get prints %q", out)
	}
	l.refused(show.ExitFailed, `/lab/no\351: not found`, "destroy /lab/no\xe9")
	l.refused(show.ExitFailed, `caf\351.raw: has clones: \377`, "destroy -r /lab/"+exact)
	if out := l.ok("destroy -rdnv /lab/" + exact); !strings.Contains(out, "would destroy /lab/caf\\351.raw@s\n") || !strings.Contains(out, `seen by clone \377`) {
		t.Errorf("destroy -n prints %q", out)
	}
	if out := l.ok("destroy -rdv --wait /lab/" + exact); !strings.HasPrefix(out, "destroyed /lab/caf\\351.raw@s\ndestroyed /lab/caf\\351.raw\n") {
		t.Errorf("destroy prints %q", out)
	}
	if _, err := l.pool.Resolve(other); err != nil {
		t.Errorf("the other volume is gone: %v", err)
	}
	if _, err := l.pool.Resolve(exact); !errors.Is(err, chain.ErrNotFound) {
		t.Errorf("the volume is still there: %v", err)
	}
	l.eraseLogOf(exact)
}

// eraseLogOf looks for the record of a volume in all that tells of it.
func (l *lab) eraseLogOf(name string) {
	l.t.Helper()
	if out := l.ok("erase log -H --volume " + name + " lab"); !strings.Contains(out, "\tvolume destroyed\tcaf\\351.raw\n") {
		l.t.Errorf("erase log prints %q", out)
	}
	if out := l.ok("erase log -H --volume caf\ufffd.raw lab"); out != "" {
		l.t.Errorf("erase log takes another name for it: %q", out)
	}
	recs, err := l.pool.EraseLog()
	if err != nil || len(recs) == 0 || recs[0].Volume != name {
		l.t.Fatalf("the log says %+v, %v", recs, err)
	}

	cert, errText, _ := l.run("erase certificate " + recs[0].VolumeUUID.String() + " lab")
	if !strings.Contains(cert, `volume caf\351.raw `) || !strings.Contains(cert, "\nNOT COMPLETE: 4K still shown by \\377\n") || !strings.Contains(errText, `shown by \377`) {
		l.t.Errorf("the certificate says %s", cert)
	}
}

// A name makes no row, no column, and moves no cursor.
func TestNamesForgeNothing(t *testing.T) {
	l := newLab(t)
	evil := "x\t1G\nforged\x1b[2J\u202e"
	dir, err := l.pool.Resolve("")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.pool.Create(chain.Req{}, dir.Ino, evil, 0o600); err != nil {
		t.Fatal(err)
	}
	shown := `x\0111G\012forged\033[2J\342\200\256`
	if out := l.ok("list -H -o name,volsize -t volume"); out != "" && out != strings.ReplaceAll("/lab/X\t0B\n", "/X", "/"+shown) {
		t.Errorf("list prints %q", out)
	}
	l.view.holders = []fs.Holder{{PID: 1, Comm: "a\nb", Path: evil, Write: true}}
	for _, line := range []string{
		"list -r /lab", "list -j -r", "pool dump lab", "tree /lab", "get -r all /lab", "destroy -nv /lab/" + evil, "resize -n /lab/" + evil + " 1M",
		"destroy /lab/" + evil + "x", "destroy -v /lab/" + evil, "erase status lab", "undestroy 77 lab " + evil, "set quota=" + evil + " /lab/" + evil, "get " + evil + " /lab", evil,
	} {
		out, text, _ := l.run(line)
		if all := out + text; strings.ContainsAny(all, "\x1b\u202e\t") || strings.Contains(all, "\nforged") {
			t.Errorf("slatefs %q prints %q", line, all)
		}
	}
}

// The daemon's log is read on terminals too.
func TestLogsEscape(t *testing.T) {
	var b strings.Builder
	log := slog.New(slog.NewTextHandler(&b, nil))
	log.Info("x", "volume", "a\nlevel=ERROR\x1b[2J\xe9", "error", errors.New("b\ncaf\xe9"))
	if out := b.String(); strings.Count(out, "\n") != 1 || strings.Contains(out, "\x1b") || strings.Contains(out, "\xe9") || !strings.Contains(out, `\xe9`) {
		t.Errorf("logged %q", out)
	}
}
