package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
	"slatefs/fs/mounts"
)

// app is what commands work with.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer // stderr: several goroutines may write to it at once
	host           host.Host
	now            func() time.Time
	mounts         func() (mounts.Table, error)
	completeWithin time.Duration // what there is to offer a shell
	warned         []string      // by warnOnce
}

// run executes one command line; its first word is the name that the program was called by.
func run(ctx context.Context, argv []string, stdin io.Reader, stdout, stderr io.Writer) error {
	h, err := host.New(os.Getenv, os.Geteuid())
	if err != nil {
		return err
	}
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, host: h, now: time.Now, mounts: mounts.Own, completeWithin: shellWaits}
	a.host.OnWarning, a.host.OnNote = a.warnOnce, a.note
	name, args := filepath.Base(argv[0]), argv[1:]
	if helper := helpers[name]; helper != nil {
		return helper(a, ctx, args)
	}
	return a.execute(ctx, args)
}

// execute executes one command line; a usage error hints at the command's help.
func (a *app) execute(ctx context.Context, args []string) error {
	root := a.root()
	if len(args) == 1 && args[0] == "-V" { // as zfs has it
		args = []string{"--version"}
	}
	root.SetArgs(args)
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	cmd, err := root.ExecuteContextC(ctx)
	var u *show.UsageError
	if errors.As(err, &u) {
		err = show.Hinted(err, "see %s --help", cmd.CommandPath())
	}
	return err
}

const rootHelp = `slatefs keeps virtual disks as flat raw files with snapshots, and erases what is freed.

A pool is one device or file. Mounted, it is a directory: each file in it is a volume, and FILE@NAME is a snapshot.
A POOL is given by its name, its mountpoint, any path below it, or its device; a path starts with / or ./ here.
Sizes are binary: 20G, 20g, 20GiB and 21474836480 are the same.

-V is --version. With any command, --actor WHO says for whom it is done, as a user of a management system;
the erase log keeps it.

Exit codes: 0 done, 1 refused or failed, 2 usage. Results go to stdout, the rest to stderr.`

const rootExample = `  slatefs pool create --size 20G lab /var/lib/lab.pool
  slatefs mount lab /mnt/lab
  slatefs create --size 8G /mnt/lab/vm.raw
  slatefs snapshot /mnt/lab/vm.raw@clean
  slatefs rollback /mnt/lab/vm.raw@clean
  slatefs list -t all
  slatefs umount /mnt/lab`

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "slatefs",
		Short:         "Virtual disks with snapshots, and built-in erase",
		Long:          rootHelp,
		Example:       rootExample,
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       control.Version(),
		Args:          cobra.ArbitraryArgs,
		RunE:          needCommand,

		SuggestionsMinimumDistance: 2,
	}
	root.PersistentFlags().String("actor", "", "`WHO` asked for it, for the erase log: a user of a management system")
	_ = root.PersistentFlags().MarkHidden("actor") //nolint:errcheck // it is there; the long help has it, once for all commands
	root.PersistentPreRun = func(cmd *cobra.Command, _ []string) {
		cmd.SetContext(control.WithActor(cmd.Context(), cmd.Flag("actor").Value.String()))
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &show.UsageError{Err: err} })
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	cobra.EnableCommandSorting = false
	root.AddCommand(
		a.poolCmd(), a.mountCmd(), a.umountCmd(), a.reloadCmd(), a.probeCmd(),
		a.createCmd(), a.importCmd(), a.snapshotCmd(), a.rollbackCmd(), a.cloneCmd(),
		a.holdCmd(), a.releaseCmd(), a.holdsCmd(),
		a.destroyCmd(), a.undestroyCmd(), a.renameCmd(), a.resizeCmd(),
		a.listCmd(), a.treeCmd(), a.iostatCmd(), a.getCmd(), a.setCmd(), a.inheritCmd(),
		a.eraseCmd(), a.eventsCmd(), a.webCmd(), a.exporterCmd(), a.manCmd(), a.reopenCmd(),
	)
	for _, cmd := range root.Commands() {
		plainUse(cmd)
	}
	a.completionCmd(root)
	a.completable(root)
	return root
}

// plainUse leaves a command's usage as it is written: its flags stand in it.
func plainUse(cmd *cobra.Command) {
	cmd.DisableFlagsInUseLine = true
	for _, sub := range cmd.Commands() {
		plainUse(sub)
	}
}

// needCommand answers a command that only has sub-commands.
func needCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return show.Usagef("%s: which command?", cmd.CommandPath())
	}
	err := show.Usagef("%s: unknown command %q", cmd.CommandPath(), args[0])
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return show.Hinted(err, "did you mean %s %s?", cmd.CommandPath(), near[0])
	}
	return err
}

// group makes a command that only has sub-commands.
func group(use, short, example string, subs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Example: example, Args: cobra.ArbitraryArgs, RunE: needCommand}
	cmd.SuggestionsMinimumDistance = 2
	cmd.AddCommand(subs...)
	return cmd
}

// arguments checks the number of arguments; most < 0: any number from least on.
func arguments(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || most >= 0 && len(args) > most {
			return show.Usagef("usage: %s", cmd.UseLine())
		}
		return nil
	}
}

// plain makes a cobra handler of a function that needs context and arguments only.
func plain(fn func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error { return fn(cmd.Context(), args) }
}
