package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"slatefs/cmd/slatefs/internal/certificate"
	"slatefs/cmd/slatefs/internal/show"
)

// What others showed when a job's volume was destroyed is left, as long as not all of it is known to be zero.
func TestJobThatKept(t *testing.T) {
	l := newLab(t)
	l.ok("create --size 1M /lab/k.raw")
	l.write("k.raw", 0, 16, 1)
	l.ok("snapshot /lab/k.raw@s")
	l.ok("clone /lab/k.raw@s /lab/kc.raw")
	l.ok("destroy -rd --wait /lab/k.raw")
	id := ""
	for _, r := range l.records("") {
		if r.Kept > 0 {
			id = strconv.FormatUint(r.ID, 10)
		}
	}
	out, text, code := l.run("erase certificate " + id + " lab")
	if want := "\nNOT COMPLETE: at most 64K shown by others when it was destroyed: kc.raw, job " + id + "\n"; code != show.ExitFailed || !strings.Contains(out, want) {
		t.Errorf("exit code %d, %s\n%s", code, text, out)
	}
	if words := strings.Join(strings.Fields(out), " "); !strings.Contains(words, "NOT COMPLETE: of job "+id+" it is not known who wrote what others showed: that may be left until nothing at all is left in the pool") {
		t.Error(out)
	}

	// What the clone has of its origin is written to none of its own layers.
	l.ok("snapshot /lab/kc.raw@t")
	l.ok("clone /lab/kc.raw@t /lab/kd.raw")
	l.ok("destroy -rd --wait /lab/kc.raw")
	for _, r := range l.records("") {
		if id := strconv.FormatUint(r.ID, 10); r.Kept > 0 {
			if out, _, code := l.run("erase certificate " + id + " lab"); code != show.ExitFailed || !strings.Contains(out, "NOT COMPLETE: at most 64K shown by others") {
				t.Errorf("job %s: exit code %d\n%s", id, code, out)
			}
		}
	}
	l.ok("destroy --wait /lab/kd.raw")
	l.ok("erase wait lab")
	if out := l.ok("erase certificate " + id + " lab"); !strings.Contains(out, "\nCOMPLETE") {
		t.Error(out)
	}
}

// The blocks of a job are zero, and their bytes may be left: a write of less than a block took them along, into a clone or the volume itself.
func TestJobWhoseBytesWentAlong(t *testing.T) {
	for _, c := range []struct{ heir, prepare, destroy string }{
		{"v", "snapshot /lab/v@s", "destroy --wait /lab/v@s"},
		{"c", "clone /lab/v /lab/c", "destroy -rd --wait /lab/v"},
	} {
		l := newLab(t)
		l.ok("create --size 1M /lab/v")
		l.write("v", 0, 1, 7)
		l.ok(c.prepare)
		if _, err := l.volume(c.heir).WriteAt([]byte{1}, 100); err != nil {
			t.Fatal(err)
		}
		l.ok(c.destroy)
		l.ok("erase wait lab")
		id := ""
		for _, r := range l.records("") {
			if r.Kept > 0 {
				t.Fatalf("%+v", r)
			}
			if r.ID != 0 {
				id = strconv.FormatUint(r.ID, 10)
			}
		}
		if l.first(c.heir) != 7 {
			t.Fatal("the byte did not go along")
		}
		if out, _, code := l.run("erase certificate " + id + " lab"); code != show.ExitFailed || !strings.Contains(out, "\nNOT COMPLETE: at most 4K still shown by "+c.heir+"\n") {
			t.Errorf("%+v: job %s: exit code %d\n%s", c, id, code, out)
		}
		l.ok("destroy --wait /lab/" + c.heir)
		l.ok("erase wait lab")
		if out := l.ok("erase certificate " + id + " lab"); !strings.Contains(out, "\nCOMPLETE") {
			t.Error(out)
		}
	}
}

// A path is never an ID, and a word that is both is refused.
func TestPathIsNoID(t *testing.T) {
	l := newLab(t)
	l.certified("a")
	r := l.records("")[0]
	for _, name := range []string{strconv.FormatUint(r.ID, 10), r.VolumeUUID, r.VolumeUUID + "x", "uid:1000"} {
		l.ok("create --size 1M /lab/" + name)
		l.write(name, 0, 16, 2)
		for _, path := range []string{"/lab/" + name, "./" + name} {
			out, _, code := l.run("erase certificate " + path + " lab")
			if code != show.ExitFailed || !strings.Contains(out, "NOT COMPLETE: 64K still shown by "+name+"\n") || strings.Contains(out, "volume a ") {
				t.Errorf("%s: exit code %d\n%s", path, code, out)
			}
			if out, _, code := l.run("erase certificate -n " + path + " lab"); code != show.ExitFailed || !strings.Contains(out, "still shown by "+name+"\n") {
				t.Errorf("-n %s: exit code %d\n%s", path, code, out)
			}
		}
		if strings.HasSuffix(name, "x") {
			continue
		}
		l.refused(show.ExitFailed, "is ambiguous", "erase certificate "+name+" lab")
		l.refused(show.ExitFailed, "is ambiguous", "erase certificate -n "+name+" lab")
	}
}

// onFile is the lab's pool as a file, and an app of another state that destroys it.
func (l *lab) onFile() (end *lab, device string) {
	l.t.Helper()
	if err := l.pool.Flush(); err != nil {
		l.t.Fatal(err)
	}
	disk := l.disk.Clone()
	whole := make([]byte, disk.Size())
	if _, err := disk.ReadAt(whole, 0); err != nil {
		l.t.Fatal(err)
	}
	end = &lab{t: l.t}
	end.app = &app{stdout: &end.out, stderr: &end.text, host: testHost(l.t), now: l.app.now, mounts: l.app.mounts}
	end.app.host.OnNote, end.app.host.OnWarning = end.app.note, end.app.warnOnce
	return end, l.file("lab.pool", string(whole))
}

// copyKey gives a host the key that another one has of the pool.
func (l *lab) copyKey(from *lab) {
	l.t.Helper()
	id := from.pool.UUID()
	key := must(os.ReadFile(from.app.host.KeyPath(id)))
	if err := errors.Join(os.MkdirAll(filepath.Dir(l.app.host.KeyPath(id)), 0o755), os.WriteFile(l.app.host.KeyPath(id), key, 0o600)); err != nil {
		l.t.Fatal(err)
	}
}

// What refuses the certificate of a pool's end does so before anything is erased, and leaves no file.
func TestEndIsRefusedBefore(t *testing.T) {
	l, stranger := newLab(t), newLab(t)
	l.certified("a")
	stranger.certified("a")
	end, device := l.onFile()
	before := must(os.ReadFile(device))
	dir := t.TempDir()
	file := filepath.Join(dir, "x.json")
	end.copyKey(stranger)
	for path, want := range map[string]string{file: "is not the pool's key", filepath.Join(dir, "none", "x.html"): "no such file or directory"} {
		if _, text, code := end.run("pool destroy --erase --certificate " + path + " " + device); code != show.ExitFailed || !strings.Contains(text, want) {
			t.Errorf("%s: exit code %d: %s", path, code, text)
		}
		if !bytes.Equal(before, must(os.ReadFile(device))) {
			t.Fatalf("%s: the pool was changed", path)
		}
		if list, err := os.ReadDir(dir); err != nil || len(list) != 0 {
			t.Errorf("%s: left %v, %v", path, list, err)
		}
	}
	end.copyKey(l)
	end.ok("pool destroy --erase --certificate " + file + " " + device)
	s, err := certificate.Read(must(os.ReadFile(file)))
	if err != nil {
		t.Fatal(err)
	}
	if d := s.Document; !d.Complete || d.End.Method != "overwrite" || !strings.Contains(d.Method.Details, "zeros were written over it") {
		t.Errorf("%v, %q: %+v", s.Verdict(), d.Method.Details, d.End)
	}
}

// The end of a pool zeroes what is there; what was only released before is not, and a log that was rolled back says nothing.
func TestEndKeepsReasons(t *testing.T) {
	l, ahead := newLab(t), newLab(t)
	for _, name := range []string{"a", "b", "c"} {
		ahead.certified(name)
	}
	l.certified("a")
	end, device := l.onFile()
	end.copyKey(l)
	lines := bytes.SplitAfter(must(os.ReadFile(ahead.app.host.AnchorPath(l.pool.UUID()))), []byte("\n"))
	if err := end.app.host.AddAnchor(l.pool.UUID(), lines[len(lines)-2]); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "x.json")
	_, text, code := end.run("pool destroy --erase --certificate " + file + " " + device)
	if want := "is destroyed, and its certificate is not complete: the log was rolled back"; code != show.ExitFailed || !strings.Contains(text, want) {
		t.Errorf("exit code %d: %s", code, text)
	}
	s, err := certificate.Read(must(os.ReadFile(file)))
	if err != nil || s.Document.Complete || !strings.Contains(strings.Join(s.Verdict(), "\n"), "the log was rolled back, or written anew") {
		t.Errorf("%v, %v", s.Verdict(), err)
	}
}

// The end of a copy of a pool says nothing of the pool itself, when that cannot be read any more.
func TestEndOfCopy(t *testing.T) {
	l := newLab(t)
	l.certified("a")
	end, device := l.onFile()
	end.copyKey(l)
	dir := t.TempDir()
	end.ok("pool destroy --erase --certificate " + filepath.Join(dir, "first.json") + " " + device)
	l.certified("b")
	_, own := l.onFile()
	end.copyKey(l)
	b := must(os.ReadFile(own))
	for i := 100 << 10; i < 4<<20; i++ { // what it was is gone, but for the superblocks
		b[i] ^= 0x55
	}
	if err := os.WriteFile(own, b, 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "second.json")
	_, text, code := end.run("pool destroy --erase --force --certificate " + file + " " + own)
	if code != show.ExitFailed || !strings.Contains(text, "is destroyed, and its certificate is not complete: the pool could not be read when it ended") {
		t.Fatalf("exit code %d: %s", code, text)
	}
	s, err := certificate.Read(must(os.ReadFile(file)))
	if err != nil || s.Document.Complete || !strings.HasPrefix(s.Document.Pool.Device, own) || len(s.Document.Records) > 0 {
		t.Errorf("%v, %v", s, err)
	}
}

// A clock that was set back makes a certificate older than what was signed before: nothing is complete by it.
func TestClockSetBack(t *testing.T) {
	l := newLab(t)
	l.certified("a")
	l.clock.skip(-24 * time.Hour)
	out, text, code := l.run("erase certificate a lab")
	if code != show.ExitFailed || !strings.Contains(out, "\nNOT COMPLETE: the clock of this host was set back: it shows ") {
		t.Errorf("exit code %d: %s\n%s", code, text, out)
	}
	l.clock.skip(48 * time.Hour)
	l.ok("erase certificate a lab")
	end, device := l.onFile()
	end.copyKey(l)
	l.clock.skip(-48 * time.Hour)
	if _, text, code := end.run("pool destroy --erase --certificate " + filepath.Join(t.TempDir(), "x") + " " + device); code != show.ExitFailed || !strings.Contains(text, "not complete: the clock of this host was set back") {
		t.Errorf("exit code %d: %s", code, text)
	}
}

// A key that was missing is replaced, and what it signed is verified still.
func TestReplacedKey(t *testing.T) {
	l := newLab(t)
	first := l.certified("a")
	if err := os.Remove(l.app.host.KeyPath(l.pool.UUID())); err != nil {
		t.Fatal(err)
	}
	if _, err := l.app.host.MakeKey(l.pool.UUID()); err != nil {
		t.Fatal(err)
	}
	l.ok("erase certificate --verify " + first)
}
