package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"slatefs/chain"
	"slatefs/chain/evidence"
	"slatefs/cmd/slatefs/internal/certificate"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

// certify makes and signs a certificate.
func (s *Service) certify(ctx context.Context, who control.Peer, args control.CertifyArgs) (out control.Certified, err error) {
	if s.Signer == nil {
		return out, fmt.Errorf("pool %s: nothing signs here: %w", s.Pool.Name(), control.ErrUnsupported)
	}
	d := certificate.Document{ID: uuid.New(), Made: s.Now(), Asked: args.Asked, Host: HostName(), Media: s.media()}
	for _, f := range args.Fields {
		if err := d.Fields.Set(f); err != nil {
			return out, err
		}
	}
	head, _, err := s.fill(ctx, &d)
	if err != nil {
		return out, err
	}
	sig, err := s.Signer.Sign(ctx, head)
	if err != nil {
		return out, err
	}
	key, err := s.Signer.Key()
	if err != nil {
		return out, err
	}
	d.Log.Head = certificate.HeadOf(sig)
	d.Log.Keys = OtherKeys(s.Signer.host, s.Pool.UUID(), LogKeys(s.Pool), sig.Key[:])
	signed, err := certificate.Seal(d, key)
	if err != nil {
		return out, err
	}
	s.did(who, "certificate", d.ID, "of", several(args.Asked), "complete", signed.Document.Complete)
	return control.Certified{Signed: signed.JSON()}, nil
}

// fill fills in what the accounts, the jobs and the log say of what was asked for. It returns the log's head, and what the accounts prove
// of all that
// is no job. The accounts come first: what ends meanwhile is in the log.
func (s *Service) fill(ctx context.Context, d *certificate.Document) (head evidence.Head, proofs []control.Evidence, err error) {
	info := eraseInfoOf(s.Pool, s.Eraser.Stats(), s.Now())
	proofs, jobs, err := s.proofs(ctx, d.Asked)
	if err != nil {
		return head, nil, err
	}
	c, watch, err := s.collect(ctx, d, proofs)
	if err != nil {
		return c.Head(), nil, err
	}
	for _, e := range proofs {
		c.Found[e.Asked] = true
		account(d, e)
	}
	s.ofJobs(d, c, jobs, info)
	for _, q := range d.Asked {
		if !c.Found[q] {
			log := "the erase log"
			if d.Log.Cut != nil {
				log = fmt.Sprintf("the erase log, which begins at record %d,", d.Log.First)
			}
			return c.Head(), nil, show.Hinted(fmt.Errorf("%s: neither %s nor a job knows it", q, log),
				"slatefs erase log -j %s shows IDs and UUIDs; what is older was exported, if erase_log_export is set", d.Pool.Name)
		}
	}
	compared(d, watch, c.Head())
	setBack(d, s.Pool, watch, s.Now)
	return c.Head(), proofs, nil
}

// wouldBe says what a certificate of one thing would come to, by the same steps.
func (s *Service) wouldBe(ctx context.Context, q string) (control.Evidence, error) {
	d := certificate.Document{Made: s.Now(), Asked: []string{q}}
	_, proofs, err := s.fill(ctx, &d)
	if err != nil {
		return control.Evidence{}, err
	}
	e := control.Evidence{Asked: q, Kind: kindJob, Name: q, Written: d.Amounts.Freed, Zeroed: d.Amounts.Erased}
	for _, p := range proofs {
		e = p
	}
	e.Remains, e.Reasons, e.Complete = nil, d.Reasons, len(d.Left)+len(d.Reasons) == 0
	for _, p := range d.Left {
		e.Remains = append(e.Remains, control.Remain{State: p.State, Bytes: p.Bytes, UpTo: p.UpTo, By: p.By, ID: p.ID})
	}
	return e, nil
}

// ownerPrefix begins what is asked for of all volumes of a user.
const ownerPrefix = "uid:"

// proofs asks the accounts of all that is no ID of a job.
func (s *Service) proofs(ctx context.Context, asked []string) (proofs []control.Evidence, jobs []string, err error) {
	for _, q := range asked {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		if _, err := strconv.ParseUint(q, 10, 64); err == nil {
			if err := s.oneMeaning(q); err != nil {
				return nil, nil, err
			}
			jobs = append(jobs, q)
			continue
		}
		e, err := s.proofOf(ctx, q)
		if err != nil {
			return nil, nil, err
		}
		e.Asked = q
		proofs = append(proofs, e)
	}
	return proofs, jobs, nil
}

func (s *Service) proofOf(ctx context.Context, q string) (control.Evidence, error) {
	uid, ok := strings.CutPrefix(q, ownerPrefix)
	if !ok {
		return s.evidenceOf(ctx, q)
	}
	if err := s.oneMeaning(q); err != nil {
		return control.Evidence{}, err
	}
	n, err := strconv.ParseUint(uid, 10, 32)
	if err != nil {
		return control.Evidence{}, fmt.Errorf("%s: want a number behind %s: %w", q, ownerPrefix, control.ErrInvalid)
	}
	return s.ownerEvidence(ctx, uint32(n))
}

// oneMeaning refuses an ID, a UUID or a user that is the name of something in the pool, too, or was. A path begins with a slash, and is
// nothing else.
func (s *Service) oneMeaning(q string) error {
	a, _, err := s.find(control.Object{Arg: q, Path: q}, either)
	known := err == nil
	if err != nil && !errors.Is(err, chain.ErrNotFound) {
		return err
	}
	err = chain.EachVolumeEver(s.Pool, func(v chain.VolumeEver) error {
		known = known || v.Path == q || strings.HasPrefix(v.Path, q+"/")
		return nil
	})
	if err == nil && known && a.Ino != chain.RootIno {
		err = show.Hinted(fmt.Errorf("%s: is ambiguous: something in the pool has, or had, that name: %w", q, control.ErrInvalid),
			"./%s means the name, from the root of the pool; of a job, ask by the UUIDs that slatefs erase log -j shows", q)
	}
	return err
}

// account adds what is proved of one thing.
func account(d *certificate.Document, e control.Evidence) {
	t := certificate.Thing{Kind: e.Kind, Name: e.Name}
	if len(e.UUIDs) == 1 && e.Kind != kindPool && e.Kind != kindDirectory && e.Kind != kindOwner { // which are no volume, if they have just one
		t.UUID = e.UUIDs[0]
	}
	d.Of = append(d.Of, t)
	if d.Account == nil {
		d.Account = &certificate.Account{}
	}
	a := d.Account
	a.Written, a.Zeroed, a.Released, a.Left = a.Written+e.Written, a.Zeroed+e.Zeroed, a.Released+e.Released, a.Left+e.Left
	remains(d, e, false)
	if !e.Complete && len(e.Remains) == 0 {
		d.Reasons = append(d.Reasons, fmt.Sprintf("%s of %s are left, and where is not known", show.FormatSize(e.Left), e.Name))
	}
}

// remains adds what is left of one thing; upTo: no more than that is of what was asked for.
func remains(d *certificate.Document, e control.Evidence, upTo bool) {
	for _, r := range e.Remains {
		if r.Bytes == 0 || r.More > 0 || !certificate.IsState(r.State) {
			d.Reasons = append(d.Reasons, r.Words())
			continue
		}
		d.Leave(certificate.Part{Bytes: r.Bytes, State: r.State, By: r.By, ID: r.ID, UpTo: upTo || r.UpTo})
	}
}

// collect goes along the log, and compares it with the host's anchors on the way.
func (s *Service) collect(ctx context.Context, d *certificate.Document, proofs []control.Evidence) (
	*certificate.Collector, *anchorWatch, error,
) {
	d.Pool = certificate.Pool{Name: s.Pool.Name(), UUID: s.Pool.UUID(), Device: s.device(), Size: s.Pool.Size()}
	var watch *anchorWatch
	var err error
	if s.Signer != nil {
		watch, err = s.Signer.watch()
	}
	if err != nil {
		d.Reasons = append(d.Reasons, "the anchors of this host cannot be read: "+err.Error())
	}
	c, err := collectLog(ctx, s.Pool, d, watch, func(c *certificate.Collector) {
		for _, e := range proofs {
			c.Take(e.Asked, e.UUIDs...)
			if e.Kind == kindPool {
				c.Take(e.Asked, d.Pool.UUID.String())
			}
		}
	})
	return c, watch, err
}

// collectLog goes along a pool's log for a document that has its pool and what was asked for; also may ask for more. watch sees it too;
// nil: nobody
// does.
func collectLog(ctx context.Context, p *chain.Pool, d *certificate.Document, watch *anchorWatch, also func(*certificate.Collector)) (
	*certificate.Collector, error,
) {
	l := p.Log().State()
	var cut *evidence.Summary
	if l.Cut.Records() > 0 {
		cut = &l.Cut
	}
	c := certificate.NewCollector(d.Pool, l.Cut.At, cut, d.Asked)
	also(c)
	if watch != nil {
		if seq, ok := watch.reach(l.Head.Seq); ok {
			c.Reach(seq)
		}
		watch.see(l.Cut.At)
	}
	err := p.Log().Each(0, func(recs []chain.EraseRecord) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		for _, r := range recs {
			shown := eraseRecordOf(r)
			if err := c.Add(r.Entry, shown); err != nil {
				return err
			}
			if watch != nil && r.Seq > 0 {
				watch.see(c.Head())
			}
		}
		return nil
	})
	c.Fill(d)
	return c, err
}

// ofJobs adds what is not done of jobs that were asked for by their IDs, and what their records do not claim.
func (s *Service) ofJobs(d *certificate.Document, c *certificate.Collector, jobs []string, info control.EraseInfo) {
	for _, j := range info.Jobs {
		if !slices.Contains(jobs, strconv.FormatUint(j.ID, 10)) || !c.Wanted(j.ID) {
			continue
		}
		part := certificate.Part{Bytes: j.Dirty, State: certificate.Queued, By: control.Subject(j.Volume, j.Layer) + ", " + j.Reason, ID: j.ID}
		if j.Policy == control.EraseNone {
			part.State = certificate.Unscheduled
		}
		d.Leave(part)
		part.Bytes, part.State = j.Failed, certificate.Failed
		d.Leave(part)
		if j.Dirty+j.Failed == 0 {
			d.Reasons = append(d.Reasons, fmt.Sprintf("job %d is not over", j.ID))
		}
	}
	proved := map[string]bool{}
	for _, r := range d.Records {
		e := r.Shown
		if !slices.Contains(jobs, strconv.FormatUint(e.ID, 10)) {
			continue
		}
		if e.Kept > 0 && !s.nothingLeft() {
			d.Leave(certificate.Part{Bytes: e.Kept, State: certificate.Kept, By: e.KeptBy, ID: e.ID, UpTo: true})
			d.Reasons = append(d.Reasons, fmt.Sprintf("of job %d it is not known who wrote what others showed: that may be left until nothing at all is left in the pool; "+
				"a certificate of the volume, by its path or UUID, is exact", e.ID))
		}
		if !s.stayed(r) && !proved[e.VolumeUUID] {
			proved[e.VolumeUUID] = true
			s.ofVolume(d, e)
		}
		if e.Claimed() {
			continue
		}
		d.Leave(certificate.Part{Bytes: e.Released, State: certificate.Released, By: e.Title()})
		if e.Policy == control.EraseNone {
			d.Reasons = append(d.Reasons, fmt.Sprintf("%s of %s were zeroed for reuse (erase=none): nothing is claimed of them",
				show.FormatSize(e.Erased), e.Title()))
		}
	}
	if len(jobs) > 0 {
		d.Of = append(d.Of, certificate.ThingsIn(d.Records)...)
	}
}

// stayed tells whether the blocks of a job's record are all that its bytes were in: then nothing is left of them, whatever is of the
// volume.
func (s *Service) stayed(r certificate.Record) bool {
	row, err := evidence.Unmarshal(r.Row)
	if err != nil || len(row.Layers) == 0 || !r.Shown.Claimed() { // from before the chain, or nobody knows how old they are
		return false
	}
	yes, err := chain.BytesStayed(s.Pool, slices.Max(row.Layers))
	return err == nil && yes
}

// ofVolume adds what is left of the volume of a job. The blocks of the job are zero, but their bytes may be in others of it, and in a
// clone's: a write
// of less than a block took them along.
func (s *Service) ofVolume(d *certificate.Document, r control.EraseRecord) {
	id, err := uuid.Parse(r.VolumeUUID)
	if err != nil { // what a crash left, and what was there before the pool
		return
	}
	subject, e, err := s.subjectOfUUID(id, control.Evidence{Asked: r.VolumeUUID})
	if err == nil {
		e, err = s.prove(subject, e)
	}
	if err != nil || !e.Complete {
		d.Reasons = append(d.Reasons, fmt.Sprintf("job %d freed blocks of %s, of which more may be left, with bytes of those: a certificate by the UUID of a volume "+
			"or snapshot, as slatefs erase log -j has it, is exact", r.ID, r.Volume))
		remains(d, e, true)
	}
}

// nothingLeft tells whether the accounts prove that the pool shows and queues nothing at all. What a job found kept may have been written
// to any
// layer above its own, of another volume too, whose blocks came down to it: the accounts of its own layers do not prove its end.
func (s *Service) nothingLeft() bool {
	e, err := s.prove(chain.Subject{Pool: true}, control.Evidence{})
	return err == nil && e.Complete
}

// compared says what the host's anchors say of the log.
func compared(d *certificate.Document, watch *anchorWatch, head evidence.Head) {
	if watch == nil {
		d.Log.Notes = append(d.Log.Notes, "this host keeps none from before this")
		return
	}
	if text := watch.verdict(head); text != "" {
		d.Reasons = append(d.Reasons, text)
		return
	}
	note := fmt.Sprintf("agrees with %d of %d heads that this host keeps, the newest of %s",
		watch.seen, len(watch.all), watch.newest.UTC().Format("2006-01-02 15:04:05 UTC"))
	if watch.seen < len(watch.all) {
		note += "; the others were cut"
	}
	d.Log.Notes = append(d.Log.Notes, note)
}

// setBack finds that the clock is behind what was signed: who compares the certificate with an anchor would take that for a later one.
// The clock is read last: the log may have been signed since the document was begun.
func setBack(d *certificate.Document, p *chain.Pool, watch *anchorWatch, clock func() time.Time) {
	var newest time.Time
	if watch != nil {
		newest = watch.newest
	}
	for _, sig := range p.Log().State().Signed {
		if sig.Verify(p.UUID()) == nil && sig.Time.After(newest) {
			newest = sig.Time
		}
	}
	if now := clock(); newest.After(now) {
		d.Reasons = append(d.Reasons, fmt.Sprintf("the clock of this host was set back: it shows %s, and the log was signed at %s already",
			now.UTC().Format(time.DateTime+" UTC"), newest.UTC().Format(time.DateTime+" UTC")))
	}
}

// media are the devices below the pool. What cannot be found out is said in the list.
func (s *Service) media() []host.Media {
	path := s.device()
	if dev, ok := s.Dev.(identified); ok {
		path = dev.Path()
	}
	if !filepath.IsAbs(path) {
		return []host.Media{{Type: "not known", Device: path}}
	}
	list, err := host.MediaBelow(path)
	if err != nil {
		s.Log.Warn("what lies below the pool is not known in full", "pool", s.Pool.Name(), "error", err)
	}
	return list
}

// device is what the pool lies on, by a name that lasts.
func (s *Service) device() string {
	if dev, ok := s.Dev.(identified); ok {
		return DeviceName(dev)
	}
	return "not known"
}

// HostName is what this host calls itself.
func HostName() string {
	name, err := os.Hostname()
	if err != nil {
		return "not known"
	}
	return name
}
