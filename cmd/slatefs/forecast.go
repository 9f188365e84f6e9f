package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"slatefs/cmd/slatefs/internal/show"
)

// dryFlag adds -n.
func dryFlag(cmd *cobra.Command, dry *bool) {
	cmd.Flags().BoolVarP(dry, "dry-run", "n", false, "only say what it would need, and whether it would be refused")
}

// printForecasts prints what would be done; without a dry run there is nothing.
func (a *app) printForecasts(list []string) error {
	for _, text := range list {
		if _, err := fmt.Fprintln(a.stdout, show.Escape(text)); err != nil {
			return err
		}
	}
	return nil
}
