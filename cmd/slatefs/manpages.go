package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"slatefs/cmd/slatefs/internal/control"
)

// The manual pages are made of the commands, so that they say what --help says. Help texts here are lines as they are to be
// read, not Markdown, and hold tables: cobra's own generator would run them together. What is indented stays as it is, and the
// rest is filled.

// manCmd writes the manual pages; packages call it when they are made.
func (a *app) manCmd() *cobra.Command {
	return &cobra.Command{
		Use:    "__man DIR",
		Short:  "Write the manual pages of all commands into a directory",
		Hidden: true,
		Args:   arguments(1, 1),
		RunE:   func(cmd *cobra.Command, args []string) error { return writeManPages(cmd.Root(), args[0]) },
	}
}

// writeManPages writes a page for a command and each below it.
func writeManPages(cmd *cobra.Command, dir string) error {
	page := filepath.Join(dir, pageName(cmd)+".1")
	if err := os.WriteFile(page, []byte(manPage(cmd)), 0o644); err != nil {
		return err
	}
	for _, sub := range documented(cmd) {
		if err := writeManPages(sub, dir); err != nil {
			return err
		}
	}
	return nil
}

// documented are the commands below one that have pages.
func documented(cmd *cobra.Command) (subs []*cobra.Command) {
	for _, sub := range cmd.Commands() {
		if !sub.Hidden && sub.Name() != "help" {
			subs = append(subs, sub)
		}
	}
	return subs
}

func pageName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// manPage is the page of a command, as man(7) has it.
func manPage(cmd *cobra.Command) string {
	cmd.InitDefaultHelpFlag()
	var b strings.Builder
	fmt.Fprintf(&b, ".TH %q 1 \"\" %q \"slatefs\"\n", strings.ToUpper(pageName(cmd)), "slatefs "+control.Version())
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(pageName(cmd)), roff(cmd.Short))
	use := cmd.UseLine()
	if cmd.HasSubCommands() {
		use = cmd.CommandPath() + " COMMAND …"
	}
	fmt.Fprintf(&b, ".SH SYNOPSIS\n\\fB%s\\fR\n", roff(use))
	text := cmd.Long
	if text == "" {
		text = cmd.Short + "."
	}
	b.WriteString(".SH DESCRIPTION\n" + manText(text))
	if subs := documented(cmd); len(subs) > 0 {
		b.WriteString(".SH COMMANDS\n")
		for _, sub := range subs {
			fmt.Fprintf(&b, ".TP\n\\fB%s\\fR(1)\n%s\n", roff(pageName(sub)), roff(sub.Short))
		}
	}
	b.WriteString(manFlags(cmd.NonInheritedFlags()))
	if cmd.Example != "" {
		b.WriteString(".SH EXAMPLES\n" + verbatim(strings.Split(cmd.Example, "\n")))
	}
	if cmd.HasParent() {
		fmt.Fprintf(&b, ".SH SEE ALSO\n\\fB%s\\fR(1)\n", roff(pageName(cmd.Parent())))
	}
	return b.String()
}

// manFlags describes flags.
func manFlags(flags *pflag.FlagSet) string {
	var b strings.Builder
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		what, usage := pflag.UnquoteUsage(f)
		name := `\fB` + roff("--"+f.Name) + `\fR`
		if f.Shorthand != "" {
			name = `\fB` + roff("-"+f.Shorthand) + `\fR, ` + name
		}
		if f.Value.Type() == "bool" {
			what = ""
		}
		if what != "" {
			name += ` \fI` + roff(what) + `\fR`
		}
		fmt.Fprintf(&b, ".TP\n%s\n%s\n", name, roff(usage))
	})
	if b.Len() == 0 {
		return ""
	}
	return ".SH OPTIONS\n" + b.String()
}

// manText fills what is text and keeps what is indented.
func manText(text string) string {
	var b strings.Builder
	var block []string
	flush := func() {
		if len(block) > 0 {
			b.WriteString(verbatim(block))
			block = nil
		}
	}
	for line := range strings.SplitSeq(text, "\n") {
		switch {
		case strings.HasPrefix(line, "  "):
			block = append(block, line)
			continue
		case line == "":
			flush()
			b.WriteString(".PP\n")
			continue
		}
		flush()
		b.WriteString(roff(line) + "\n")
	}
	flush()
	return b.String()
}

// verbatim keeps lines as they are.
func verbatim(lines []string) string {
	var b strings.Builder
	b.WriteString(".nf\n")
	for _, line := range lines {
		b.WriteString(roff(line) + "\n")
	}
	return b.String() + ".fi\n"
}

// roff escapes a line: a backslash, a minus that would become a hyphen, and what would be a request at the line's beginning.
func roff(line string) string {
	line = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(line)
	if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
		return `\&` + line
	}
	return line
}
