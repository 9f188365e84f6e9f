package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"slatefs/cmd/slatefs/internal/show"
)

// qemuImg runs qemu-img, and has what it prints read. It dies with this process: what it has open nobody could take away.
func qemuImg(ctx context.Context, read func(io.Reader) error, args ...string) error {
	runtime.LockOSThread() // Pdeathsig is of the thread that started it
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, "qemu-img", args...)
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			return show.Hinted(err, "import reads images by qemu-img: apt install qemu-utils")
		}
		return err
	}
	readErr := read(out)
	_, _ = io.Copy(io.Discard, out) //nolint:errcheck // so that it can end; what is wrong its exit code says
	err = cmd.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("qemu-img %s: %w: %s", args[0], err, strings.TrimPrefix(strings.TrimSpace(said.String()), "qemu-img: "))
	}
	if readErr != nil {
		return fmt.Errorf("qemu-img %s: %w", args[0], readErr)
	}
	return nil
}

// decodeInto reads a value as JSON.
func decodeInto(res any) func(io.Reader) error {
	return func(r io.Reader) error { return json.NewDecoder(r).Decode(res) }
}

// compareImages fails where two images, in qemu-img's words for them, differ. far is told how much of all is compared, 0 to 1.
func compareImages(ctx context.Context, a, b string, far func(part float64)) error {
	text := ""
	err := qemuImg(ctx, func(r io.Reader) error {
		for in := bufio.NewReader(r); ; {
			// Progress is "    (12.34/100%)\r", what it found is a line.
			piece, err := in.ReadString('\r')
			number, _, is := strings.Cut(strings.TrimLeft(piece, " ("), "/100%)\r")
			if part, parseErr := strconv.ParseFloat(number, 64); is && parseErr == nil {
				far(min(max(part/100, 0), 1))
			} else {
				text += strings.TrimSpace(piece)
			}
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
		}
	}, "compare", "-p", a, b)
	if err != nil && text != "" {
		return fmt.Errorf("%w %s", err, text)
	}
	return err
}
