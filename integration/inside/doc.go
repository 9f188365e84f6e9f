//go:build guest

// Package inside has the tests that run in a guest, as root on a kernel with device-mapper, with nothing but /dev/vda and
// further empty disks. The package integration compiles it, boots guests, and makes a subtest of each test here.
package inside
