package web

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"
)

// Sessions end so long after their last request, and are so many at most: the one that was not used for longest goes first.
const (
	sessionIdle = time.Hour
	sessionEnd  = 12 * time.Hour // after the login
	maxSessions = 64
	cookieName  = "slatefs-session"
)

// minToken bounds a token from below, in bytes: it is no password that somebody thought of.
const minToken = 20

// maxToken bounds the file of a token, in bytes.
const maxToken = 4096

// ReadToken reads the token that a login asks for. The file must be a plain one of the user that runs this or of root, and nobody else's
// to read.
func ReadToken(path string) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() //nolint:errcheck // it was only read
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	switch uid := st.Uid; {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return "", fmt.Errorf("%s: is no plain file", path)
	case uid != 0 && int(uid) != os.Geteuid():
		return "", fmt.Errorf("%s: belongs to user %d", path, uid)
	case st.Mode&0o077 != 0:
		return "", fmt.Errorf("%s: others may read it: want mode 0600", path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxToken))
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(b))
	if len(token) < minToken {
		return "", fmt.Errorf("%s: has a token of %d characters: want %d at least, as of head -c 24 /dev/urandom | base64",
			path, len(token), minToken)
	}
	return token, nil
}

// sessions are those who have logged in.
type sessions struct {
	token [sha256.Size]byte // its hash, so that the comparison takes as long for any length
	none  bool              // there is no token, and no login
	mu    sync.Mutex
	tries map[string]*rate.Limiter // by address: who tries tokens keeps nobody elsewhere out
	open  map[string]*session      // by the cookie
	now   func() time.Time
}

// maxAddresses bounds the addresses of which tries are counted. Where there are more, counting begins anew.
const maxAddresses = 1024

// session is one browser's login. Its csrf goes into each form and must come back.
type session struct {
	csrf  string
	began time.Time
	used  time.Time
}

func newSessions(token string, now func() time.Time) *sessions {
	return &sessions{
		token: sha256.Sum256([]byte(token)), none: token == "", tries: map[string]*rate.Limiter{}, open: map[string]*session{}, now: now,
	}
}

// Errors of a login.
var (
	errTooFast = errors.New("too many tried to log in: wait some seconds")
	errToken   = errors.New("this is not the token")
)

// mayTry counts a try from an address: five at once, then one a second.
func (l *sessions) mayTry(from string) bool {
	if host, _, err := net.SplitHostPort(from); err == nil {
		from = host
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.tries) > maxAddresses {
		clear(l.tries)
	}
	if l.tries[from] == nil {
		l.tries[from] = rate.NewLimiter(rate.Every(time.Second), 5)
	}
	return l.tries[from].AllowN(l.now(), 1)
}

// login makes a session for who knows the token, and returns its cookie. from is the address that it is tried from.
func (l *sessions) login(token, from string) (*http.Cookie, error) {
	if l.none {
		return nil, errToken
	}
	if !l.mayTry(from) {
		return nil, errTooFast
	}
	if h := sha256.Sum256([]byte(token)); subtle.ConstantTimeCompare(h[:], l.token[:]) != 1 {
		return nil, errToken
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sweep()
	id := rand.Text()
	l.open[id] = &session{csrf: rand.Text(), began: l.now(), used: l.now()}
	return l.cookie(id, 0), nil
}

// sweep ends what was not used, and the longest unused where they are too many. mu is held.
func (l *sessions) sweep() {
	oldest := ""
	for id, s := range l.open {
		switch {
		case l.over(s):
			delete(l.open, id)
		case oldest == "" || s.used.Before(l.open[oldest].used):
			oldest = id
		}
	}
	if len(l.open) >= maxSessions {
		delete(l.open, oldest)
	}
}

// over tells whether a session has ended. mu is held.
func (l *sessions) over(s *session) bool {
	return l.now().Sub(s.used) > sessionIdle || l.now().Sub(s.began) > sessionEnd
}

// of is the session of a request, or nil.
func (l *sessions) of(r *http.Request) *session {
	c, err := r.Cookie(cookieName)
	if err != nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.open[c.Value]
	if s == nil || l.over(s) {
		delete(l.open, c.Value)
		return nil
	}
	s.used = l.now()
	return s
}

// logout ends the session of a request, and returns what takes the cookie away.
func (l *sessions) logout(r *http.Request) *http.Cookie {
	if c, err := r.Cookie(cookieName); err == nil {
		l.mu.Lock()
		delete(l.open, c.Value)
		l.mu.Unlock()
	}
	return l.cookie("", -1)
}

func (l *sessions) cookie(value string, age int) *http.Cookie {
	return &http.Cookie{Name: cookieName, Value: value, Path: "/", MaxAge: age, HttpOnly: true, SameSite: http.SameSiteStrictMode}
}

// honest tells whether a form is one that this server made for the session.
func (s *session) honest(r *http.Request) bool {
	return s != nil && subtle.ConstantTimeCompare([]byte(r.PostFormValue("csrf")), []byte(s.csrf)) == 1
}
