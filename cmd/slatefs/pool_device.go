package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"slatefs/chain"
	"slatefs/chain/blockdev"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

// deviceFree refuses a device, or an existing file, that is in use, always, and one that holds something, unless
// forced. old is the pool that will be lost, if there is one.
func (a *app) deviceFree(ctx context.Context, device string, st os.FileInfo, force bool) (old uuid.UUID, err error) {
	file := st.Mode().IsRegular()
	if !file {
		// The kernel gives it to nobody else: mounted, swap, part of a RAID or of a volume group.
		fd, err := unix.Open(device, unix.O_RDONLY|unix.O_EXCL|unix.O_CLOEXEC, 0)
		if err != nil {
			return old, fmt.Errorf("%s: in use: %w", device, err)
		}
		if err := unix.Close(fd); err != nil {
			return old, err
		}
	}
	dev, err := a.host.OpenDevice(device, blockdev.Options{ReadOnly: true})
	if err != nil {
		return old, err
	}
	size := dev.Size()
	name, old, idErr := host.Identify(dev)
	l, used := a.host.Live(old) // through a loop device, or another name
	used = used && !l.IsCopy(dev)
	var heldErr error
	if i, err := chain.Identify(dev); err == nil {
		heldErr = a.host.HeldElsewhere(i.Name, i.Host)
	}
	if err := errors.Join(dev.Close(), heldErr); err != nil {
		return old, err
	}
	switch {
	case idErr == nil:
		if used {
			return old, host.InUse(l)
		}
		err = fmt.Errorf("%s: holds the pool %s", device, name)
		if !force && !slices.ContainsFunc(a.host.KnownPools(), func(k host.Known) bool { return k.UUID == old }) {
			return old, show.Hinted(err,
				"it is not known here, as one that was copied, or whose pool create was killed at its end; "+
					"slatefs mount %s DIR mounts it, -f makes another one", device)
		}
	case !errors.Is(idErr, chain.ErrNotPool) && size >= chain.MinPool:
		err = fmt.Errorf("%s: holds a pool: %w", device, idErr)
	case file && st.Size() > 0:
		err = fmt.Errorf("%s: exists, with %s in it", device, show.FormatSize(st.Size()))
	case !file:
		err = a.signature(ctx, device)
	}
	if err != nil && !force {
		return old, show.Hinted(err, "-f makes the pool all the same; what is there is lost")
	}
	return old, bigEnough(size)
}

// identifyPath says which pool a device holds; false: none, or it can't be read now.
func (a *app) identifyPath(device string) (i chain.Identity, ok bool) {
	dev, err := blockdev.Open(device, blockdev.Options{ReadOnly: true})
	if err != nil {
		return i, false
	}
	i, err = chain.Identify(dev)
	return i, errors.Join(err, dev.Close()) == nil
}

// signature is an error when blkid knows what is on a device.
func (a *app) signature(ctx context.Context, device string) error {
	blkid, err := findTool("blkid")
	if err != nil {
		return a.note("%s: what it holds was not looked at: %v", device, err)
	}
	var out, text bytes.Buffer
	cmd := exec.CommandContext(ctx, blkid, "-p", "-o", "export", device)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.Stdout, cmd.Stderr = &out, &text
	err = cmd.Run()
	const nothingFound = 2
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == nothingFound {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: blkid: %s: %w", device, bytes.TrimSpace(text.Bytes()), err)
	}
	for line := range strings.Lines(out.String()) {
		key, val, _ := strings.Cut(strings.TrimSpace(line), "=")
		if key == "TYPE" || key == "PTTYPE" {
			return fmt.Errorf("%s: holds %s", device, val)
		}
	}
	return nil
}

// findTool finds a program that ordinary users may not have in their path.
func findTool(name string) (string, error) {
	path, err := exec.LookPath(name)
	for _, dir := range []string{"/usr/sbin/", "/sbin/"} {
		if err != nil {
			path, err = exec.LookPath(dir + name)
		}
	}
	return path, err
}
