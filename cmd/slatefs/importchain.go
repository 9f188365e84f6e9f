package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"slatefs/cmd/slatefs/internal/show"
)

// maxChain is how many images a chain may consist of. qemu-img has each one open, and may open 1024 on most hosts; it is told of all
// in one argument, of which Linux takes maxArgument bytes; and the time that it takes to open them grows with the cube of their
// number: .03 s for 25, .7 s for 100, 6 s for 200, which is 5 minutes for all layers.
const (
	maxChain    = 200
	maxArgument = 128<<10 - 1
)

// foreign is an image of somebody else's: a raw file or device, or a qcow2 layer of a chain.
type foreign struct {
	path    string
	format  string // raw or qcow2
	size    int64  // bytes that a guest sees
	backing string // path of what lies below; empty: nothing
}

// imageInfo is what qemu-img tells of an image by itself. It opens nothing that the image names.
type imageInfo struct {
	Size          int64           `json:"virtual-size"`
	Encrypted     bool            `json:"encrypted"`
	Backing       string          `json:"backing-filename"`
	BackingFormat string          `json:"backing-filename-format"`
	Snapshots     json.RawMessage `json:"snapshots"`
	Specific      struct {
		Data struct {
			DataFile string `json:"data-file"`
		} `json:"data"`
	} `json:"format-specific"`
}

// source is what to import, as somebody who may read all of it says.
type source struct {
	image  string
	format string   // raw or qcow2; empty: by the name
	below  []string // names of images that may lie below others, though not as a snapshot of the same volume
}

// chain finds the images that an image consists of, the oldest first. Nothing is opened that was not looked at: what an image
// says lies below it must be an image beside it, and one of the same volume, or one that was allowed.
func (s source) chain(ctx context.Context) (chain []foreign, err error) {
	path, err := filepath.Abs(s.image)
	if err != nil {
		return nil, err
	}
	top := path
	format, err := s.formatOf(path)
	if err != nil {
		return nil, err
	}
	for format != "" {
		if slices.ContainsFunc(chain, func(f foreign) bool { return f.path == path }) || len(chain) == maxChain {
			return nil, fmt.Errorf("%s: is below itself, or below %d images, which is the most", path, maxChain)
		}
		f := foreign{path: path, format: format}
		var info imageInfo
		if err := qemuImg(ctx, decodeInto(&info), "info", "--output=json", f.alone()); err != nil {
			return nil, err
		}
		if err := refusedImage(f, info); err != nil {
			return nil, err
		}
		f.size, format = info.Size, ""
		if info.Backing != "" {
			if f.backing, err = besideImage(path, info.Backing); err == nil {
				err = s.allows(f.backing, top)
			}
			if err != nil {
				return nil, err
			}
			format = info.BackingFormat
			if format != "raw" && format != "qcow2" {
				return nil, fmt.Errorf("%s: does not say whether what lies below it is raw or qcow2, but %q", path, format)
			}
		}
		chain, path = append(chain, f), f.backing
	}
	slices.Reverse(chain)
	if n := len(seen(chain)); n > maxArgument {
		return nil, fmt.Errorf("%s: the names of its %d images are too long for qemu-img: %d bytes, at most %d", top, len(chain), n, maxArgument)
	}
	return chain, nil
}

// allows refuses an image that lies below others and is not of the same volume. In a volume group the disks of all guests lie
// in one directory, and who can write an image may have named any of them.
func (s source) allows(path, top string) error {
	name := filepath.Base(path)
	if _, of := snapshotOf(name, filepath.Base(top)); of || slices.Contains(s.below, name) {
		return nil
	}
	return show.Hinted(fmt.Errorf("%s: lies on %q, which is no snapshot of the same volume by its name", top, name),
		"if the image's owner may read that: --below %s", name)
}

// formatOf is what was said, or what the name says, and never what the image begins with: of a raw disk its guest has written that.
func (s source) formatOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // it was only read
	i, err := f.Stat()
	if err != nil {
		return "", err
	}
	magic := make([]byte, 4)
	switch {
	case !i.Mode().IsRegular() && i.Mode().Type() != os.ModeDevice:
		return "", fmt.Errorf("%s: is no file and no block device", path)
	case s.format != "":
		return s.format, nil
	case strings.HasSuffix(path, ".qcow2"):
		return "qcow2", nil
	}
	if _, err := io.ReadFull(f, magic); err == nil && string(magic) == "QFI\xfb" {
		return "", show.Hinted(fmt.Errorf("%s: begins like a qcow2 image, and is not called one", path),
			"--format raw if it is the disk of a guest, who may have written that; --format qcow2 if only qemu writes it")
	}
	return "raw", nil
}

// refusedImage refuses what is not carried over.
func refusedImage(f foreign, info imageInfo) error {
	switch {
	case info.Encrypted:
		return fmt.Errorf("%s: is encrypted", f.path)
	case info.Specific.Data.DataFile != "":
		return fmt.Errorf("%s: has its data in another file, %q", f.path, info.Specific.Data.DataFile)
	case len(info.Snapshots) > 0 && string(info.Snapshots) != "[]":
		return show.Hinted(fmt.Errorf("%s: has snapshots inside", f.path),
			"qemu-img convert -l NAME copies one of them out, qemu-img convert what is now")
	}
	return nil
}

// besideImage is the path of what an image says lies below it: only a name in the image's own directory, or that in full.
// Somebody else may have written it: by a path it would show any file of the host to a guest, by a protocol any host.
func besideImage(image, names string) (string, error) {
	dir := filepath.Dir(image)
	path := names
	if !strings.HasPrefix(names, "/") {
		path = dir + "/" + names
	}
	if filepath.Dir(path) != dir || filepath.Clean(path) != path || strings.ContainsAny(filepath.Base(names), ":\x00") {
		return "", fmt.Errorf("%s: says that it lies on %q, which is not an image beside it", image, names)
	}
	// A link may only be one of LVM's, to a device, below another one.
	below, err := os.Lstat(path)
	if err != nil {
		return "", err
	}
	if below.Mode().IsRegular() {
		return path, nil
	}
	this, err := os.Stat(image)
	if err == nil {
		below, err = os.Stat(path)
	}
	if err != nil {
		return "", err
	}
	if below.Mode().Type() != os.ModeDevice || this.Mode().Type() != os.ModeDevice {
		return "", fmt.Errorf("%s: lies on %q, which is no file, and no device below a device", image, names)
	}
	return path, nil
}

// alone is the image for qemu-img, without what lies below.
func (f foreign) alone() string { return qemuName(f.node(nil)) }

// node is the image as qemu's options; below: what lies below it, nil is nothing.
func (f foreign) node(below map[string]any) map[string]any {
	driver := "file"
	if i, err := os.Stat(f.path); err == nil && i.Mode().Type() == os.ModeDevice {
		driver = "host_device"
	}
	n := map[string]any{"driver": f.format, "file": map[string]any{"driver": driver, "filename": f.path}, "read-only": true}
	if f.format == "qcow2" {
		n["backing"] = nil // and not what the image says
		if below != nil {
			n["backing"] = below
		}
	}
	return n
}

// seen is what a guest sees with the last one of some images, for qemu-img.
func seen(chain []foreign) string {
	var below map[string]any
	for _, f := range chain {
		below = f.node(below)
	}
	return qemuName(below)
}

// qemuName is qemu's options as qemu-img takes them for a file name. Names in them are UTF-8: see importable.
func qemuName(node map[string]any) string {
	b, err := json.Marshal(node)
	if err != nil {
		panic(err) // strings and maps
	}
	return "json:" + string(b)
}

// importable refuses a path that qemu's options have no words for.
func importable(path string) error {
	if !utf8.ValidString(path) {
		return fmt.Errorf("%s: is not UTF-8, which qemu-img wants: give it another name", path)
	}
	return nil
}
