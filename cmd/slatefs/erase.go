package main

import (
	"github.com/spf13/cobra"
)

func (a *app) eraseCmd() *cobra.Command {
	cmd := group("erase", "Show, await, steer and audit the erasing of what was freed", `  slatefs erase status lab
  slatefs erase wait lab
  slatefs erase pause lab`, a.eraseStatusCmd(), a.eraseWaitCmd(), a.erasePauseCmd(true), a.erasePauseCmd(false),
		a.eraseAuditCmd(), a.eraseFirstCmd(), a.eraseLogCmd(), a.eraseCertificateCmd())
	cmd.Long = `What a destroy, a rollback or a discard frees is zeroed in the background, by the rate of the pool's property
erase_throughput. Nothing is handed out again before it is zero on the device.`
	return cmd
}
