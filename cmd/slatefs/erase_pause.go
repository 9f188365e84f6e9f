package main

import (
	"context"

	"github.com/spf13/cobra"

	"slatefs/cmd/slatefs/internal/control"
)

// erasePauseCmd is pause, or resume.
func (a *app) erasePauseCmd(pause bool) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pause POOL",
		Short: "Let the background rest",
		Long: `Stops erasing in the background until slatefs erase resume, over restarts too. Writers that find no clean block still get
one zeroed: nothing is handed out that is not zero.`,
		Example: `  slatefs erase pause lab
  slatefs erase resume lab`,
	}
	value := "on"
	if !pause {
		value = "off"
		cmd.Use, cmd.Short, cmd.Long = "resume POOL", "End a pause", "Ends a pause, and goes on erasing at once, if the window is open."
		cmd.Example = "  slatefs erase resume lab"
	}
	cmd.Args = arguments(1, 1)
	cmd.RunE = plain(func(ctx context.Context, args []string) error {
		l, err := a.mountedPool(args[0])
		if err != nil {
			return err
		}
		set := control.SetArgs{
			Object:   control.Object{Path: "/", Arg: args[0]},
			Settings: []control.Setting{{Name: control.PropPaused, Value: value}},
		}
		_, err = control.Set.Call(ctx, l, set)
		return err
	})
	return cmd
}
