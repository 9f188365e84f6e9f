package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

// What a shell offers when the user presses TAB. It knows what is there: it asks the daemons, as a command would. What holds
// here:
//
//   - It never holds a shell: after shellWaits there is nothing to offer, whatever does not answer.
//   - It touches no file below a mount of ours, and runs nothing.
//   - A name that a terminal or a line could not take as it is is not offered; who means it types it (cmd's package comment).
//   - Each argument of each command, and each flag with a value, is in the table of completetable.go; a test says so.

// shellWaits is how long a shell waits for completions, at most.
const shellWaits = time.Second

// completion is one word that is being typed.
type completion struct {
	ctx   context.Context
	app   *app
	find  *host.Finder
	args  []string // those before it
	word  string   // as far as it is typed
	shell cobra.ShellCompDirective
}

// completer lists what a word may become; texts that do not begin with it are left out later. It may be stopped at any time.
type completer func(c *completion) []offer

// offer is a text that a word may become, and what it is.
type offer struct{ text, about string }

// completeWord is what cobra asks for completions of an argument or the value of a flag.
func (a *app) completeWord(by completer) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), a.completeWithin)
		defer cancel()
		type answer struct {
			texts []cobra.Completion
			shell cobra.ShellCompDirective
		}
		done := make(chan answer, 1)
		go func() { // which a file system that does not answer may hold
			quiet := *a
			quiet.host.OnWarning, quiet.host.OnNote = nil, nil
			c := &completion{ctx: ctx, app: &quiet, args: args, word: word, shell: cobra.ShellCompDirectiveNoFileComp}
			var err error
			if c.find, err = quiet.finder(); err != nil {
				done <- answer{nil, c.shell}
				return
			}
			texts := c.fit(by(c))
			done <- answer{texts, c.shell}
		}()
		select {
		case is := <-done:
			return is.texts, is.shell
		case <-ctx.Done():
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
	}
}

// fit keeps what the word may become and what can be shown as it is. No blank follows where the word goes on: after a
// directory, PROP= and FILE@.
func (c *completion) fit(list []offer) (fit []cobra.Completion) {
	ended := false
	for _, o := range list {
		if !strings.HasPrefix(o.text, c.word) || show.Escape(o.text) != o.text || strings.TrimSpace(o.text) != o.text {
			continue
		}
		ended = ended || !strings.ContainsRune("/=@", rune(o.text[len(o.text)-1]))
		fit = append(fit, cobra.CompletionWithDesc(o.text, show.Escape(o.about)))
	}
	if len(fit) > 0 && !ended {
		c.shell |= cobra.ShellCompDirectiveNoSpace
	}
	return fit
}

// nothing is a word that only the user knows: a new name, a size, a time.
func nothing(*completion) []offer { return nil }

// files is a word that is a file or device outside of pools: the shell knows them.
func files(c *completion) []offer {
	c.shell = cobra.ShellCompDirectiveDefault
	return nil
}

// directories is files where only directories will do.
func directories(c *completion) []offer {
	c.shell = cobra.ShellCompDirectiveFilterDirs
	return nil
}

// either is several at once.
func either(all ...completer) completer {
	return func(c *completion) (list []offer) {
		for _, by := range all {
			list = append(list, by(c)...)
		}
		return list
	}
}

// words are a few.
func words(texts ...string) completer {
	return func(*completion) (list []offer) {
		for _, text := range texts {
			list = append(list, offer{text: text})
		}
		return list
	}
}

// listOf is words with commas between, each of them once.
func listOf(one completer) completer {
	return func(c *completion) (list []offer) {
		before := c.word[:strings.LastIndexByte(c.word, ',')+1]
		have := strings.Split(before, ",")
		rest := *c
		rest.word = c.word[len(before):]
		for _, o := range one(&rest) {
			if !slices.Contains(have, o.text) {
				list = append(list, offer{before + o.text, o.about})
			}
		}
		return list
	}
}
