package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"slatefs/cmd/slatefs/internal/control"
)

// completes says what a command's words may become.
type completes struct {
	args  []completer // the first argument, the second…
	more  completer   // each argument after these; nil: there is none
	flags map[string]completer
}

// args is completes without flags.
func args(each ...completer) completes { return completes{args: each} }

// each is completes of a command that takes any number of the same.
func each(of completer) completes { return completes{more: of} }

func (c completes) with(flag string, by completer) completes {
	flags := map[string]completer{flag: by}
	for name, was := range c.flags {
		flags[name] = was
	}
	c.flags = flags
	return c
}

// The words of flags. They are offers only: the commands parse what is typed.
var (
	rowTypes     = words("volume", "snapshot", "directory", "pool", "all", "destroyed")
	getFields    = words("name", "property", "value", "source")
	mountOptions = words("ro", "rw", "noexec", "nonempty", "allow_other", "debug", "memory=", "verify=off", "verify=sample", "verify=full",
		"transport=auto", "transport=loop", "transport=classic", "loops=", "readers=", "operators=")
)

// propertyNames are those of get, with the numbers that nobody sets, or all of them.
var propertyNames = either(listOf(either(properties(everywhere, ""), words(statNames()...))), words("all"))

// completions is what is offered, by command, without the program's name.
func completions() map[string]completes {
	listed := each(anywhere).with("columns", listOf(columns)).with("type", listOf(rowTypes))
	certified := func(c completes) completes { return c.with("template", files).with("field", nothing) }
	return map[string]completes{
		"exporter":     args().with("listen", nothing).with("host", nothing).with("volumes", words("on", "off")),
		"web":          args().with("listen", nothing).with("token", files).with("host", nothing),
		"events":       args(pools).with("since", nothing),
		"pool create":  args(nothing, files).with("property", settings(control.OnPool)).with("size", nothing),
		"pool list":    args(),
		"pool status":  each(pools),
		"pool check":   args(pools).with("rate", nothing),
		"pool dump":    args(pools).with("output", files),
		"pool repair":  args(either(unmounted, files)),
		"pool upgrade": args(either(pools, files)),
		"pool salvage": args(either(unmounted, files), directories).with("catalog", nothing),
		"pool extend":  args(pools, nothing),
		"pool reduce":  args(pools).with("size", nothing),
		"pool import":  args(nothing).with("directory", directories),
		"pool rename":  args(unmounted, nothing),
		"pool reguid":  args(files),
		"pool forget":  args(unmounted),
		"pool destroy": certified(args(unmounted).with("certificate", files)),
		"mount": args(unmounted, directories).with("options", listOf(mountOptions)).with("memory", nothing).with("expect", nothing).
			with("ready-fd", nothing),
		"umount":       args(mounted),
		"reload":       args(mounted),
		"create":       each(below).with("size", nothing).with("property", settings(control.OnVolume)),
		"import":       args(files, below).with("property", settings(control.OnVolume)).with("format", words("raw", "qcow2")).with("below", nothing),
		"snapshot":     each(freezable),
		"rollback":     args(snapshots),
		"clone":        args(both, below).with("property", settings(control.OnVolume)),
		"hold":         {args: []completer{nothing}, more: snapshots},
		"release":      {args: []completer{nothing}, more: snapshots},
		"holds":        each(both),
		"destroy":      args(destroyable),
		"undestroy":    args(destroyed, mounted, nothing),
		"rename":       args(both, below),
		"resize":       args(volumes, nothing),
		"list":         listed.with("sort", columns).with("sort-descending", columns).with("depth", nothing),
		"tree":         args(having),
		"iostat":       each(mounted),
		"get":          completes{args: []completer{propertyNames}, more: anywhere}.with("fields", listOf(getFields)),
		"set":          each(settingsThen(everywhere, having)),
		"inherit":      {args: []completer{properties(everywhere, "")}, more: having},
		"erase status": args(mounted),
		"erase wait":   each(either(jobs, mounted)).with("timeout", nothing),
		"erase first":  args(jobs, mounted),
		"erase log":    args(mounted).with("since", nothing).with("volume", nothing).with("export", files).with("from", files),
		"erase certificate": certified(each(either(both, mounted, jobs))).with("output", files).with("from", files).
			with("sign-key", files).with("verify", files).with("key", files).with("anchors", files),
		"erase pause":  args(mounted),
		"erase resume": args(mounted),
		"erase audit":  args(mounted),
	}
}

// completable makes the arguments and flags of all commands completable.
func (a *app) completable(root *cobra.Command) {
	for name, c := range completions() {
		cmd, _, err := root.Find(strings.Split(name, " "))
		if err != nil {
			panic(err) // the table names a command that is not there
		}
		cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return a.completeWord(c.argument(len(args)))(cmd, args, word)
		}
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			by, ok := c.flags[f.Name]
			if !ok {
				return
			}
			if err := cmd.RegisterFlagCompletionFunc(f.Name, a.completeWord(by)); err != nil {
				panic(err) // it was made just now
			}
		})
	}
}

// argument is what completes the argument that n others go before.
func (c completes) argument(n int) completer {
	switch {
	case n < len(c.args):
		return c.args[n]
	case c.more != nil:
		return c.more
	}
	return nothing
}
