package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/web"
)

const webToken = "a token that is long enough"

// browser is somebody who looks at the page of a lab.
type browser struct {
	t    *testing.T
	http *http.Client
	url  string
	pool string // the address of the pool
}

// webOf serves the page of a lab; token "" is a page on which nothing can be done.
func webOf(l *lab, token string) *browser {
	l.t.Helper()
	pools := &webPools{app: l.app}
	s := web.New(web.Options{Source: pools.list, Token: token, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	ctx, cancel := context.WithCancel(l.t.Context())
	in, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		l.t.Fatal(err)
	}
	over := make(chan error)
	go func() { over <- s.Serve(ctx, in) }()
	l.t.Cleanup(func() {
		cancel()
		if err := <-over; err != nil {
			l.t.Error(err)
		}
	})
	return newBrowser(l.t, "http://"+in.Addr().String())
}

func newBrowser(t *testing.T, at string) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t, &http.Client{Jar: jar, Timeout: time.Minute}, at, "/pool/" + uuid.UUID{9}.String()}
	t.Cleanup(b.http.CloseIdleConnections)
	return b
}

// get is a page and its status.
func (b *browser) get(at string) (string, int) {
	b.t.Helper()
	r, err := b.http.Get(b.url + at)
	return b.read(r, err)
}

func (b *browser) read(r *http.Response, err error) (string, int) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	_ = r.Body.Close()
	return string(body), r.StatusCode
}

// sees fetches a page that must have all texts.
func (b *browser) sees(at string, want ...string) string {
	b.t.Helper()
	page, code := b.get(at)
	if code != http.StatusOK {
		b.t.Fatalf("%s: %d\n%s", at, code, page)
	}
	for _, w := range want {
		if !strings.Contains(page, w) {
			b.t.Errorf("%s has no %q:\n%s", at, w, page)
		}
	}
	return page
}

func (b *browser) post(at string, form url.Values) (string, int) {
	b.t.Helper()
	r, err := b.http.PostForm(b.url+at, form)
	return b.read(r, err)
}

func (b *browser) login() {
	b.t.Helper()
	if page, code := b.post("/login", url.Values{"token": {webToken}}); code != http.StatusOK || !strings.Contains(page, "Log out") {
		b.t.Fatal(code, page)
	}
}

var hiddenField = regexp.MustCompile(`type="hidden" name="([a-z]+)" value="([^"]*)"`)

// confirm asks for an action, and does what the page offers then. It returns what was said before and after.
func (b *browser) confirm(query string) (asked, done string) {
	b.t.Helper()
	asked = b.sees(b.pool + "/ask?" + query)
	form := url.Values{}
	at := strings.LastIndex(asked, `<form method="post" action="`+b.pool+`/do">`)
	if at < 0 {
		b.t.Fatalf("nothing to confirm:\n%s", asked)
	}
	for _, m := range hiddenField.FindAllStringSubmatch(asked[at:], -1) {
		form.Set(m[1], strings.NewReplacer("&amp;", "&", "&lt;", "<", "&gt;", ">", "&#34;", `"`, "&#39;", "'", "&#43;", "+").Replace(m[2]))
	}
	done, code := b.post(b.pool+"/do", form)
	if code != http.StatusOK {
		b.t.Fatalf("%s: %d\n%s", query, code, done)
	}
	return asked, done
}

// TestWebShows looks at each page as who has not logged in.
func TestWebShows(t *testing.T) {
	l := newLab(t)
	l.ok("create --size 4M /lab/v")
	l.write("v", 0, 100, 1)
	l.ok("snapshot /lab/v@s")
	l.write("v", 0, 50, 2)
	l.ok("clone /lab/v@s /lab/c")
	l.ok("create --size 1M /lab/gone")
	l.write("gone", 0, 10, 1)
	l.ok("destroy /lab/gone")
	l.ok("erase wait lab")
	b := webOf(l, "")
	b.sees("/", "<h2><a href=\""+b.pool+"/\">lab</a>", "all is well", "2 volumes, 1 snapshots", "read-only")
	b.sees(b.pool+"/", "available", "To be erased", "<polyline")
	for !strings.Contains(b.sees(b.pool+"/"), `class="map"`) { // a daemon is asked for it
		time.Sleep(10 * time.Millisecond)
	}
	b.sees(b.pool+"/volumes", "1 to 2 of 2", b.pool+"/volume?path=v")
	b.sees(b.pool+"/volumes?find=C", "1 to 1 of 1, of 2 in all")
	b.sees(b.pool+"/volumes?find=none", "0 to 0 of 0")
	page := b.sees(b.pool+"/volume?path=v", "@s", "volume?path=c", `class="head"`)
	if strings.Contains(page, "destroy") {
		t.Error("who has not logged in is offered to destroy")
	}
	b.sees(b.pool+"/erase", "everything freed is erased")
	b.sees(b.pool+"/log", "gone", "40K")
	b.sees("/login", "started without a token")
	b.sees("/asset/style.css", ".bar")
	b.sees("/asset/live.js", "EventSource")
}

// TestWebActs does each thing that can be done, as who has logged in.
func TestWebActs(t *testing.T) {
	l := newLab(t)
	l.ok("create --size 4M /lab/v")
	l.write("v", 0, 100, 1)
	b := webOf(l, webToken)
	b.login()
	asked, done := b.confirm("do=snapshot&path=v&name=s")
	if !strings.Contains(asked, "would snapshot v@s") || !strings.Contains(done, "snapshot @s was taken") {
		t.Error(asked, done)
	}
	if page := b.sees(b.pool + "/volume?path=v"); strings.Contains(page, "was taken") {
		t.Error("it is told twice")
	}
	l.write("v", 0, 50, 2)
	b.confirm("do=clone&path=v@s&name=c")
	b.confirm("do=rollback&path=v@s")
	if l.first("c") != 1 || l.first("v") != 1 {
		t.Error("the clone and what was rolled back show something else")
	}
	b.confirm("do=pause")
	if page := b.sees(b.pool+"/erase", "Resume"); !strings.Contains(page, "paused") {
		t.Error(page)
	}
	page := b.sees(b.pool+"/ask?do=destroy&path=v", "it would be refused", "has snapshots")
	if strings.Contains(page, b.pool+"/do") {
		t.Error("what would be refused can be confirmed")
	}
	l.ok("set destroy_delay=1h lab")
	asked, _ = b.confirm("do=destroy&path=v&how=d")
	if !strings.Contains(asked, "would destroy /lab/v@s") || !strings.Contains(asked, "would be kept for 1h") {
		t.Error(asked)
	}
	id := strings.Fields(l.ok("list -Hp -t destroyed -o id lab"))[0]
	b.sees(b.pool+"/erase", "name="+id, "bring back")
	if _, done := b.confirm("do=undestroy&name=" + id); !strings.Contains(done, "is there again") {
		t.Error(done)
	}
	l.ok("destroy --now -R /lab/v")
	job := strings.Fields(l.ok("erase status -H lab"))[0]
	b.confirm("do=first&name=" + job)
	b.confirm("do=rate&name=7M")
	if out := l.ok("get -H -o value erase_throughput lab"); out != "7M\n" {
		t.Error(out)
	}
	b.confirm("do=resume")
	l.ok("erase wait lab")
	page = b.sees(b.pool+"/log", "web 127.0.0.1:") // for whom it was destroyed
	of := regexp.MustCompile(`certificate\?of=([^"]+)`).FindStringSubmatch(page)[1]
	if c := b.sees(b.pool + "/certificate?form=txt&of=" + of); !strings.Contains(c, "CERTIFICATE") {
		t.Error(c)
	}
}

// TestWebRefuses tries what must not be done, and looks that it is not.
func TestWebRefuses(t *testing.T) {
	l := newLab(t)
	l.ok("create --size 4M /lab/v")
	b := webOf(l, webToken)
	other := newBrowser(t, b.url)
	other.login()
	asked := other.sees(other.pool + "/ask?do=snapshot&path=v&name=s")
	form := url.Values{"do": {"snapshot"}, "path": {"v"}, "name": {"s"}, "seen": {fieldOf(asked, "seen")}}
	refused := func(what string, want int, page string, code int) {
		t.Helper()
		if code != want {
			t.Errorf("%s: %d\n%s", what, code, page)
		}
	}
	page, code := b.post(b.pool+"/do", form)
	refused("without a session", http.StatusForbidden, page, code)
	page, code = b.get(b.pool + "/ask?do=snapshot&path=v&name=s")
	refused("asking without a session", http.StatusForbidden, page, code)
	page, code = b.get(b.pool + "/certificate?of=1")
	refused("a certificate without a session", http.StatusForbidden, page, code)
	page, code = b.post("/login", url.Values{"token": {webToken + "x"}})
	refused("another token", http.StatusForbidden, page, code)
	b.login()
	page, code = b.post(b.pool+"/do", form)
	refused("without the form's token", http.StatusForbidden, page, code)
	form.Set("csrf", "x")
	page, code = b.post(b.pool+"/do", form)
	refused("with another form's token", http.StatusForbidden, page, code)
	theirs := hiddenField.FindStringSubmatch(other.sees("/"))
	form.Set("csrf", theirs[2])
	page, code = b.post(b.pool+"/do", form)
	refused("with another session's token", http.StatusForbidden, page, code)

	own := hiddenField.FindStringSubmatch(b.sees("/"))
	form.Set("csrf", own[2])
	from := func(origin, host string) (string, int) {
		q := httptest.NewRequest(http.MethodPost, b.url+b.pool+"/do", strings.NewReader(form.Encode()))
		q.RequestURI = ""
		q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if origin != "" {
			q.Header.Set("Origin", origin)
		}
		if host != "" {
			q.Host = host
		}
		return b.read(b.http.Do(q))
	}
	page, code = from("http://evil.example", "")
	refused("from another site", http.StatusForbidden, page, code)
	page, code = from("", "evil.example")
	refused("by another name", http.StatusMisdirectedRequest, page, code)
	page, code = b.get(b.pool + "/do")
	refused("an action by GET", http.StatusMethodNotAllowed, page, code)
	page, code = b.get("/pool/" + uuid.UUID{8}.String() + "/")
	refused("another pool", http.StatusNotFound, page, code)
	page, code = b.get(b.pool + "/volume?path=../../etc/passwd")
	refused("a path out of the pool", http.StatusNotFound, page, code)
	form.Set("name", strings.Repeat("x", 70<<10))
	page, code = b.post(b.pool+"/do", form)
	refused("a large form", http.StatusBadRequest, page, code)
	if out := l.ok("list -H -t snapshot lab"); out != "" {
		t.Errorf("something was done: %s", out)
	}
	form.Set("name", "s")
	page, code = from("", "")
	refused("the honest form", http.StatusOK, page, code)
	for range 20 {
		if _, code = b.post("/login", url.Values{"token": {"x"}}); code == http.StatusTooManyRequests {
			break
		}
	}
	refused("many tries", http.StatusTooManyRequests, "", code)
}

// fieldOf is a hidden field of a page.
func fieldOf(page, name string) string {
	for _, m := range hiddenField.FindAllStringSubmatch(page, -1) {
		if m[1] == name {
			return m[2]
		}
	}
	return ""
}

// TestWebChanged confirms what is not any more what was shown: nothing is done.
func TestWebChanged(t *testing.T) {
	for what, change := range map[string][]string{
		"a clone more":    {"clone /lab/v@s /lab/prod"},
		"another volume":  {"rename /lab/v /lab/old", "create --size 4M /lab/v", "snapshot /lab/v@s"},
		"another with @s": {"destroy /lab/v@s", "snapshot /lab/v@s"},
	} {
		t.Run(what, func(t *testing.T) {
			l := newLab(t)
			l.ok("create --size 4M /lab/v")
			l.ok("snapshot /lab/v@s")
			b := webOf(l, webToken)
			b.login()
			for _, query := range []string{"do=destroy&path=v&how=R", "do=rollback&path=v@s"} {
				asked := b.sees(b.pool + "/ask?" + query)
				form, err := url.ParseQuery(query)
				if err != nil {
					t.Fatal(err)
				}
				form.Set("csrf", fieldOf(asked, "csrf"))
				form.Set("seen", fieldOf(asked, "seen"))
				if query[3] == 'd' {
					for _, line := range change {
						l.ok(line)
					}
				} else {
					form.Set("seen", "what was shown long ago")
				}
				if page, code := b.post(b.pool+"/do", form); code != http.StatusConflict || !strings.Contains(page, "look again") {
					t.Errorf("%d\n%s", code, page)
				}
			}
			l.ok("list /lab/v@s")
		})
	}
}

// TestWebEscapes shows a name that is HTML, and bytes that are no text, and acts on it.
func TestWebEscapes(t *testing.T) {
	l := newLab(t)
	const name = "<b onload=x>&\"'\xff\n.raw"
	a, err := l.pool.Resolve("")
	if err == nil {
		_, err = l.pool.Create(chain.Req{}, a.Ino, name, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	b := webOf(l, webToken)
	b.login()
	page := b.sees(b.pool + "/volumes")
	if strings.Contains(page, "<b onload") {
		t.Error("a name is markup:", page)
	}
	link := regexp.MustCompile(`/volume\?path=[^"]*`).FindString(page)
	b.sees(b.pool+strings.ReplaceAll(link, "&amp;", "&"), `\377\012.raw`)
	b.confirm("do=snapshot&name=s&path=" + url.QueryEscape(`<b onload=x>&"'\377\012.raw`))
	if out := l.ok("list -H -t snapshot -o name lab"); out != "/lab/<b onload=x>&\"'\\377\\012.raw@s\n" {
		t.Error(out)
	}
}

// TestWebLive is told of what changes, and only then.
func TestWebLive(t *testing.T) {
	l := newLab(t)
	b := webOf(l, "")
	r, err := b.http.Get(b.url + "/live?view=erase&pool=" + uuid.UUID{9}.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	events := make(chan string)
	go func() {
		buf := make([]byte, 64<<10)
		for {
			n, err := r.Body.Read(buf)
			if n > 0 {
				events <- string(buf[:n])
			}
			if err != nil {
				close(events)
				return
			}
		}
	}()
	await := func(want string) {
		t.Helper()
		var all strings.Builder
		for deadline := time.After(time.Minute); ; {
			select {
			case e := <-events:
				if all.WriteString(e); strings.Contains(all.String(), want) {
					return
				}
			case <-deadline:
				t.Fatalf("no %q in %s", want, all.String())
			}
		}
	}
	await("everything freed is erased")
	l.ok("erase pause lab")
	await("paused")
}

// TestWebHangs has a pool whose daemon takes a question and never answers: the others are shown.
func TestWebHangs(t *testing.T) {
	l := newLab(t)
	id := uuid.UUID{7}
	lock, err := l.app.host.LockPool(id)
	if err != nil {
		t.Fatal(err)
	}
	socket, err := l.app.host.SocketDir(id)
	if err != nil {
		t.Fatal(err)
	}
	mute, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mute.Close(); _ = lock.Release() })
	if err := lock.Publish(host.Live{UUID: id, Name: "mute", Dir: "/mute", MountDev: "0:98", PID: os.Getpid(), Socket: socket}); err != nil {
		t.Fatal(err)
	}
	b := webOf(l, "")
	b.sees("/", ">lab</a>", ">mute</a>", "no-answer", "all is well")
	b.sees(b.pool+"/volumes", "0 to 0 of 0")
}

// TestWebToken takes a token from a file that is nobody else's.
func TestWebToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	for _, c := range []struct {
		text string
		mode os.FileMode
		want string
	}{
		{webToken + "\n", 0o600, ""},
		{webToken, 0o640, "want mode 0600"},
		{"short", 0o600, "want 20 at least"},
	} {
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, c.mode); err != nil {
			t.Fatal(err)
		}
		got, err := web.ReadToken(file)
		if c.want == "" && (err != nil || got != webToken) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%q, %o: %q, %v", c.text, c.mode, got, err)
		}
	}
}

// TestWebLarge has a pool of 1,000 volumes and 20,000 snapshots: no page of it is large. How long each took is printed.
func TestWebLarge(t *testing.T) {
	if testing.Short() {
		return
	}
	l := newLab(t)
	volumes := make([]string, 1000)
	for i := range volumes {
		volumes[i] = fmt.Sprintf("/lab/vm-%d-disk-0.raw", 100+i)
	}
	l.ok("create --size 1M " + strings.Join(volumes, " "))
	for i := range 20 {
		l.ok(fmt.Sprintf("snapshot -r /lab@s%d", i))
	}
	b := webOf(l, "")
	b.sees("/", "1000 volumes, 20000 snapshots")
	for _, at := range []string{"/", "/volumes", "/volumes?from=800", "/volumes?find=vm-1", "/volume?path=vm-500-disk-0.raw", "/erase"} {
		began := time.Now()
		page := b.sees(b.pool + at)
		t.Logf("%-32s %7d bytes, %v", at, len(page), time.Since(began).Round(time.Millisecond))
		if len(page) > 500_000 {
			t.Errorf("%s: %d bytes", at, len(page))
		}
	}
}
