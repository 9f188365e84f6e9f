package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"slatefs/cmd/slatefs/internal/show"
)

// What the manager is told, beside a status.
const (
	ready    = sd.SdNotifyReady
	stopping = sd.SdNotifyStopping
)

// reloading says that the daemon becomes another program, and when that began, as systemd wants to know it.
func reloading() string {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) //nolint:errcheck // there is that clock
	return fmt.Sprintf("%s\nMONOTONIC_USEC=%d", sd.SdNotifyReloading, now.Nano()/1000)
}

// manager is the service manager that started this process and waits to be told what becomes of it, as sd_notify(3) has it.
// Where there is none it is told nothing. All methods may be called concurrently, and wait for nothing.
type manager struct {
	say  func(state string) error
	log  *slog.Logger
	beat time.Duration // of the watchdog; 0: there is none
}

// newManager finds the service manager by the environment. A daemon in the background has none: who started it has ended.
func newManager(c Config, log *slog.Logger) *manager {
	m := &manager{say: func(string) error { return nil }, log: log}
	if c.Log != "" && c.Home == nil {
		return m
	}
	if c.Log != "" { // a supervisor
		m.say = c.Home.Tell
		return m
	}
	m.say = func(state string) error {
		_, err := sd.SdNotify(false, state)
		return err
	}
	within, err := sd.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("the watchdog of the service manager is not understood", "error", err)
	}
	m.beat = within / 4
	return m
}

// tell tells the manager states, and what the daemon does, for people: names in that are escaped, for a line is a state.
func (m *manager) tell(status string, states ...string) {
	text := strings.Join(append(states, "STATUS="+show.Escape(status)), "\n")
	if err := m.say(text); err != nil {
		m.log.Warn("the service manager was not told", "state", text, "error", err)
	}
}

// watch beats for the watchdog until stop is called, as long as alive returns nil. alive may take as long as it wants, and
// must not wait for a device: who does not beat is killed.
func (m *manager) watch(alive func(ctx context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	if m.beat <= 0 {
		return cancel
	}
	go func() {
		for ; ctx.Err() == nil; rest(ctx, m.beat) {
			if err := alive(ctx); err != nil {
				continue
			}
			if err := m.say(sd.SdNotifyWatchdog); err != nil {
				m.log.Warn("the watchdog of the service manager was not told", "error", err)
			}
		}
	}()
	return cancel
}

// alive tells whether the daemon serves: requests are taken from the kernel, and the pool's lock goes round. Neither waits for
// the device.
func (d *Daemon) alive(ctx context.Context) error {
	if err := d.srv.Alive(ctx); err != nil {
		return err
	}
	_ = d.pool.Size()
	return nil
}
