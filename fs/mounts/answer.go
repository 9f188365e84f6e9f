package mounts

import (
	"errors"
	"syscall"
	"time"
)

// ErrNoAnswer is for a mount whose daemon does not answer: it is stuck, or its successor is not there yet.
var ErrNoAnswer = errors.New("the mount does not answer")

// Answers asks the file system that is mounted on dir, and waits for so long. ENOTCONN: its daemon has left it.
func Answers(dir string, within time.Duration) error {
	said := make(chan error, 1) // who asks may wait for ever, and then ends with the mount
	go func() {
		var st syscall.Statfs_t
		said <- syscall.Statfs(dir, &st)
	}()
	t := time.NewTimer(within)
	defer t.Stop()
	select {
	case err := <-said:
		return err
	case <-t.C:
		return ErrNoAnswer
	}
}
