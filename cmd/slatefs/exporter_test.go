package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
)

// likeDaemon holds the lock of a pool and answers for it, as a daemon does, until ctx ends.
func likeDaemon(ctx context.Context, h host.Host, id uuid.UUID, name string) error {
	lock, err := h.LockPool(id)
	if err != nil {
		return err
	}
	socket, err := h.SocketDir(id)
	if err != nil {
		return err
	}
	l := host.Live{UUID: id, Name: name, Device: "/nowhere/" + name, Dir: "/mnt/" + name, Socket: socket}
	l.PID, l.Started = os.Getpid(), time.Now()
	srv := control.NewServer(slog.New(slog.DiscardHandler))
	control.Handle(srv, control.Metrics, func(context.Context, control.Peer, control.MetricsArgs) (control.PoolMetrics, error) {
		return control.PoolMetrics{Info: control.PoolInfo{Live: l, Usage: control.Usage{Total: 1 << 30, Avail: 1 << 29}}}, nil
	})
	if err := srv.Listen(socket); err != nil {
		return err
	}
	go func() {
		_ = srv.Serve(ctx)
		_ = lock.Release() // which is held until here: nobody collects it
	}()
	return errors.Join(h.Register(host.Known{UUID: id, Name: name, Device: l.Device}), lock.Publish(l))
}

// TestOtherDaemon is no test: it is a daemon of its own process for those below, until its input ends.
func TestOtherDaemon(t *testing.T) {
	run := os.Getenv("SLATEFS_TEST_DAEMON")
	if run == "" {
		return
	}
	h := host.Host{Run: filepath.Join(run, "r"), State: filepath.Join(run, "s"), Conf: filepath.Join(run, "c")}
	if err := likeDaemon(t.Context(), h, uuid.UUID{200}, "other"); err != nil {
		t.Fatal(err)
	}
	fmt.Println("\nready")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// otherDaemon starts a daemon in another process.
func otherDaemon(t *testing.T, run string) (pid int, end func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestOtherDaemon$", "-test.v")
	cmd.Env = append(os.Environ(), "SLATEFS_TEST_DAEMON="+run)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "ready" {
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	return cmd.Process.Pid, func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = in.Close()
	}
}

// TestExporter scrapes 40 pools, of which one's daemon is stopped: the others are there, and it is down until it goes on; when it has
// died it is down, too, and a pool that was unmounted is not there.
func TestExporter(t *testing.T) {
	run, err := os.MkdirTemp("", "x")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(run) }()
	h := host.Host{Run: filepath.Join(run, "r"), State: filepath.Join(run, "s"), Conf: filepath.Join(run, "c")}
	for i := range 39 {
		if err := likeDaemon(t.Context(), h, uuid.UUID{byte(i + 1)}, fmt.Sprintf("pool%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Register(host.Known{UUID: uuid.UUID{150}, Name: "unmounted", Device: "/nowhere"}); err != nil {
		t.Fatal(err)
	}
	pid, end := otherDaemon(t, run)
	defer end()

	a := &app{stderr: io.Discard, host: h, now: time.Now}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	sock := filepath.Join(run, "e.sock")
	go func() { done <- a.export(ctx, "unix:"+sock, nil, true) }()
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", sock)
	}}}
	until := func(what string, want ...string) {
		t.Helper()
		for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
			begun := time.Now()
			text := ""
			if r, err := client.Get("http://exporter/metrics"); err == nil {
				b, _ := io.ReadAll(r.Body)
				_ = r.Body.Close()
				text = string(b)
			}
			missing := ""
			for _, w := range want {
				if !strings.Contains(text, w+"\n") {
					missing = w
				}
			}
			if missing == "" && strings.Count(text, "\nslatefs_pool_size_bytes{") >= 39 && !strings.Contains(text, "unmounted") {
				t.Logf("%s: answered in %v", what, time.Since(begun).Round(time.Millisecond))
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: there is no %s in\n%s", what, missing, text)
			}
		}
	}
	until("all run", `slatefs_pool_up{pool="pool7"} 1`, `slatefs_pool_up{pool="other"} 1`,
		`slatefs_pool_available_bytes{pool="other"} 5.36870912e+08`)
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	until("one is stopped", `slatefs_pool_up{pool="pool7"} 1`, `slatefs_pool_up{pool="other"} 0`)
	until("again", `slatefs_pool_up{pool="pool7"} 1`, `slatefs_pool_up{pool="other"} 0`)
	if err := unix.Kill(pid, unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	until("it goes on", `slatefs_pool_up{pool="pool7"} 1`, `slatefs_pool_up{pool="other"} 1`)
	end()
	until("it has died", `slatefs_pool_up{pool="pool7"} 1`, `slatefs_pool_up{pool="other"} 0`)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestExporterHost: who asks by another site's name, as a page does whose name was made to lead to this host, reads nothing.
func TestExporterHost(t *testing.T) {
	var said stderr
	a := &app{stderr: &said, host: testHost(t), now: time.Now}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.export(ctx, "127.0.0.1:0", []string{"pve1.example.org"}, true) }()
	addr := ""
	for deadline := time.Now().Add(patience); addr == "" && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if _, text, ok := strings.Cut(said.String(), "listens on "); ok && strings.HasSuffix(text, "\n") {
			addr = strings.TrimSpace(text)
		}
	}
	own, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{
		"evil.example": http.StatusMisdirectedRequest, addr: http.StatusOK, "localhost": http.StatusOK, own: http.StatusOK,
		"pve1.example.org:9827": http.StatusOK,
	} {
		for _, path := range []string{"/", "/metrics"} {
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			r.Host = name
			answer, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(answer.Body)
			if err := errors.Join(err, answer.Body.Close()); err != nil {
				t.Fatal(err)
			}
			if answer.StatusCode != want || want != http.StatusOK && strings.Contains(string(text), "metrics") {
				t.Errorf("%s of %s: %d, want %d: %s", path, name, answer.StatusCode, want, text)
			}
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
