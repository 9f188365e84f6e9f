package exporter

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// OnlyFor lets requests through that call this host by an address, localhost, or one of the names, in any case; others are answered
// with 421. A page of another site whose name was made to lead here (DNS rebinding) has that site's name in its Host, and could read what
// a browser beside us may reach; an address nobody can make lead elsewhere. The port is not looked at: a tunnel has another one.
func OnlyFor(names []string, next http.Handler) http.Handler {
	own := map[string]bool{"localhost": true}
	for _, n := range names {
		own[plainName(n)] = true
	}
	delete(own, "")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.Host
		if h, _, err := net.SplitHostPort(name); err == nil {
			name = h
		}
		name = plainName(strings.TrimSuffix(strings.TrimPrefix(name, "["), "]"))
		if _, err := netip.ParseAddr(name); err != nil && !own[name] {
			http.Error(w, "this is not the name of this server; slatefs exporter --host NAME adds one", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// plainName is a name of a host as it is compared.
func plainName(s string) string { return strings.ToLower(strings.TrimSuffix(s, ".")) }
