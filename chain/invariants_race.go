//go:build race

package chain

const invariants = true
