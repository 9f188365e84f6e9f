package main

import (
	"context"
	"errors"
	"os"
)

// state is what a row wants to find: what was done to the file that is opened.
type state int

const (
	written  state = iota // all blocks are there, in place
	snapshot              // the same, and a snapshot of it was taken now
	holes                 // a new file without a block
)

// peer is one of those that are measured. ready returns the path to open for a row that begins now, or errNone.
type peer interface {
	ready(ctx context.Context, st state) (path string, err error)
	pid() int // of the process that serves; 0: none
}

// healer is a peer that comes back after a row that failed.
type healer interface {
	heal(ctx context.Context) error
}

// errNone: the peer has no such thing.
var errNone = errors.New("the peer has none")

const (
	native  = "native"
	bare    = "bare"
	qsd     = "qsd"
	slate   = "slatefs"
	loop    = "slatefs-loop"
	classic = "slatefs-classic"
)

// kinds makes the peers. slate is the mount as users get it; loop and classic name the transport.
var kinds = map[string]func(ctx context.Context, g *ground, name string) (peer, error){
	native: newNative, bare: newBare, qsd: newQSD, slate: newSlate, loop: newSlate, classic: newSlate,
}

// peerNames are those of kinds, in the order in which they take turns.
func peerNames() []string { return []string{native, bare, qsd, slate, loop, classic} }

// nativePeer is the file itself.
type nativePeer struct{ g *ground }

func newNative(_ context.Context, g *ground, _ string) (peer, error) {
	return &nativePeer{g}, fill(g.path("native.raw"), g.size)
}

func (p *nativePeer) pid() int { return 0 }

// ready has no snapshots and no layers: what is compared with those are writes in place and reads.
func (p *nativePeer) ready(_ context.Context, st state) (string, error) {
	if st != holes {
		return p.g.path("native.raw"), nil
	}
	return sparse(p.g.path("native-holes.raw"), p.g.size)
}

// sparse makes a file that is one hole, in place of the one before.
func sparse(path string, size int64) (string, error) {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return "", err
	}
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	return path, errors.Join(f.Truncate(size), f.Close())
}
