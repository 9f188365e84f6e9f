package web

import (
	"net"
	"net/http"
	"strings"
)

// policy lets a page load what this server has, and nothing else; no page of others may frame it.
const policy = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"

// maxBody bounds what is read of a request, in bytes: forms are small.
const maxBody = 64 << 10

// guard lets requests through that are for this server by their Host, and sets the headers that all answers have. A page of another
// site whose name was made to lead here has that site's Host (DNS rebinding).
func (s *Server) guard(next http.Handler) http.Handler {
	own := http.NewCrossOriginProtection()
	next = own.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if !s.forUs(r.Host) {
			http.Error(w, "this is not the name of this server; slatefs web --host NAME adds one", http.StatusMisdirectedRequest)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}

// forUs tells whether a Host header names this server: an address of a loop-back, localhost, what it listens on, or a name that it was
// given. The port is not looked at: who is reached through a tunnel has another one.
func (s *Server) forUs(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.ToLower(strings.TrimSuffix(strings.Trim(name, "[]"), "."))
	if ip := net.ParseIP(name); ip != nil && ip.IsLoopback() {
		return true
	}
	return name == "localhost" || s.hosts[name]
}
