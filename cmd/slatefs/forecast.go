package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/show"
)

// forecastOf turns a forecast of the pool into what is shown, or into the refusal.
func forecastOf(f chain.Forecast) ([]string, error) {
	if f.Err != nil {
		return nil, f.Err
	}
	return []string{f.String()}, nil
}

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
