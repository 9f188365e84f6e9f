package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/uuid"

	"slatefs/chain"
	"slatefs/chain/blockdev"
	"slatefs/chain/evidence"
	"slatefs/chain/super"
	"slatefs/cmd/slatefs/internal/certificate"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/daemon"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

// endPaper is the certificate of a pool's end, while it is made. What the pool's log says is collected before anything is
// erased, and kept on the host, signed: an end that was interrupted is gone on with, and then there is no log any more.
type endPaper struct {
	doc  certificate.Document
	head *evidence.Head // nil: doc has it, signed
	key  ed25519.PrivateKey
	file string        // where it goes
	out  *host.NewFile // that, which is not there before it is whole
	lack string        // why it is not complete, when it was made; empty: it is
}

// drop takes the file away again, if it was not made.
func (e *endPaper) drop() error {
	if e == nil {
		return nil
	}
	return e.out.Drop()
}

// Of what is not over, and of what is over and not known.
const (
	endBegun = "the pool's end has begun, and is not over"
	endBlind = "the pool could not be read when it ended: what its log says, and what was only released before, is not known"
)

// paperOf begins the certificate of the end of the pool on a device. p is nil where the pool cannot be opened: then what
// was begun earlier is gone on with, and where nothing was, the certificate is of the device only.
func (a *app) paperOf(
	ctx context.Context, p *chain.Pool, dev *blockdev.File, ref host.PoolRef, flags poolDestroyFlags,
) (_ *endPaper, err error) {
	if flags.certificate == "" || flags.dry {
		return nil, nil // none is wanted
	}
	if ref.UUID == uuid.Nil {
		return nil, fmt.Errorf("%s: which pool it was cannot be told any more: there is nothing to certify", ref.Device)
	}
	e := &endPaper{file: flags.certificate}
	if e.out, err = host.CreateNew(e.file); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.drop())
		}
	}()
	begun, err := a.begunEnd(ref.UUID)
	if err != nil {
		return nil, err
	}
	// One of a copy, which had the same UUID, says nothing of this one.
	if begun != nil && begun.Document.Pool.Device != daemon.DeviceName(dev) {
		begun = nil
	}
	others, err := a.endKey(e, p, begun, ref.UUID)
	if err != nil {
		return nil, err
	}
	switch {
	case p != nil:
		var head evidence.Head
		if e.doc, head, err = daemon.EndEvidence(ctx, a.host, p, dev, a.now); err != nil {
			return nil, err
		}
		e.head = &head
	case begun != nil:
		e.doc = begun.Draft()
		e.doc.Reasons = slices.DeleteFunc(e.doc.Reasons, func(why string) bool { return why == endBegun })
	default:
		e.doc.Pool = certificate.Pool{Name: ref.Name, UUID: ref.UUID, Device: daemon.DeviceName(dev), Size: dev.Size()}
		e.doc.Asked, e.doc.Of = []string{ref.UUID.String()}, []certificate.Thing{{Kind: "pool", Name: ref.Name, UUID: ref.UUID.String()}}
		e.doc.Reasons = []string{endBlind}
	}
	e.doc.Log.Keys = others
	fields, err := certificateFlags{template: flags.template, fields: flags.fields}.allFields()
	if err != nil {
		return nil, err
	}
	e.doc.ID, e.doc.Fields, e.doc.Host, e.doc.Made = uuid.New(), fields, daemon.HostName(), a.now()
	if e.doc.Media, err = host.MediaBelow(dev.Path()); err != nil {
		a.warnOnce("what lies below the pool is not known in full: %v", err)
	}
	return e, nil
}

// endKey finds what signs: as the daemon does, by what this host's settings say, and no other key than the one that signed
// last. It returns the names of those that did before.
func (a *app) endKey(e *endPaper, p *chain.Pool, begun *certificate.Signed, id uuid.UUID) (others []string, err error) {
	var log []ed25519.PublicKey
	if begun != nil {
		log, others = append(log, begun.Key), begun.Document.Log.Keys
	}
	if p != nil {
		log, others = append(log, daemon.LogKeys(p)...), nil
	}
	var have ed25519.PublicKey
	if len(log) > 0 {
		have = log[len(log)-1]
	}
	own, err := daemon.ReadSettings(a.host, id)
	if err != nil {
		return nil, err
	}
	file, _ := own.Get(control.PropEraseKey)
	if file == "none" {
		file = ""
	}
	key, err := a.host.PoolKey(id, file, have)
	if err != nil {
		return nil, err
	}
	if e.key = key.Private; key.Made {
		a.warnOnce("the key of the pool was missing on this host: %s, %s, was made, and signs its end", key.From,
			certificate.Fingerprint(key.Public()))
	}
	for _, name := range daemon.OtherKeys(a.host, id, log, key.Public()) {
		if !slices.Contains(others, name) {
			others = append(others, name)
		}
	}
	return others, nil
}

// begunEnd is the certificate of an end that was begun, and is not over; nil: none was.
func (a *app) begunEnd(id uuid.UUID) (*certificate.Signed, error) {
	b, err := os.ReadFile(a.host.EndPath(id))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s, err := certificate.Read(b)
	if err == nil && s.Document.Pool.UUID != id {
		err = fmt.Errorf("is of pool %v: %w", s.Document.Pool.UUID, certificate.ErrNone)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.host.EndPath(id), err)
	}
	return s, nil
}

// begin keeps what is known on the host before anything is erased.
func (a *app) begin(e *endPaper) error {
	if e.head != nil {
		e.doc.Log.Head = certificate.HeadOf(evidence.SignHead(e.key, e.doc.Pool.UUID, *e.head, e.doc.Made))
	}
	d := e.doc
	d.Reasons = append(slices.Clone(d.Reasons), endBegun)
	s, err := certificate.Seal(d, e.key)
	if err != nil {
		return err
	}
	return a.host.KeepEnd(d.Pool.UUID, s.JSON())
}

// finish reads the whole device back, and writes the certificate: on the host, and to its file. The superblocks are there
// still; all else is zero.
func (a *app) finish(ctx context.Context, e *endPaper, dev *blockdev.File, end poolEnd) error {
	read, err := a.readBack(ctx, dev)
	if err != nil {
		return show.Hinted(err, "not all is erased, and the pool is still called one: see to the device, and do it again")
	}
	method := endMethod(end.did)
	e.doc.Made = a.now()
	e.doc.End = &certificate.PoolEnd{
		Whole: end.usage == nil, Zeroed: end.left.bytes(), ReadBack: read, Super: super.Bytes, Method: method, Volumes: len(e.doc.Of) - 1,
	}
	e.doc.Method = certificate.Method{
		Type: "Clear", Used: "Overwrite", Details: certificate.MethodsWords(method) + "; what was clean already is zero by the records",
		Tool: "slatefs " + control.Version(), Verify: "Full",
		Verified: "every block of the device but the superblocks was read back as zeros after the sync, by the tool",
	}
	s, err := certificate.Seal(e.doc, e.key)
	if err != nil {
		return err
	}
	if err := errors.Join(a.host.KeepEnd(e.doc.Pool.UUID, s.JSON()), a.anchorEnd(s)); err != nil {
		return fmt.Errorf("the certificate is not kept on this host, and the pool is still called one: %w", err)
	}
	form := s.Text()
	switch filepath.Ext(e.file) {
	case ".json":
		form = s.JSON()
	case ".html":
		form = s.HTML()
	}
	if _, err := e.out.Write(form); err != nil {
		return err
	}
	if !s.Document.Complete {
		e.lack = notComplete(s)
	}
	return e.out.Keep()
}

// endMethod names what zeroed, in the order of the methods.
func endMethod(did map[blockdev.Method]bool) string {
	var words []string
	for _, m := range slices.Sorted(maps.Keys(did)) {
		words = append(words, m.String())
	}
	if len(words) == 0 {
		return "nothing, as all was zero"
	}
	return strings.Join(words, ", ")
}

// anchorEnd keeps the last signed head of a pool's log beside the others.
func (a *app) anchorEnd(s *certificate.Signed) error {
	h := s.Document.Log.Head
	if h == nil {
		return nil
	}
	line, err := certificate.Anchor{Pool: s.Document.Pool.UUID, Signature: h.Signature()}.Line()
	if err != nil {
		return err
	}
	return a.host.AddAnchor(s.Document.Pool.UUID, line)
}

// sizedDevice is a device whose end is known.
type sizedDevice interface {
	endDevice
	Size() int64
}

// readBack reads all of a device but the superblocks: an error names the first block that is not zero.
func (a *app) readBack(ctx context.Context, dev sizedDevice) (int64, error) {
	var at progressMark
	end := dev.Size()
	at.set(0, end)
	return slowly(ctx, a, "read back", at.get, func(ctx context.Context) (int64, error) {
		buf := blockdev.Aligned(1 << 20)
		for off := int64(super.Bytes); off < end; off += int64(len(buf)) {
			b := buf[:min(int64(len(buf)), end-off)]
			if _, err := dev.ReadAt(b, off); err != nil {
				return 0, err
			}
			for i, v := range b {
				if v != 0 {
					return 0, fmt.Errorf("%s: byte %d is not zero", dev.Path(), off+int64(i))
				}
			}
			if at.set(off, end); ctx.Err() != nil {
				return 0, ctx.Err()
			}
		}
		return end - super.Bytes, nil
	})
}
