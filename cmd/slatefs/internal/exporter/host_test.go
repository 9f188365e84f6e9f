package exporter

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestOnlyFor: which names are this host's. What a page of another site can be called is none.
func TestOnlyFor(t *testing.T) {
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	h := OnlyFor([]string{"PVE1.example.org.", "pve1", ""}, ok)
	for host, want := range map[string]int{
		"localhost": 200, "localhost:9827": 200, "LOCALHOST.": 200, "127.0.0.1:1": 200, "[::1]:80": 200, "[::1]": 200, "10.1.2.4:9827": 200,
		"[fe80::1%25eth0]:80": 200, "pve1:9827": 200, "pve1.example.org": 200, "Pve1.Example.Org:443": 200,
		"": 421, "evil.example": 421, "evil.example:9827": 421, "localhost.evil.example": 421, "127.0.0.1.evil.example": 421,
		"pve1.evil.example": 421, "example.org": 421, ".": 421, "[evil.example]:1": 421, "2130706433": 421,
	} {
		r, w := httptest.NewRequest(http.MethodGet, "/metrics", nil), httptest.NewRecorder()
		r.Host = host
		if h.ServeHTTP(w, r); w.Code != want {
			t.Errorf("%q: %d, want %d", host, w.Code, want)
		}
	}
}
