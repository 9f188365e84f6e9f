package fs

import "slatefs/chain"

// A node id names what it stands for:
//
//	bits 0-47  inode number of a file, directory or symlink, or layer number of a snapshot
//	bit  61    the snapshot file of that layer
//	bit  62    the .snap directory of the directory with that inode number
//
// The root is inode 1, which is FUSE's root node.
const (
	snapFileBit = uint64(1) << 61
	snapDirBit  = uint64(1) << 62
	numMask     = uint64(1)<<48 - 1
)

// generation goes with every node id. It never changes, since inode and layer numbers are never reused.
const generation = 1

// nodeKind is what a node id stands for.
type nodeKind uint8

const (
	plain    nodeKind = iota + 1 // an inode
	snapDir                      // .snap of a directory
	snapFile                     // a snapshot in it
)

// split takes a node id apart: an inode number, or a layer number for a snapFile.
func split(node uint64) (nodeKind, uint64) {
	switch num := node & numMask; {
	case node&snapDirBit != 0:
		return snapDir, num
	case node&snapFileBit != 0:
		return snapFile, num
	default:
		return plain, num
	}
}

// snapDirNode is the node id of dir's .snap.
func snapDirNode(dir chain.Ino) uint64 { return uint64(dir) | snapDirBit }

// snapFileNode is the node id of a snapshot's file.
func snapFileNode(id chain.LayerID) uint64 { return uint64(id) | snapFileBit }
