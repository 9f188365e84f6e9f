package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"slatefs/cmd/slatefs/internal/certificate"
	"slatefs/cmd/slatefs/internal/control"
)

// certificate makes one of a job or a volume, signed by the pool's key, for who has logged in: a signature is not given to anybody. It is a
// file for the browser to keep: its page has a style of its own, and is not shown here.
func (s *Server) certificate(w http.ResponseWriter, r *http.Request, p Pool) {
	if s.sessions.of(r) == nil || p.Live == nil {
		s.refuse(w, r, http.StatusForbidden, errors.New("only who has logged in gets a certificate, of a pool that is mounted"))
		return
	}
	ctx, cancel := context.WithTimeout(control.WithActor(r.Context(), "web "+r.RemoteAddr), actTime)
	defer cancel()
	of := r.FormValue("of")
	res, err := control.Certify.Call(ctx, *p.Live, control.CertifyArgs{Asked: []string{of}})
	var signed *certificate.Signed
	if err == nil {
		signed, err = certificate.Read(res.Signed)
	}
	if err != nil {
		s.refuse(w, r, http.StatusConflict, err)
		return
	}
	kind, body := "text/plain; charset=utf-8", []byte(nil)
	form := cmp.Or(r.FormValue("form"), "html")
	switch form {
	case "json":
		kind, body = "application/json", signed.JSON()
	case "html":
		kind, body = "text/html; charset=utf-8", signed.HTML()
	default:
		form, body = "txt", signed.Text()
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Disposition", fmt.Sprintf(`attachment; filename="certificate-%s.%s"`, plain(of), form))
	_, _ = w.Write(body) //nolint:errcheck // nobody reads it any more
}

// plain is a text as part of the name of a file.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '_'
	}, s)
}
