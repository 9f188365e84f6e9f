package main

import (
	"errors"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// reopenCmd makes the daemons open their logs anew; logrotate calls it when it has given them other names.
func (a *app) reopenCmd() *cobra.Command {
	return &cobra.Command{
		Use:    "__reopen-logs",
		Short:  "Make all daemons open their logs anew",
		Hidden: true,
		Args:   arguments(0, 0),
		RunE: func(*cobra.Command, []string) error {
			var failed []error
			for _, l := range a.host.Daemons() { // they hold their locks: no other process has one's number
				if l.Log == "" {
					continue // it logs to who has started it
				}
				if err := unix.Kill(l.PID, unix.SIGHUP); !errors.Is(err, unix.ESRCH) { // it may just have ended
					failed = append(failed, err)
				}
			}
			return errors.Join(failed...)
		},
	}
}
