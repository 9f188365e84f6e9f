//go:build race

package chain

// stepsOfHolds tells how many steps the longest hold of the plan lock had while fn ran, and whose it was.
func stepsOfHolds(fn func()) (most int, where string) {
	restore := holds.apart()
	defer restore()
	fn()
	if by := holdsByPlace(); len(by) > 0 {
		return by[0].most, by[0].place
	}
	return 0, ""
}
