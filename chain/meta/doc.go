// Package meta holds the metadata pages of a pool: the page store with its
// free map and cache, the B+tree (catalog, dead lists, group table) and the
// map of a layer.
//
// Invariants:
//
//   - A page is made once, with its final content, and never changed: an
//     operation on a tree makes new pages from the leaves up and returns a new
//     root. Who holds an older root still sees the older tree, until the pages
//     that it lost are reused.
//   - A page on the device that a durable superblock may reach is not reused
//     before the next superblock is durable. A page that was never sealed is
//     reached by nobody else and may be reused at once.
//   - Every page is vouched for by the xxhash64 in its pointer. Content that
//     does not match is never decoded; where the pointer names a twin, the
//     second copy serves and repairs it; else the error is ErrCorrupt.
//   - A child's level, key and counts must be what its parent says, so that a
//     walk over wrong metadata always ends.
//   - No page holds guest bytes.
//
// Order on disk, kept by the caller: pages (Seal, Flush), device sync,
// superblock with the root that Seal returned, device sync, then Durable, then
// Scrub.
//
// There is one writer at a time (under the caller's structure lock); readers
// run at any time. A reader whose root was replaced while it read may get
// ErrCorrupt for a page that was reused: it takes the present root and, if that
// is another one, reads again.
package meta
