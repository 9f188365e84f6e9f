package main

import "github.com/spf13/cobra"

func (a *app) poolCmd() *cobra.Command {
	return group("pool", "Make, show, check, extend and destroy pools", `  slatefs pool create --size 20G lab /var/lib/lab.pool
  slatefs pool status lab`,
		a.poolCreateCmd(), a.poolListCmd(), a.poolStatusCmd(), a.poolCheckCmd(), a.poolDumpCmd(), a.poolRepairCmd(),
		a.poolUpgradeCmd(), a.poolSalvageCmd(),
		a.poolExtendCmd(), a.poolReduceCmd(), a.poolImportCmd(), a.poolRenameCmd(), a.poolReguidCmd(), a.poolForgetCmd(),
		a.poolDestroyCmd())
}
