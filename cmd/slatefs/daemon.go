package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"slatefs/chain"
	"slatefs/chain/blockdev"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
	"slatefs/erase"
	"slatefs/fs"
	"slatefs/fs/mounts"
)

// mountConfig says what a daemon serves, and how.
type mountConfig struct {
	pool  host.PoolRef // its device is an absolute path
	dir   string       // absolute path
	opts  mountOptions
	take  bool // even if another host holds it
	adopt bool // even if it is a copy of one that is known
}

// daemon is one mounted pool.
type daemon struct {
	host host.Host
	now  func() time.Time
	log  *slog.Logger

	undo    []func() error // what start did, to be undone in reverse order
	lock    *host.Lock
	pool    *chain.Pool
	eraser  *erase.Eraser
	srv     *fs.Server
	watch   *watcher
	grower  *grower
	control *control.Server

	recorder *recorder
	live     host.Live

	helpMu  sync.Mutex
	helpers []*helper

	end    chan struct{} // capacity 1: a request to end after the last close
	served bool          // the mount's end is serveMount's
}

// startDaemon opens a pool and mounts it. On error nothing is left. serve must be called after it.
func (a *app) startDaemon(c mountConfig, log *slog.Logger) (d *daemon, err error) {
	d = &daemon{host: a.host, now: a.now, log: log, end: make(chan struct{}, 1)}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	dev, err := d.openPool(a, c)
	if err != nil {
		return d, err
	}
	own := d.readSettings(a)
	s := &service{pool: d.pool, own: own, log: log, now: d.now, verify: c.opts.verify}
	if err := d.startEraser(dev, s); err != nil {
		return d, err
	}
	if err := d.mount(c); err != nil {
		return d, err
	}
	d.watch = newWatcher(d.pool, own, d.live.Dir, d.log)
	d.recorder = &recorder{pool: d.pool, log: log, send: journalSend()}
	s.view, s.dir = mountView{d.srv.FS(), d.srv}, d.srv.Dir()
	d.grower = newGrower(dev, d.pool, d.log)
	if !d.pool.ReadOnly() {
		s.grower = d.grower
		if err := s.grower.configure(); err != nil {
			return d, err
		}
	}
	if err := d.listen(s); err != nil {
		return d, err
	}
	d.publish(a)
	return d, nil
}

// listen makes the control socket, and says what is answered on it.
func (d *daemon) listen(s *service) error {
	d.control = control.NewServer(d.log)
	s.handleAll(d.control)
	control.Handle(d.control, control.Info, d.info)
	control.Handle(d.control, control.Umount, d.umount)
	control.Handle(d.control, control.Extend, d.grower.extendOp)
	control.Handle(d.control, control.Reduce, d.grower.reduceOp)
	if d.pool.ReadOnly() {
		d.control.OnlyReading(fmt.Errorf("pool %s is mounted for reading (-o ro): %w", d.live.Name, chain.ErrReadOnly))
	}
	socket, err := d.host.SocketDir(d.live.UUID)
	if err != nil {
		return fmt.Errorf("control: %w", err)
	}
	return d.control.Listen(socket)
}

// openPool opens the device, takes both locks, and opens the pool.
func (d *daemon) openPool(a *app, c mountConfig) (*blockdev.File, error) {
	dev, release, err := a.host.Reach(context.Background(), c.pool, blockdev.Options{ReadOnly: c.opts.readOnly}, true)
	if err != nil {
		return nil, err
	}
	d.undo = append(d.undo, release)
	// The UUID comes first: opening for writing recovers, which must not happen below another daemon.
	name, id, err := host.Identify(dev)
	if err != nil {
		return nil, err
	}
	if d.lock, err = a.host.LockPool(id); err != nil {
		return nil, err
	}
	// Undone last: when the lock is free, everything else is.
	d.undo = []func() error{d.lock.Release, release}
	if err := a.host.CopyOf(context.Background(), id, c.pool.Device); err != nil && !c.adopt {
		return nil, err
	}
	d.live = host.Live{
		UUID: id, Name: name, Device: c.pool.Device, Identity: dev.Identity(), PID: os.Getpid(), Started: d.now(),
		Socket: a.host.SocketPath(id), Version: control.Version(), Log: c.opts.log,
	}
	d.sayWhere(a)
	if err := d.open(a, dev, c); err != nil {
		return nil, host.TakeOverHint(err, name)
	}
	d.undo = append(d.undo, d.pool.Close)
	return dev, nil
}

// open opens the pool: held by this host from then on, or for reading only, which needs that no other host writes to it.
func (d *daemon) open(a *app, dev *blockdev.File, c mountConfig) (err error) {
	o := chain.Options{Now: d.now, Logger: d.log, CacheBytes: c.opts.cache, ReadOnly: c.opts.readOnly, TakeOver: c.take}
	if o.ReadOnly {
		i, err := chain.Identify(dev)
		if err == nil && !c.take {
			err = d.host.HeldElsewhere(i.Name, i.Host)
		}
		if err != nil {
			return err
		}
	} else if o.Host, err = d.host.AsHolder(d.now()); err != nil {
		if dev.IsBlockDevice() { // which other hosts may reach
			return err
		}
		d.warn(a, "the pool does not say who holds it", err)
		o.Host = nil
	}
	d.pool, err = chain.Open(dev, o)
	return err
}

// readSettings reads what this host does for the pool, and tells what the pool itself says of that, which means nothing.
func (d *daemon) readSettings(a *app) *settings {
	own, err := readSettings(a.host, d.live.UUID)
	if err != nil {
		d.warn(a, "what this host does for the pool is not done: its settings cannot be read", err)
	}
	stray, err := d.pool.Stray()
	if err != nil {
		d.warn(a, "properties", err)
	}
	for _, name := range stray {
		d.warn(a, "a property of the host stands in the pool, and is passed over",
			fmt.Errorf("slatefs set %s=… %s sets it here, slatefs inherit %s %s takes it out of the pool", name, d.live.Name, name, d.live.Name))
	}
	return own
}

// startEraser makes the eraser and gives it to the pool for writers that wait.
func (d *daemon) startEraser(dev *blockdev.File, s *service) (err error) {
	words := chain.How{Program: "slatefs " + control.Version(), Device: deviceName(dev)}
	d.eraser, err = erase.New(dev, logged{d.pool, words}, erase.Config{Clock: erase.NewClock(d.now), Logger: d.log})
	if err != nil {
		return err
	}
	s.dev, s.eraser = dev, d.eraser
	d.pool.SetZeroNow(d.eraser.Now)
	return s.applyProps()
}

// mount mounts the pool.
func (d *daemon) mount(c mountConfig) (err error) {
	o := fs.MountOptions{AllowOther: c.opts.allowOther, FsName: d.live.Name, Debug: c.opts.debug, Logger: d.log}
	o.EventLoop, o.ReadOnly, o.NonEmpty = c.opts.transport == transportLoop, c.opts.readOnly, c.opts.nonEmpty
	d.srv, err = fs.Mount(d.pool, c.dir, o)
	if errors.Is(err, chain.ErrNotEmpty) {
		return show.Hinted(err, "-o nonempty mounts all the same")
	}
	if err != nil {
		return err
	}
	d.undo = append(d.undo, d.unmountUnserved)
	own, err := mounts.Own()
	if err != nil {
		return err
	}
	m, ok := own.On(d.srv.Dir())
	if !ok {
		return fmt.Errorf("%s: the mount is gone already", d.srv.Dir())
	}
	d.live.Dir, d.live.MountDev = m.Dir, m.Dev
	return nil
}

// publish tells clients where the daemon is, now and after its end. The pool is served all the same if that fails.
func (d *daemon) publish(a *app) {
	d.sayWhere(a)
	if _, err := d.host.KnownAs(d.live.UUID); err == nil && d.pool.ReadOnly() {
		return // it may be read through a loop device or a snapshot: that is not its place
	}
	if err := a.host.Remember(host.Known{UUID: d.live.UUID, Name: d.live.Name, Device: d.live.Device, Dir: d.live.Dir}); err != nil {
		d.warn(a, "the pool is mounted, but its name is not known here after its end", err)
	}
}

// sayWhere tells clients where the daemon is.
func (d *daemon) sayWhere(a *app) {
	if err := d.lock.Publish(d.live); err != nil {
		d.warn(a, "commands will not find the daemon of this pool; umount(8) and SIGTERM end it", err)
	}
}

// warn tells, in the log and to who starts the daemon, what keeps it from nothing.
func (d *daemon) warn(a *app, text string, err error) {
	d.log.Warn(text, "pool", d.live.Name, "error", err)
	if d.live.Log != "" { // else the log is what he sees
		a.warnOnce("%s: %v", text, err)
	}
}

// serve runs the daemon until the mount is gone, and closes it. When ctx ends, the mount goes after the last close.
func (d *daemon) serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, d.requestEnd)
	defer stop()
	d.log.Info("mounted", "pool", d.live.Name, "device", d.live.Device, "dir", d.live.Dir, "pid", d.live.PID)
	d.served = true
	err := supervise(ctx, d.parts())
	err = errors.Join(err, d.close())
	if err != nil {
		d.log.Error("ended", "pool", d.live.Name, "error", err)
		return err
	}
	d.log.Info("ended", "pool", d.live.Name)
	return nil
}

// parts are what runs, in the order of its start. Only the mount may end the daemon.
func (d *daemon) parts() []part {
	mount, control := part{"mount", d.serveMount}, d.helper("control", d.control.Serve)
	if d.pool.ReadOnly() {
		return []part{mount, control}
	}
	return []part{
		d.helper("erase log", d.recorder.run),
		d.helper("pool", d.whileGood(d.pool.Run)),
		d.helper("eraser", d.whileGood(d.eraser.Run)),
		d.helper("watcher", d.watch.run),
		d.helper("grower", d.grower.run),
		mount,
		control,
	}
}

// helper is a part that never ends the daemon.
func (d *daemon) helper(name string, run func(context.Context) error) part {
	h := &helper{name: name, run: run, log: d.log, wait: helperWait}
	d.helpMu.Lock()
	d.helpers = append(d.helpers, h)
	d.helpMu.Unlock()
	return part{name, h.keep}
}

// troubles are what helpers fail of.
func (d *daemon) troubles() string {
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
func (d *daemon) whileGood(run func(context.Context) error) func(context.Context) error {
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

// unmountUnserved takes back a mount that nobody serves.
func (d *daemon) unmountUnserved() error {
	if d.served {
		return nil
	}
	return d.srv.Detach()
}

// close undoes start, in reverse order.
func (d *daemon) close() (err error) {
	for _, undo := range slices.Backward(d.undo) {
		err = errors.Join(err, undo())
	}
	d.undo = nil
	return err
}

// requestEnd asks the mount to go after the last close.
func (d *daemon) requestEnd() {
	select {
	case d.end <- struct{}{}:
	default:
	}
}

// How long to wait for users of a mount that is detached: without open volumes they only have a directory of it.
const detachWait = 2 * time.Second

// serveMount is the mount's part: it ends the daemon when the mount is gone, or drained after requestEnd.
func (d *daemon) serveMount(ctx context.Context) error {
	go d.srv.Serve()
	select {
	case <-d.srv.Done():
		return errOver
	case <-d.end:
		if d.drain(ctx) {
			return errOver
		}
	case <-ctx.Done():
	}
	return d.detach()
}

// drain refuses new opens and waits for the last close, says who is waited for, and unmounts. False: ctx ended first.
func (d *daemon) drain(ctx context.Context) bool {
	if n := d.srv.Drain(true); n > 0 {
		d.log.Warn("the pool will be unmounted after the last close; new opens are refused", "open", n, "holders", holdersText(d.srv.Holders(0)))
	}
	select {
	case <-d.srv.Done():
		return true
	case <-ctx.Done():
		return false
	case <-d.srv.Drained():
	}
	if err := d.detach(); err != nil {
		d.log.Error("unmount", "error", err)
	}
	return true
}

// detach takes the mount away. Who still has a directory of it open, or is in one, must not keep the daemon.
func (d *daemon) detach() error {
	if d.srv.Unmount() != nil {
		if err := d.srv.Detach(); err != nil {
			return err
		}
	}
	select {
	case <-d.srv.Done():
	case <-time.After(detachWait):
		d.log.Warn("directories of the mount are in use still, and lost to their users")
	}
	return nil
}

// info tells the state of the pool.
func (d *daemon) info(context.Context, control.Peer, control.None) (control.PoolInfo, error) {
	i := control.PoolInfo{Live: d.live, Usage: usageOf(d.pool.Usage()), OpenFiles: d.srv.OpenFiles(), Notices: d.watch.events.Load()}
	if err := d.pool.Failed(); err != nil {
		i.Failed = err.Error()
	}
	i.Stuck, i.Troubles, i.Reading = d.grower.stuck(), d.troubles(), d.pool.ReadOnly()
	if since, err := d.pool.HostShort(); err != nil {
		i.HostShort = fmt.Sprintf("writes that need new blocks are refused since %s: %v", show.FormatTime(since), err)
	}
	return i, nil
}

// umount unmounts if nothing is open, or else, if asked to, after the last close.
func (d *daemon) umount(ctx context.Context, who control.Peer, args control.UmountArgs) (control.UmountResult, error) {
	n := d.srv.Drain(true)
	for try := 0; n > 0 && !args.Wait && try < 20 && ctx.Err() == nil; try++ { // as service.patient
		if holders, err := d.srv.Holders(0); err != nil || len(holders) > 0 {
			break
		}
		time.Sleep(50 * time.Millisecond)
		n = d.srv.OpenFiles()
	}
	if args.Wait {
		d.log.Info("changed by a command", "command", who.Op, "pool", d.live.Name, "by", who.String(), "wait", true, "open", n)
		d.requestEnd()
		return control.UmountResult{Open: n}, nil
	}
	if n > 0 {
		d.srv.Drain(false)
		return control.UmountResult{}, show.Hinted(fmt.Errorf("%s: busy: open by %s", d.live.Dir, holdersText(d.srv.Holders(0))),
			"slatefs umount --wait %s refuses new opens and ends after the last close", d.live.Dir)
	}
	if err := d.srv.Unmount(); err != nil {
		d.srv.Drain(false)
		return control.UmountResult{}, show.Hinted(err, "some process has its working directory below %s", d.live.Dir)
	}
	d.log.Info("changed by a command", "command", who.Op, "pool", d.live.Name, "by", who.String())
	return control.UmountResult{}, nil
}
