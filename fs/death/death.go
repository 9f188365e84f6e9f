// Package death is where tests end a daemon: at a step of a takeover, or by a request. In a program that is not built with the tag
// "deaths" nothing here does anything, so none that is installed can be ended so.
package death

// Step is a step of a daemon.
type Step string

// The steps of one that goes on where another one ended.
const (
	Given   Step = "given"   // it was given the files of the last one
	Device  Step = "device"  // it has the device, and with it the lock on that
	Locked  Step = "locked"  // and the lock of the pool
	Replay  Step = "replay"  // the pool is open: journal and tail were replayed
	Agreed  Step = "agreed"  // INIT was answered as the last one answered it
	Opens   Step = "opens"   // what is open is known
	Counted Step = "counted" // a life more is counted
	Sent    Step = "sent"    // the kernel was asked to send again
	Listens Step = "listens" // commands reach it
	Serves  Step = "serves"  // whoever keeps the files was told that it serves
)

// The steps of one that makes way for another program.
const (
	Paused Step = "paused" // nothing is in work any more
	Closed Step = "closed" // the pool is closed, with a checkpoint
	Become Step = "become" // it is about to become the other program
)

// Successor and Predecessor are the steps in their order.
var (
	Successor   = []Step{Given, Device, Locked, Replay, Agreed, Opens, Counted, Sent, Listens, Serves}
	Predecessor = []Step{Paused, Closed, Become}
)
