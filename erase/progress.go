package erase

import (
	"fmt"
	"time"
)

// ProgressLine is the progress of an erase as Proxmox's task log shows it
// where there is no terminal: bytes, MiB, seconds, bytes/s, MiB/s (it says MB).
//
//	524288000 B 500.0 MB 10.00 s 52427643 B/s 50.00 MB/s
func ProgressLine(bytes int64, elapsed time.Duration) string {
	const mib = 1 << 20
	var rate float64
	if elapsed > 0 {
		rate = float64(bytes) / elapsed.Seconds()
	}
	return fmt.Sprintf("%d B %.1f MB %.2f s %d B/s %.2f MB/s",
		bytes, float64(bytes)/mib, elapsed.Seconds(), int64(rate), rate/mib)
}
