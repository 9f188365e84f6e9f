package control

import (
	"bytes"
	"strconv"
	"strings"
)

// Importing is what stands behind the name of a volume that an import has not finished.
const Importing = ".importing"

// HalfAttr is the extended attribute of such a volume, HalfMark its value. An import sets it with the call after the one that makes
// the volume, before anything is in it, and takes it away just before the volume gets its name. The value is the inode's number, which
// a pool gives once: on a copy, which has another number, the mark says nothing.
const HalfAttr = "user.slatefs.importing"

// HalfMark is the value of HalfAttr of a volume with that inode number.
func HalfMark(ino uint64) []byte { return strconv.AppendUint(nil, ino, 10) }

// HalfNamed tells whether a volume is called as an import calls it meanwhile. By itself that proves nothing: anybody may choose a name.
func HalfNamed(name string) bool { return strings.HasSuffix(name, Importing) }

// HalfMade tells by name, number and value of HalfAttr whether a volume is what an import makes, or has left: only that may be destroyed
// unasked.
func HalfMade(name string, ino uint64, mark []byte) bool {
	return HalfNamed(name) && bytes.Equal(mark, HalfMark(ino))
}
