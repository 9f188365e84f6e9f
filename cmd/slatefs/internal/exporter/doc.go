// Package exporter makes metrics for Prometheus of what the daemons of a host tell. What holds here:
//
//   - No daemon holds a scrape, or another daemon's numbers: each is asked beside the others, and who has not answered within Limit is
//     slatefs_pool_up 0. It is not asked again before it has answered, or ended: nothing piles up at one that hangs (question.go).
//   - What may hang beside that (commands of LVM) is read in the background; a scrape tells what was found last (groups.go).
//   - Names follow Prometheus' conventions: base units, _total for what only grows. They, and the labels, are an ABI (families.go).
//   - There are as many series as pools times what is in the tables here, and volumes times volumeFamilies, which can be left out.
//     No label has words of an error, a client or a snapshot in it.
//   - Names in pools are bytes: labels have them escaped, as everywhere where they are shown, so that they are UTF-8.
package exporter
