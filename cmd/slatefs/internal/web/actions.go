package web

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

// order is an action as a form asks for it.
type order struct {
	live host.Live
	path string // of a volume, or FILE@NAME, from the root
	name string // of what is to be, or a value
	how  string // of a destroy: "", r, R or d
	seen string // the chain as it was when it was asked
}

// action is something that can be done. ask says what it would do, and changes nothing; do does it, and says what it did.
type action struct {
	title string
	ask   func(ctx context.Context, o order) ([]string, error)
	do    func(ctx context.Context, o order) (string, error)
	at    string // where one goes when it is done: volume, volumes, erase
}

// actions are all that can be done here, by the word in a form.
var actions = map[string]action{
	"snapshot":  {"Take a snapshot", askSnapshot, doSnapshot, "volume"},
	"rollback":  {"Roll back", askRollback, doRollback, "volume"},
	"clone":     {"Clone", askClone, doClone, "volumes"},
	"destroy":   {"Destroy", askDestroy, doDestroy, "volumes"},
	"undestroy": {"Bring back", askUndestroy, doUndestroy, "volumes"},
	"rate":      {"Change the rate of erasing", askRate, doRate, "erase"},
	"pause":     {"Pause erasing", askPause("stops in the background; writers still get clean blocks"), doPause("on"), "erase"},
	"resume":    {"Resume erasing", askPause("goes on"), doPause("off"), "erase"},
	"first":     {"Erase first", askFirst, doFirst, "erase"},
}

// askBody is the page on which somebody confirms an action.
type askBody struct {
	Do, Title       string
	Lines           []string
	Refused         string // why it would be refused
	Path, Name, How string
	Hows            []choice
	Seen, Back      string
	Danger          bool
}

// choice is a way to destroy.
type choice struct{ How, Text string }

// hows are the ways to destroy a volume.
var hows = []choice{
	{"", "it alone; refused where it has snapshots or clones"},
	{"r", "with its snapshots"},
	{"R", "with its snapshots, and all clones of them"},
	{"d", "with its snapshots, and let clones live"},
}

// asked reads an action from a request of who has logged in. It answers itself where there is none.
func (s *Server) asked(w http.ResponseWriter, r *http.Request, p Pool) (act action, o order, ok bool) {
	if s.sessions.of(r) == nil {
		s.refuse(w, r, http.StatusForbidden, errors.New("only who has logged in may do this"))
		return act, o, false
	}
	path, err := show.Unescape(r.FormValue("path"))
	act, known := actions[r.FormValue("do")]
	if err != nil || !known {
		s.refuse(w, r, http.StatusBadRequest, cmp.Or(err, errors.New("this is nothing that can be done here")))
		return act, o, false
	}
	if p.Live == nil {
		s.refuse(w, r, http.StatusServiceUnavailable, errNoDaemon)
		return act, o, false
	}
	return act, order{*p.Live, path, r.FormValue("name"), r.FormValue("how"), r.FormValue("seen")}, true
}

// errChanged is for what is not any more what was confirmed.
var errChanged = errors.New(
	"the volume, its snapshots or its clones are not what they were when this was shown: nothing was done; look again")

// chain is a mark of the layers that an order may touch: of what they are, not of their names alone. It changes when a snapshot or a clone
// comes or goes, and when another volume has the name.
func (o order) chain(ctx context.Context) (string, error) {
	if o.path == "" {
		return "", nil
	}
	file, _, _ := control.SplitSnapshot(o.path)
	trees, err := control.Tree.Call(ctx, o.live, objectOf(o.live, file))
	if err != nil {
		return "", err
	}
	h := sha256.New()
	for _, t := range trees {
		for i, l := range t.Layers {
			_, _ = fmt.Fprintf(h, "%q %q %q %q %v\n", l.ID, l.Parent, l.Name, t.Owners[i], l.Head) //nolint:errcheck // a hash takes all
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// askPage shows what an action would do.
func (s *Server) askPage(w http.ResponseWriter, r *http.Request, p Pool) {
	act, o, ok := s.asked(w, r, p)
	if !ok {
		return
	}
	ctx, cancel := asking(r)
	defer cancel()
	do := r.FormValue("do")
	b := askBody{Do: do, Title: act.title, Path: show.Escape(o.path), Name: o.name, How: o.how, Back: back(p, act, o, false)}
	lines, err := act.ask(ctx, o)
	if err == nil {
		b.Seen, err = o.chain(ctx)
	}
	if err != nil {
		b.Refused = show.ErrorText(err)
	}
	b.Lines, b.Danger = lines, do == "destroy" || do == "rollback"
	if do == "destroy" && !strings.Contains(o.path, "@") {
		b.Hows = hows
	}
	s.render(w, r, http.StatusOK, "ask", frame{Title: act.title, Pool: &p, Body: b})
}

// do does what was confirmed.
func (s *Server) do(w http.ResponseWriter, r *http.Request, p Pool) {
	act, o, ok := s.asked(w, r, p)
	if !ok {
		return
	}
	one := s.sessions.of(r)
	if !one.honest(r) {
		s.refuse(w, r, http.StatusForbidden, errForm)
		return
	}
	ctx, cancel := context.WithTimeout(control.WithActor(r.Context(), "web "+r.RemoteAddr), actTime)
	defer cancel()
	now, err := o.chain(ctx)
	if err == nil && now != o.seen {
		err = errChanged
	}
	text := ""
	if err == nil {
		text, err = act.do(ctx, o)
	}
	s.Log.Info("asked for on the page",
		"what", r.FormValue("do"), "pool", p.Name, "path", show.Escape(o.path), "from", r.RemoteAddr, "err", err)
	if err != nil {
		s.refuse(w, r, http.StatusConflict, err)
		return
	}
	s.flashes.put(one, text)
	s.answers.forget(p.UUID)
	s.state.refresh(ctx)
	http.Redirect(w, r, back(p, act, o, true), http.StatusSeeOther)
}

// back is where one goes from an action: to its volume, where that is there then.
func back(p Pool, act action, o order, done bool) string {
	pool := "/pool/" + p.UUID.String() + "/"
	file, _, snap := control.SplitSnapshot(o.path)
	if act.at == "volume" || o.path != "" && (snap || !done) {
		return pool + "volume?path=" + url.QueryEscape(show.Escape(file))
	}
	return pool + act.at
}

func (o order) object() control.Object { return objectOf(o.live, o.path) }

func (o order) snapshot() control.SnapshotArgs {
	return control.SnapshotArgs{Objects: []control.Object{objectOf(o.live, o.path+"@"+o.name)}}
}

func askSnapshot(ctx context.Context, o order) ([]string, error) {
	args := o.snapshot()
	args.Dry = true
	return control.Snapshot.Call(ctx, o.live, args)
}

func doSnapshot(ctx context.Context, o order) (string, error) {
	_, err := control.Snapshot.Call(ctx, o.live, o.snapshot())
	return show.Printable("snapshot @%s was taken", o.name), err
}

func askRollback(ctx context.Context, o order) ([]string, error) {
	return control.Rollback.Call(ctx, o.live, control.RollbackArgs{Object: o.object(), Dry: true})
}

func doRollback(ctx context.Context, o order) (string, error) {
	_, err := control.Rollback.Call(ctx, o.live, control.RollbackArgs{Object: o.object()})
	return show.Printable("%s is what it shows now", o.path), err
}

func (o order) newObject() (control.Object, error) {
	name := strings.Trim(o.name, "/")
	if name == "" {
		return control.Object{}, errors.New("the new volume wants a name")
	}
	return objectOf(o.live, name), nil
}

func askClone(_ context.Context, o order) ([]string, error) {
	n, err := o.newObject()
	if err != nil {
		return nil, err
	}
	return []string{show.Printable("would make the volume %s of %s; it takes no space until one of them is written", n.Path, o.path)}, nil
}

func doClone(ctx context.Context, o order) (string, error) {
	n, err := o.newObject()
	if err != nil {
		return "", err
	}
	_, err = control.Clone.Call(ctx, o.live, control.CloneArgs{Object: o.object(), New: n})
	return show.Printable("%s is a clone of %s", n.Path, o.path), err
}

func (o order) destroy() control.DestroyArgs {
	return control.DestroyArgs{
		Object: o.object(), Snapshots: o.how == "r" || o.how == "d", Clones: o.how == "R", Deferred: o.how == "d",
	}
}

func askDestroy(ctx context.Context, o order) (lines []string, err error) {
	args := o.destroy()
	args.DryRun = true
	res, err := control.Destroy.Call(ctx, o.live, args)
	if err != nil {
		return nil, err
	}
	const most = 50
	for i, name := range res.Destroyed {
		if i == most {
			lines = append(lines, fmt.Sprintf("and %d more", len(res.Destroyed)-most))
			break
		}
		lines = append(lines, show.Printable("would destroy %s", name))
	}
	if f := res.Forecast; f != nil {
		lines = append(lines, forecast(f)...)
	}
	return lines, nil
}

// forecast is what a destroy would free, and when that is erased.
func forecast(f *control.DestroyForecast) (lines []string) {
	lines = append(lines, "would free "+show.FormatSize(f.Frees))
	if f.Kept > 0 {
		lines = append(lines, show.Printable("%s of it is still seen by %s", show.FormatSize(f.Kept), strings.Join(f.SeenBy, ", ")))
	}
	switch {
	case f.Frees == f.None:
	case f.Paused:
		lines = append(lines, "erasing is paused: no end can be told")
	case f.Done != nil:
		lines = append(lines, fmt.Sprintf("would be erased at %s/s, about %s", show.FormatSize(f.Rate), show.FormatTime(*f.Done)))
	}
	if f.Delay != "" {
		lines = append(lines, "would be kept for "+f.Delay+" before that, and can be brought back")
	}
	if f.None > 0 {
		lines = append(lines, show.FormatSize(f.None)+" would not be erased (erase=none)")
	}
	return lines
}

func doDestroy(ctx context.Context, o order) (string, error) {
	res, err := control.Destroy.Call(ctx, o.live, o.destroy())
	if len(res.Kept) > 0 {
		k := res.Kept[0]
		return show.Printable("destroyed %s: it is kept until %s, and can be brought back as ID %d", o.path, show.FormatTime(*k.Goes), *k.ID), err
	}
	return show.Printable("destroyed %s: %s are freed and will be erased", o.path, show.FormatSize(res.Reclaim)), err
}

func (o order) id() (uint64, error) {
	id, err := strconv.ParseUint(o.name, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is no ID", o.name)
	}
	return id, nil
}

func askUndestroy(_ context.Context, o order) ([]string, error) {
	_, err := o.id()
	return []string{"would bring it back under its name"}, err
}

func doUndestroy(ctx context.Context, o order) (string, error) {
	id, err := o.id()
	if err != nil {
		return "", err
	}
	at, err := control.Undestroy.Call(ctx, o.live, control.UndestroyArgs{ID: id})
	return show.Printable("%s is there again", at), err
}

// set sets a property of the pool.
func (o order) set(ctx context.Context, name, value string, dry bool) ([]string, error) {
	return control.Set.Call(ctx, o.live, control.SetArgs{
		Object: control.Object{Arg: o.live.Dir, Path: "/"}, Settings: []control.Setting{{Name: name, Value: value}}, Dry: dry,
	})
}

func askRate(ctx context.Context, o order) ([]string, error) {
	lines, err := o.set(ctx, control.PropThroughput, o.name, true)
	return append([]string{show.Printable("would erase at %s per second at most (none: unlimited)", o.name)}, lines...), err
}

func doRate(ctx context.Context, o order) (string, error) {
	_, err := o.set(ctx, control.PropThroughput, o.name, false)
	return show.Printable("erasing at %s per second at most", o.name), err
}

func askPause(text string) func(context.Context, order) ([]string, error) {
	return func(context.Context, order) ([]string, error) { return []string{"erasing " + text}, nil }
}

func doPause(value string) func(context.Context, order) (string, error) {
	return func(ctx context.Context, o order) (string, error) {
		_, err := o.set(ctx, control.PropPaused, value, false)
		return "erase_paused is " + value, err
	}
}

func askFirst(_ context.Context, o order) ([]string, error) {
	id, err := o.id()
	return []string{fmt.Sprintf("job %d would be erased before all others", id)}, err
}

func doFirst(ctx context.Context, o order) (string, error) {
	id, err := o.id()
	if err == nil {
		_, err = control.First.Call(ctx, o.live, control.FirstArgs{ID: id})
	}
	return fmt.Sprintf("job %d is the first now", id), err
}
