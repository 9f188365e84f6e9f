package host

import (
	"os"
	"path/filepath"
	"testing"

	"slatefs/fs/mounts"
)

// A symlink to a mount, or to something below it, is followed as far as the mount, and no further.
func TestLocateFollowsSymlinks(t *testing.T) {
	dir := t.TempDir()
	for from, to := range map[string]string{"abs": "/lab/images", "rel": "sub/up", "sub/up": "../abs", "loop": "loop"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(from)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, filepath.Join(dir, from)); err != nil {
			t.Fatal(err)
		}
	}
	f := &Finder{cwd: dir, mounts: mounts.Table{{Dir: "/", Root: "/"}, {Dir: "/lab", Root: "/", Type: mounts.Type}}}
	for arg, want := range map[string]string{"abs/vm@a": "images/vm@a", "rel": "images", "./rel/x": "images/x", "/lab/./y": "y"} {
		if _, rel, ok := f.locate(arg); !ok || rel != want {
			t.Errorf("%s is %q, %v, want %q", arg, rel, ok, want)
		}
	}
	for _, arg := range []string{"loop", "nothing", "/labs"} {
		if _, rel, ok := f.locate(arg); ok {
			t.Errorf("%s is %q on a mount", arg, rel)
		}
	}
}
