package fs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"slatefs/fs/mounts"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// mountCall mounts, as its user may, and returns the file that requests come from. The kernel sends INIT at once.
func mountCall(dir string, o *fuse.MountOptions) (int, error) {
	if os.Geteuid() == 0 {
		return mountDirect(dir, o)
	}
	return mountHelped(dir, o)
}

// mountDirect mounts with mount(2), as go-fuse does.
func mountDirect(dir string, o *fuse.MountOptions) (int, error) {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return -1, err
	}
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("/dev/fuse: %w", err)
	}
	data := append([]string{
		fmt.Sprintf("fd=%d", fd),
		fmt.Sprintf("rootmode=%o", st.Mode&unix.S_IFMT),
		fmt.Sprintf("user_id=%d", unix.Geteuid()),
		fmt.Sprintf("group_id=%d", unix.Getegid()),
		fmt.Sprintf("max_read=%d", o.MaxWrite),
	}, o.Options...)
	if o.AllowOther {
		data = append(data, "allow_other")
	}
	if err := unix.Mount(o.FsName, dir, mounts.Type, o.DirectMountFlags, strings.Join(data, ",")); err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// cloneCall opens /dev/fuse once more for a connection: FUSE_DEV_IOC_CLONE.
func cloneCall(of int) (int, error) {
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("/dev/fuse: %w", err)
	}
	const devClone = 0x8004e500
	if err := unix.IoctlSetPointerInt(fd, devClone, of); err != nil {
		return -1, errors.Join(fmt.Errorf("/dev/fuse: clone: %w", err), unix.Close(fd))
	}
	return fd, nil
}

// escapeOption makes a text a value of an option: options are divided by commas.
var escapeOption = strings.NewReplacer(`\`, `\\`, `,`, `\,`)

// mountHelped mounts with fusermount3, which may do it for ordinary users: it opens /dev/fuse, mounts, and sends the file back
// through the socket that _FUSE_COMMFD names.
func mountHelped(dir string, o *fuse.MountOptions) (int, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socketpair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "ours"), os.NewFile(uintptr(pair[1]), "fusermount3's")
	defer func() { _ = ours.Close() }() //nolint:errcheck // what came of it is known
	options := append([]string{
		"fsname=" + escapeOption.Replace(o.FsName), "subtype=" + o.Name, fmt.Sprintf("max_read=%d", o.MaxWrite),
	}, o.Options...)
	if o.AllowOther {
		options = append(options, "allow_other")
	}
	cmd := exec.Command("fusermount3", "-o", strings.Join(options, ","), "--", dir)
	cmd.Env = append(os.Environ(), "_FUSE_COMMFD=3")
	cmd.ExtraFiles = []*os.File{theirs}
	out, err := cmd.CombinedOutput()
	if err := errors.Join(err, theirs.Close()); err != nil {
		return -1, fmt.Errorf("fusermount3: %s: %w", strings.TrimSpace(string(out)), err)
	}
	return receiveFile(ours)
}

// receiveFile receives a file from a socket.
func receiveFile(from *os.File) (int, error) {
	control := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(int(from.Fd()), make([]byte, 1), control, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("fusermount3: its answer: %w", err)
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err == nil && len(messages) != 1 {
		err = fmt.Errorf("%d messages", len(messages))
	}
	if err != nil {
		return -1, fmt.Errorf("fusermount3: its answer: %w", err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err == nil && len(fds) != 1 {
		err = fmt.Errorf("%d files", len(fds))
	}
	if err != nil {
		return -1, fmt.Errorf("fusermount3: its answer: %w", err)
	}
	return fds[0], nil
}
