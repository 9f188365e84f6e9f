package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"slatefs/chain"
)

// forecast is what an operation would need, as it travels. What would be refused is an error instead.
type forecast struct {
	What, Why   string
	Need, Avail int64 // bytes
}

// forecastOf turns a forecast of the pool into what is shown, or into the refusal.
func forecastOf(f chain.Forecast) ([]forecast, error) {
	if f.Err != nil {
		return nil, f.Err
	}
	return []forecast{{f.What, f.Why, f.Need, f.Avail}}, nil
}

// dryFlag adds -n.
func dryFlag(cmd *cobra.Command, dry *bool) {
	cmd.Flags().BoolVarP(dry, "dry-run", "n", false, "only say what it would need, and whether it would be refused")
}

// printForecasts prints what would be done; without a dry run there is nothing.
func (a *app) printForecasts(list []forecast) error {
	for _, f := range list {
		why := ""
		if f.Why != "" {
			why = " (" + f.Why + ")"
		}
		needs := "needs " + formatSize(f.Need)
		if f.Need < 0 {
			needs = "gives back " + strings.TrimPrefix(formatSize(f.Need), "-")
		}
		if _, err := fmt.Fprintf(a.stdout, "would %s: %s%s, %s available\n", f.What, needs, why, formatSize(f.Avail)); err != nil {
			return err
		}
	}
	return nil
}
