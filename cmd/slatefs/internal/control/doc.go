// Package control is what a daemon and the commands that ask it have in common, and all that they have in common: the operations
// with the types of their arguments and results (ops.go, args.go, result*.go), the kinds of errors (errors.go), and the two ends
// of the socket (server.go, client.go). It does nothing itself: the daemon handles operations, the commands print results.
//
// A client connects to the socket, writes one request as a line of JSON, and reads the answer as lines of JSON: any number of
// events, and then an error or the result. What holds here:
//
//   - An operation is one value, Op or Stream, which both sides use: they cannot mean different types by one name. Each has one
//     handler, and a caller.
//   - errors.Is finds in the client what it would have found in the daemon, and the hint is there; a kind that only one of two
//     versions knows is text to the other.
//   - Who asks is who the kernel says, at each connection. Only root and the daemon's own user are answered.
//   - A client can hold nobody up: what it may say is bounded, in bytes and in time, and so is how long it may take to read when
//     the daemon ends. Who hangs up has changed his mind: the context of his operation ends.
//   - Strings are bytes, and arrive as they were (internal/show's Encode and Decode).
//
// It is lines, and not net/http, on purpose. One request on a connection needs no routes, headers or bodies; a stream is only more
// lines before the last; and who hangs up, or who is at the other end, is plain to see on a connection of one's own. An endpoint
// for those who speak HTTP, as scrapers of metrics do, is a listener of its own beside this one: they cannot dial this socket,
// and may not have its rights.
package control
