package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The words of a row of README's table of commands: of its usage only.
var (
	usageRow  = regexp.MustCompile("(?m)^\\| (`slatefs .*) \\| [^|]*\\|$")
	usagePart = regexp.MustCompile("`([^`]+)`")
	longFlag  = regexp.MustCompile(`--([a-z][a-z-]*)`)
	shortFlag = regexp.MustCompile(`(?:^|[ \[|])-([A-Za-z]+)`)
)

// TestREADMECommands: the table of commands in README.md has each command, and no flag that there is not.
func TestREADMECommands(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	root := (&app{host: testHost(t)}).root()
	seen := map[*cobra.Command]bool{}
	for _, row := range usageRow.FindAllStringSubmatch(string(text), -1) {
		var last *cobra.Command
		for _, part := range usagePart.FindAllStringSubmatch(row[1], -1) {
			usage := strings.ReplaceAll(part[1], `\|`, "|")
			cmds := usageCommands(root, last, usage)
			for _, cmd := range cmds {
				seen[cmd], last = true, cmd
				wrongFlags(t, cmd, usage)
			}
		}
		if last == nil {
			t.Errorf("README.md: of no command: %s", row[1])
		}
	}
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
		if cmd.Runnable() && !cmd.HasSubCommands() && !cmd.Hidden && cmd.Name() != "help" && !seen[cmd] && !seen[cmd.Parent()] {
			t.Errorf("README.md does not list %s", cmd.CommandPath())
		}
	}
	walk(root)
}

// usageCommands are the commands that a usage is of. One that does not begin with the program's name is another form of the one
// before, or of one beside that.
func usageCommands(root, before *cobra.Command, usage string) (cmds []*cobra.Command) {
	words := strings.Fields(usage)
	at := root
	if words[0] == "slatefs" {
		words = words[1:]
	} else if before != nil && before.Parent() != nil {
		at = before.Parent()
	}
	for len(words) > 0 {
		var found []*cobra.Command
		for _, name := range strings.Split(words[0], "|") {
			i := slices.IndexFunc(at.Commands(), func(c *cobra.Command) bool { return c.Name() == name })
			if i >= 0 {
				found = append(found, at.Commands()[i])
			}
		}
		if len(found) == 0 {
			return cmds
		}
		cmds, at, words = found, found[0], words[1:]
	}
	return cmds
}

// wrongFlags tells which flags of a usage a command does not have.
func wrongFlags(t *testing.T, cmd *cobra.Command, usage string) {
	t.Helper()
	flag := func(f *pflag.Flag, as string) {
		if f == nil {
			t.Errorf("README.md: %s has no %s: %s", cmd.CommandPath(), as, usage)
		}
	}
	for _, m := range longFlag.FindAllStringSubmatch(usage, -1) {
		flag(cmd.Flag(m[1]), "--"+m[1])
	}
	for _, m := range shortFlag.FindAllStringSubmatch(usage, -1) {
		for _, c := range m[1] {
			flag(cmd.Flags().ShorthandLookup(string(c)), "-"+string(c))
		}
	}
}
