package control

import "runtime/debug"

// stamp is the version that whoever builds a binary gives it: -ldflags "-X slatefs/cmd/slatefs/internal/control.stamp=VERSION".
// make does, with what packaging/version prints.
var stamp string

// unstamped is the version of a binary of which nobody knows more. As a version of a Debian package it is older than any other.
const unstamped = "0~unstamped"

// Version is what the build says of itself. It is never empty, and stands in what this program signs.
func Version() string {
	info, _ := debug.ReadBuildInfo() // nil: without it
	return versionOf(stamp, info)
}

// versionOf is the stamp, or else what the Go tool has put in.
func versionOf(stamp string, info *debug.BuildInfo) string {
	switch {
	case stamp != "":
		return stamp
	case info != nil && info.Main.Version != "" && info.Main.Version != "(devel)":
		return info.Main.Version
	}
	return unstamped
}
