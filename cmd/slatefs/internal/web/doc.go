// Package web is the page that shows the pools of a host, and the few things that can be done there. It knows no pool itself: it
// asks the daemons by their control sockets, as commands do, and what they refuse is refused here. What holds here:
//
//   - Who has not logged in changes nothing, and causes no signature. Who has, does what the user of this process may do (guard.go,
//     login.go).
//   - A request is for us by its Host, a change is from our own page by its origin and the session's token, and is asked for twice: what
//     it would do is shown before it is done (actions.go).
//   - A page needs nothing from elsewhere, and no script: with one it is live (live.go).
//   - Names are bytes: they are escaped for people by show.Escape, and for HTML by html/template. In forms and addresses they are
//     as show.Escape makes them, which loses nothing.
//   - A daemon that hangs costs its own part of a page, and 2 s once (ask.go). Visitors who ask the same have one answer, and a daemon has
//     few questions of the page at a time (answers.go).
//   - What is done is what was shown: a form has a mark of the chain as it was then.
//   - What is kept in memory is bounded: sessions, samples of the last hour, listeners, what is read of a request.
package web
