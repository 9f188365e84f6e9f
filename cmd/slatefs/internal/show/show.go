// Package show is where what slatefs tells people and programs gets its form: tables and JSON, sizes and times, progress, errors
// with their hints and the exit codes that follow from them. It decides how a thing is written, never what is written, and
// knows no pool, no daemon and no host. What holds here:
//
//   - Names and paths are strings of bytes. They travel and are kept exactly (exact.go), and are escaped once, where they are
//     shown (escape.go): Table and Report do that for their callers, who print nothing else without Escape or Printable.
//   - What scripts read is an ABI: exit codes (errors.go), the columns of -H, the numbers of -p, and the objects of -j, which
//     have an output_version (json.go). Sizes are bytes, binary units; exact times are seconds since 1970.
//   - Results go to stdout; progress, notes and errors to stderr. Nothing here chooses: the writer is the caller's.
//
// Nothing here may be called by two goroutines at once on one value; functions without a receiver keep no state.
package show
