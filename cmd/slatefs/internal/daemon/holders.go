package daemon

import (
	"fmt"
	"strings"

	"slatefs/fs"
)

// holdersText names who has files open: "qemu-system-x86 (pid 312, vm.raw, writing)".
func holdersText(list []fs.Holder, err error) string {
	if err != nil {
		return "unknown processes: " + err.Error()
	}
	if len(list) == 0 {
		return "processes that this user can't see"
	}
	const most = 10
	var words []string
	for i, h := range list {
		if i == most {
			words = append(words, fmt.Sprintf("%d more", len(list)-most))
			break
		}
		how := "reading"
		if h.Write {
			how = "writing"
		}
		who := fmt.Sprintf("%s (pid %d, %s, %s)", h.Comm, h.PID, h.Path, how)
		if h.Loop != "" {
			who = fmt.Sprintf("%s (%s, %s)", h.Loop, h.Path, how)
		}
		words = append(words, who)
	}
	return strings.Join(words, ", ")
}
