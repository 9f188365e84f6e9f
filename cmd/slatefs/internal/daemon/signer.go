package daemon

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.uber.org/atomic"

	"slatefs/chain"
	"slatefs/chain/evidence"
	"slatefs/cmd/slatefs/internal/certificate"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

// Signer signs heads of a pool's erase log, at each certificate and once a day, with the pool's key, and keeps them outside of the
// pool: in a file of the host, in the system journal, by a command of the host's. A signed head that the pool's log does not lead
// to any more says that the log was rolled back, or written anew.
type Signer struct {
	host host.Host
	pool *chain.Pool
	own  *host.Settings
	log  *slog.Logger
	now  func() time.Time

	avoid         func(path string) error                           // refuses what may not be opened; nil: nothing
	send          func(text string, fields map[string]string) error // nil: there is no journal
	journal, hook outside

	mu      sync.Mutex       // one signature at a time
	key     *host.SigningKey // mu; nil: it was not needed yet, or cannot be had
	keyFile string           // mu: that erase_key named then
	trouble *atomic.String   // what the anchors say against the log
}

// NewSigner makes the signer of a pool. It reads nothing yet.
func NewSigner(h host.Host, p *chain.Pool, own *host.Settings, log *slog.Logger, now func() time.Time) *Signer {
	return &Signer{host: h, pool: p, own: own, log: log, now: now, send: journalSend(), trouble: atomic.NewString("")}
}

// How often is looked whether the head is to be signed, and how old its signature may get while records come.
const (
	signLook = time.Minute
	signTime = 24 * time.Hour
)

// run looks at the anchors, and signs the head when it is time.
func (s *Signer) run(ctx context.Context) error {
	if err := s.look(); err != nil {
		s.log.Warn("the anchors of the erase log could not be compared with it", "pool", s.pool.Name(), "error", err)
	}
	t := time.NewTicker(signLook)
	defer t.Stop()
	for {
		if s.due() {
			if _, err := s.Sign(ctx, s.pool.Log().State().Head); err != nil {
				return fmt.Errorf("the head of the erase log is not signed: %w", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// due tells whether the head has records that no signature of the last day covers. The first signature says which key is the pool's.
func (s *Signer) due() bool {
	last, ok := s.last()
	if !ok {
		return true
	}
	return last.Head.Seq < s.pool.Log().State().Head.Seq && s.now().Sub(last.Time) >= signTime
}

// last is the newest signature in the pool; none of a UUID that it had before.
func (s *Signer) last() (sig evidence.Signature, ok bool) {
	signed := s.pool.Log().State().Signed
	if len(signed) == 0 {
		return sig, false
	}
	sig = signed[len(signed)-1]
	return sig, sig.Verify(s.pool.UUID()) == nil
}

// Sign signs a head of the pool's log, unless it is signed: first in the pool, durably, then outside. That it cannot be kept everywhere is told
// and keeps nobody from it; that there is no key, or another one, is an error.
func (s *Signer) Sign(ctx context.Context, h evidence.Head) (evidence.Signature, error) {
	sig, fresh, err := s.signed(h)
	if err == nil && fresh {
		s.tell(ctx, sig)
	}
	return sig, err
}

// signed signs a head, and keeps that in the pool and on the host. fresh: it was not signed before.
func (s *Signer) signed(h evidence.Head) (sig evidence.Signature, fresh bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key, err := s.keyOf()
	if err != nil {
		return sig, false, err
	}
	if last, ok := s.last(); ok {
		if last.Head == h && key.Public().Equal(ed25519.PublicKey(last.Key[:])) {
			return last, false, nil
		}
	}
	sig = evidence.SignHead(key.Private, s.pool.UUID(), h, s.now())
	if !s.pool.ReadOnly() {
		if err := errors.Join(s.pool.Log().Sign(sig), s.pool.Flush()); err != nil {
			return sig, false, fmt.Errorf("record %d of the erase log: its signature: %w", h.Seq, err)
		}
	}
	line, err := s.line(sig)
	if err == nil {
		err = s.host.AddAnchor(s.pool.UUID(), line)
	}
	if err != nil {
		s.log.Error("a signed head of the erase log is not kept on this host", "pool", s.pool.Name(), "error", err)
	}
	return sig, true, nil
}

func (s *Signer) line(sig evidence.Signature) ([]byte, error) {
	return certificate.Anchor{Pool: s.pool.UUID(), Signature: sig}.Line()
}

// Key is what signs; an error if it cannot be had.
func (s *Signer) Key() (ed25519.PrivateKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, err := s.keyOf()
	if err != nil {
		return nil, err
	}
	return k.Private, nil
}

// keyOf reads the key, or makes one where there is none. s.mu is held.
func (s *Signer) keyOf() (*host.SigningKey, error) {
	file := hostWord(s.own, control.PropEraseKey)
	if file == "none" {
		file = ""
	}
	if s.key != nil && s.keyFile == file {
		return s.key, nil
	}
	if s.avoid != nil {
		if err := s.avoid(file); err != nil {
			return nil, fmt.Errorf("%s: %w", control.PropEraseKey, err)
		}
	}
	var have ed25519.PublicKey
	if last, ok := s.last(); ok {
		have = last.Key[:]
	}
	k, err := s.host.PoolKey(s.pool.UUID(), file, have)
	if err != nil {
		return nil, err
	}
	if k.Made {
		s.log.Warn("a key was made that signs the erase log", "pool", s.pool.Name(), "key", k.From, "public", certificate.Fingerprint(k.Public()),
			"replaces_one_that_is_missing", have != nil)
	}
	s.key, s.keyFile = &k, file
	return s.key, nil
}

// anchorMessage is the MESSAGE_ID of an anchor: journalctl MESSAGE_ID=… finds them all.
const anchorMessage = "b7f3f2c1d39e4c0a8d0c5b0b1f6e2d94"

// anchorTime bounds how long the command of a signed head may take: somebody waits for his certificate.
const anchorTime = 10 * time.Second

// tell brings a signed head to where it is out of this pool's, and this host's, reach.
func (s *Signer) tell(ctx context.Context, sig evidence.Signature) {
	line, err := s.line(sig)
	if err != nil {
		return // it was told
	}
	s.toJournal(sig, line)
	command := hostWord(s.own, control.PropEraseAnchor)
	if command == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, anchorTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	cmd.Dir, cmd.Stdin, cmd.WaitDelay = "/", bytes.NewReader(line), hookGrace
	cmd.Env = append(os.Environ(), "SLATEFS_POOL="+s.pool.Name(), "SLATEFS_POOL_UUID="+s.pool.UUID().String(),
		fmt.Sprintf("SLATEFS_SEQ=%d", sig.Head.Seq), "SLATEFS_HASH="+sig.Head.Hash.String())
	name, log := s.pool.Name(), s.log
	if !s.hook.call(ctx, 2*hookGrace, func() {
		if out, err := cmd.CombinedOutput(); err != nil {
			log.Error("erase_anchor failed", "pool", name, "command", command, "error", err, "output", string(out))
		}
	}) {
		s.log.Error("erase_anchor hangs", "pool", name, "command", command)
	}
}

func (s *Signer) toJournal(sig evidence.Signature, line []byte) {
	if s.send == nil {
		return
	}
	text := show.Printable("pool %s: the erase log was signed at record %d, %v", s.pool.Name(), sig.Head.Seq, sig.Head.Hash)
	fields := map[string]string{
		"MESSAGE_ID": anchorMessage, "SYSLOG_IDENTIFIER": "slatefs", "SLATEFS_POOL": s.pool.UUID().String(), "SLATEFS_ANCHOR": string(bytes.TrimSpace(line)),
	}
	over, cancel := context.WithCancel(context.Background())
	cancel()
	sent := make(chan error, 1)
	if !s.journal.call(over, sendTime, func() { sent <- s.send(text, fields) }) {
		sent <- errors.New("it does not answer")
	}
	if err := <-sent; err != nil {
		s.log.Warn("a signed head of the erase log did not reach the system journal", "pool", s.pool.Name(), "error", err)
	}
}

// look compares the host's anchors with the log, once, and tells what is wrong.
func (s *Signer) look() error {
	w, err := s.watch()
	if err == nil && w != nil {
		at := s.pool.Log().State().Cut.At
		if at.Seq > 0 {
			w.see(at)
		}
		err = s.pool.Log().Each(w.least(), func(recs []chain.EraseRecord) error {
			for _, r := range recs {
				if r.Seq > 0 {
					w.see(r.Entry.Head())
				}
			}
			return nil
		})
	}
	if err == nil && w != nil {
		s.trouble.Store(w.verdict(s.pool.Log().State().Head))
	}
	if why := s.trouble.Load(); why != "" {
		s.log.Error("the erase log is not what this host has seen of it", "pool", s.pool.Name(), "error", why)
	}
	return err
}

// glance compares the log's head with the newest anchor: cheap enough for a mount to wait for it. The rest look finds.
func (s *Signer) glance() error {
	w, err := s.watch()
	if err != nil || w == nil {
		return err
	}
	head := s.pool.Log().State().Head
	for i := range w.all {
		if w.all[i].Head.Seq == head.Seq {
			w.next = i
			w.see(head)
		}
	}
	why := w.verdict(head)
	if s.trouble.Store(why); why != "" {
		return errors.New(why)
	}
	return nil
}

// Trouble is what the anchors say against the log; empty: nothing.
func (s *Signer) Trouble() string { return s.trouble.Load() }

// anchorWatch compares a pool's anchors with its log, while somebody goes along it.
type anchorWatch struct {
	all    []certificate.Anchor // by number
	next   int
	seen   int
	newest time.Time
	other  *certificate.Anchor // the first that the log does not lead to
}

// watch reads the host's anchors of the pool; nil: there are none.
func (s *Signer) watch() (*anchorWatch, error) { return watchOf(s.host, s.pool.UUID()) }

func watchOf(h host.Host, id uuid.UUID) (*anchorWatch, error) {
	b, err := h.Anchors(id)
	if err != nil {
		return nil, err
	}
	list, err := certificate.ReadKept(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", h.AnchorPath(id), err)
	}
	return newWatch(list, id), nil
}

// least is the number from which on the log has to be seen.
func (w *anchorWatch) least() uint64 {
	if len(w.all) == 0 {
		return 0
	}
	return w.all[0].Head.Seq
}

// reach is the record that the links of a certificate shall go back to, so that whoever keeps anchors can compare them: that of the oldest anchor
// that they come to, or else of the newest before the head.
func (w *anchorWatch) reach(head uint64) (seq uint64, ok bool) {
	for i := range w.all {
		switch at := w.all[i].Head.Seq; {
		case at >= head:
			return seq, ok
		case at+certificate.ReachLinks >= head:
			return at, true
		default:
			seq, ok = at, true
		}
	}
	return seq, ok
}

// see takes the next place of the log.
func (w *anchorWatch) see(at evidence.Head) {
	for w.next < len(w.all) && w.all[w.next].Head.Seq <= at.Seq {
		a := &w.all[w.next]
		w.next++
		if a.Head.Seq < at.Seq {
			continue // it was cut, or is the beginning
		}
		if w.seen++; a.Head != at && w.other == nil {
			w.other = a
		}
	}
}

// verdict says what is wrong, when the log was seen up to its head.
func (w *anchorWatch) verdict(head evidence.Head) string {
	if w.other == nil {
		for i := range w.all {
			if w.all[i].Head.Seq > head.Seq {
				w.other = &w.all[i]
				break
			}
		}
	}
	if w.other == nil {
		return ""
	}
	return fmt.Sprintf("the log was rolled back, or written anew: this host has seen its record %d signed at %s, and it is not in the log",
		w.other.Head.Seq, w.other.Time.UTC().Format(time.DateTime+" UTC"))
}

// newWatch takes the anchors of one pool, by their numbers; nil: there are none.
func newWatch(list []certificate.Anchor, pool uuid.UUID) *anchorWatch {
	w := &anchorWatch{}
	for _, a := range list {
		if a.Pool != pool {
			continue
		}
		w.all = append(w.all, a)
		if a.Time.After(w.newest) {
			w.newest = a.Time
		}
	}
	if len(w.all) == 0 {
		return nil
	}
	slices.SortStableFunc(w.all, func(a, b certificate.Anchor) int { return cmp.Compare(a.Head.Seq, b.Head.Seq) })
	return w
}
