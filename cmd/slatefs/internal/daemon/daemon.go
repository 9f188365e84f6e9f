package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/home"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/erase"
	"slatefs/fs"
	"slatefs/fs/death"
)

// Daemon is one mounted pool.
type Daemon struct {
	host host.Host
	now  func() time.Time
	log  *slog.Logger

	undo    []func() error // what start did, to be undone in reverse order
	lock    *host.Lock
	pool    *chain.Pool
	eraser  *erase.Eraser
	srv     *fs.Server
	watch   *watcher
	grower  *Grower
	control *control.Server
	service *Service
	slots   *slots

	home   *home.Home // nil: the mount ends with this process
	parked *fs.Parked // what the last daemon left; nil: this is the first
	stay   bool       // somebody goes on with the mount when this process ends

	limit int64 // of memory, bytes

	chronicle *chronicle
	hook      *hook
	recorder  *recorder
	signer    *Signer
	manager   *manager
	live      host.Live

	helpMu  sync.Mutex
	helpers []*helper

	reloads  chan reloadRequest // taken by serveMount, until it drains
	draining chan struct{}      // closed when somebody asks it to
	ends     sync.Once          // closes that
	goes     chan struct{}      // closed when the mount is stopped for next
	next     string             // the program as which the daemon goes on; empty: it ends
	ahead    outside            // the checkpoint before that

	end    chan struct{} // capacity 1: a request to end after the last close
	begun  sync.Once     // requests are answered
	served bool          // the mount's end is serveMount's
}

// Start opens a pool and mounts it. On error nothing is left. Serve or Close must be called after it.
func Start(c Config, log *slog.Logger) (d *Daemon, err error) {
	d = &Daemon{
		host: c.Host, now: c.Now, log: log, end: make(chan struct{}, 1),
		reloads: make(chan reloadRequest), draining: make(chan struct{}), goes: make(chan struct{}),
		home: c.Home, manager: newManager(c, log), limit: c.Memory,
	}
	if err := FlushesIO(); err != nil {
		log.Info("when memory is short this daemon may wait for its own mount: not to needs CAP_SYS_RESOURCE", "error", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
		}
	}()
	if err := d.takeHome(); err != nil {
		return d, err
	}
	d.undo = append(d.undo, d.keepUndone(func() error { return d.home.Drop() }))
	if err := d.refuseOwn(c); err != nil {
		return d, err
	}
	dev, err := d.openPool(c)
	if err != nil {
		return d, err
	}
	own := d.readSettings()
	s := &Service{Pool: d.pool, Own: own, Log: log, Now: d.now, verify: c.Verify, notOwn: d.NotOwn}
	d.chronicle = newChronicle(d.pool, log, d.now)
	s.chronicle, d.hook = d.chronicle, newHook(d.live.Name, own, d.NotOwn, log)
	d.chronicle.tell = d.hook.put
	d.service = s
	cut := d.pool.Log().State().Cut
	s.cutBefore = cut.Records() - cut.Exported
	if err := d.startEraser(dev, s); err != nil {
		return d, err
	}
	if err := d.mount(c); err != nil {
		return d, err
	}
	if err := d.refuseOwn(c); err != nil {
		return d, err
	}
	d.watch = newWatcher(d.pool, own, d.live.Dir, d.log)
	d.watch.chronicle = d.chronicle
	s.autosnap = newAutosnap(d.pool, d.log, d.now, d.chronicle)
	s.View, s.Dir = mountView{d.srv.FS(), d.srv}, d.srv.Dir()
	d.grower = NewGrower(dev, d.pool, d.log)
	d.grower.chronicle = d.chronicle
	d.watchTroubles()
	if !d.pool.ReadOnly() {
		s.grower = d.grower
		if err := s.grower.configure(); err != nil {
			return d, err
		}
	}
	if d.parked != nil {
		d.undo = append(d.undo, d.pauseUnserved)
		d.begin()
	}
	d.signer = NewSigner(d.host, d.pool, own, log, d.now)
	d.signer.avoid, s.Signer = d.NotOwn, d.signer
	if err := d.signer.glance(); err != nil {
		d.warn("the erase log is not what this host has seen of it: certificates are not complete", err)
	}
	d.recorder = &recorder{pool: d.pool, log: log, send: journalSend(), chronicle: d.chronicle}
	if err := d.listen(s); err != nil {
		return d, err
	}
	d.noteStart()
	d.publish()
	d.openToGroup(c)
	death.At(death.Listens)
	return d, nil
}

// listen makes the control socket, and says what is answered on it.
func (d *Daemon) listen(s *Service) error {
	d.control = control.NewServer(d.log)
	s.HandleAll(d.control)
	control.Handle(d.control, control.Info, d.info)
	control.Handle(d.control, control.Metrics, d.metrics)
	control.Handle(d.control, control.Umount, d.umount)
	control.Handle(d.control, control.Reload, d.reload)
	control.Handle(d.control, control.Extend, d.grower.ExtendOp)
	control.Handle(d.control, control.Reduce, d.grower.ReduceOp)
	if d.pool.ReadOnly() {
		d.control.OnlyReading(fmt.Errorf("pool %s is mounted for reading (-o ro): %w", d.live.Name, chain.ErrReadOnly))
	}
	socket, err := d.host.SocketDir(d.live.UUID)
	if err != nil {
		return fmt.Errorf("control: %w", err)
	}
	return d.control.Listen(socket)
}

// Serve runs the daemon until the mount is gone, and closes it. When ctx ends, the mount goes after the last close.
func (d *Daemon) Serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, d.requestEnd)
	defer stop()
	d.log.Info("mounted", "pool", d.live.Name, "device", d.live.Device, "dir", d.live.Dir, "pid", d.live.PID)
	d.manager.tell("serves pool "+d.live.Name+" on "+d.live.Dir, ready, "X_SLATEFS_LOG="+d.live.Log)
	death.At(death.Serves)
	defer d.manager.watch(d.alive)()
	d.served = true
	finish := d.hook.start()
	err := supervise(ctx, d.parts())
	d.stay = d.next != ""
	d.noteEnd()
	finish()
	if d.stay {
		if err := errors.Join(err, d.Close()); err != nil { // a successor goes on as after a crash
			d.log.Error("the pool was not closed", "pool", d.live.Name, "error", err)
		}
		death.At(death.Closed)
		return &ReloadError{d.home, d.next}
	}
	d.manager.tell("the mount is gone; closes pool "+d.live.Name, stopping)
	err = errors.Join(err, d.Close())
	if err != nil {
		d.log.Error("ended", "pool", d.live.Name, "error", err)
		return err
	}
	d.log.Info("ended", "pool", d.live.Name)
	return nil
}

// parts are what runs, in the order of its start. Only the mount may end the daemon.
func (d *Daemon) parts() []part {
	mount, control := part{"mount", d.serveMount}, d.helper("control", d.control.Serve)
	if d.pool.ReadOnly() {
		return []part{d.helper("events", d.chronicle.run), mount, control}
	}
	return []part{
		d.helper("events", d.chronicle.run),
		d.helper("erase log", d.recorder.run),
		d.helper("pool", d.whileGood(d.pool.Run)),
		d.helper("eraser", d.whileGood(d.eraser.Run)),
		d.helper("watcher", d.watch.run),
		d.helper("grower", d.grower.run),
		d.helper("superblocks", d.slots.run),
		d.helper("signer", d.signer.run),
		d.helper("autosnap", d.whileGood(d.service.autosnap.run)),
		mount,
		control,
	}
}

// helper is a part that never ends the daemon.
func (d *Daemon) helper(name string, run func(context.Context) error) part {
	h := &helper{name: name, run: run, log: d.log, wait: helperWait}
	d.helpMu.Lock()
	d.helpers = append(d.helpers, h)
	d.helpMu.Unlock()
	return part{name, h.keep}
}

// troubles are what helpers fail of.
func (d *Daemon) troubles() string {
	var list []string
	d.helpMu.Lock()
	defer d.helpMu.Unlock()
	for _, h := range d.helpers {
		if why, times := h.trouble(); why != "" {
			list = append(list, fmt.Sprintf("%s: %s (%d times in a row)", h.name, why, times))
		}
	}
	return strings.Join(list, "; ")
}

// whileGood is a part that stops when the pool turns read-only: what can be read is read on, every change is refused with
// the reason.
func (d *Daemon) whileGood(run func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		err := run(ctx)
		if err != nil && d.pool.Failed() != nil {
			d.log.Error("the pool is read-only until it is mounted again", "pool", d.live.Name, "error", err)
			<-ctx.Done()
			return nil
		}
		return err
	}
}

// Close undoes start, in reverse order.
func (d *Daemon) Close() (err error) {
	for _, undo := range slices.Backward(d.undo) {
		err = errors.Join(err, undo())
	}
	d.undo = nil
	return err
}

// info tells the state of the pool.
func (d *Daemon) info(context.Context, control.Peer, control.None) (control.PoolInfo, error) {
	return d.poolInfo(), nil
}

// poolInfo is the state of the pool.
func (d *Daemon) poolInfo() control.PoolInfo {
	i := d.state()
	i.Live, i.OpenFiles, i.Notices, i.Memory = d.live, d.srv.OpenFiles(), d.watch.events.Load(), d.memory()
	var none error
	if i.Takeovers, none = d.takeover(); none != nil {
		i.NoTakeover = none.Error()
	}
	i.Loops = d.srv.Loops()
	t, noLoop := d.srv.Transport()
	if i.Transport = t.String(); noLoop != nil {
		i.NoLoop = noLoop.Error()
	}
	return i
}

// state is what of it troubles are seen by.
func (d *Daemon) state() control.PoolInfo {
	i := d.service.Info()
	i.Lost, i.Rewritten = d.slots.state()
	i.Stuck, i.Troubles = d.grower.stuck(), d.troubles()
	return i
}

// watchTroubles has troubles noted, and requests that fail.
func (d *Daemon) watchTroubles() {
	w := newTroubleWatch(d.chronicle)
	d.chronicle.looks = append(d.chronicle.looks, func() {
		i := d.state()
		w.look(&i)
	}, failureWatch(d.chronicle, d.srv.FS().Answered), deviceWatch(d.chronicle, d.pool.Device()))
}
