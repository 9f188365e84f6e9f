package daemon

import (
	"context"
	"fmt"
	"time"

	"slatefs/chain"
	"slatefs/chain/evidence"
	"slatefs/cmd/slatefs/internal/certificate"
	"slatefs/cmd/slatefs/internal/host"
)

// EndEvidence is what a pool that is about to end says of itself: all records that are in its log, and all volumes that they or the
// pool itself know, compared with the host's anchors, and what its end cannot prove. It returns the log's head.
func EndEvidence(ctx context.Context, h host.Host, p *chain.Pool, dev identified, now func() time.Time) (d certificate.Document, head evidence.Head, err error) {
	d.Pool = certificate.Pool{Name: p.Name(), UUID: p.UUID(), Device: DeviceName(dev), Size: p.Size()}
	d.Asked, d.Made = []string{p.UUID().String()}, now()
	watch, err := watchOf(h, p.UUID())
	if err != nil {
		d.Reasons = append(d.Reasons, "the anchors of this host cannot be read: "+err.Error())
	}
	c, err := collectLog(ctx, p, &d, watch, func(*certificate.Collector) {})
	if err != nil {
		return d, c.Head(), err
	}
	compared(&d, watch, c.Head())
	setBack(&d, p, watch, now)
	released(&d, p)
	d.Of = []certificate.Thing{{Kind: "pool", Name: p.Name(), UUID: p.UUID().String()}}
	err = chain.EachVolumeEver(p, func(v chain.VolumeEver) error {
		d.Of = append(d.Of, certificate.Thing{Kind: kindVolume, Name: v.Path, UUID: p.VolumeUUID(v.Ino).String()})
		return ctx.Err()
	})
	return d, c.Head(), err
}

// released leaves what was ever only released: it lies below the device, where the end of the pool does not reach. Jobs that are not over are in
// the accounts, accounts that were closed in the log.
func released(d *certificate.Document, p *chain.Pool) {
	var bytes int64
	for _, r := range d.Records {
		if r.Counts() {
			bytes += r.Shown.Released
		}
	}
	if cut := d.Log.Cut; cut != nil {
		bytes += cut.Released * evidence.BlockSize
	}
	e, err := chain.EvidenceOf(p, chain.Subject{Pool: true})
	if err != nil {
		d.Reasons = append(d.Reasons, fmt.Sprintf("what was only released is not known: %v", err))
	}
	below := e.Released
	for _, r := range e.Remains {
		if r.State == chain.RemainReleased && r.ID != 0 { // it waits in a job still
			below += r.Bytes
		}
	}
	d.Leave(certificate.Part{
		Bytes: max(bytes, below), State: certificate.Released, By: "it lies below the device, where the pool's end did not zero it",
	})
}
