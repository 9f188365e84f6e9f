package main

import (
	"bytes"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// completionCmd is cobra's command that prints a completion script, with bash made to understand FILE@NAME.
func (a *app) completionCmd(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	cmd, _, err := root.Find([]string{"completion", "bash"})
	if err != nil {
		panic(err) // it was made just now
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var b bytes.Buffer
		none, err := cmd.Flags().GetBool("no-descriptions")
		if err == nil {
			err = root.GenBashCompletionV2(&b, !none)
		}
		if err != nil {
			return err
		}
		_, err = io.WriteString(a.stdout, wholeSnapshots(b.String()))
		return err
	}
}

// wholeSnapshots makes cobra's script keep FILE@NAME as one word. To bash an @ divides words, as a = does, and cobra does for
// it what it does for that.
func wholeSnapshots(script string) string {
	const divided = `    __slatefs_handle_special_char "$cur" =` + "\n"
	script = strings.ReplaceAll(script, "init_completion -n =:", "init_completion -n =:@")
	return strings.Replace(script, divided, divided+strings.Replace(divided, " =", " @", 1), 1)
}
