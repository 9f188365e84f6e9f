//go:build !race

package chain

// stepsOfHolds tells how many steps the longest hold of the plan lock had while fn ran: a build for the race detector knows.
func stepsOfHolds(fn func()) (most int, where string) {
	fn()
	return 0, ""
}
