//go:build !race

package chain

// invariants are checked where that costs too much for every day, and break the process where they would else be logged.
const invariants = false
