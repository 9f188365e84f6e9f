package daemon

import (
	"context"

	"slatefs/chain"
	"slatefs/chain/evidence"
	"slatefs/cmd/slatefs/internal/certificate"
)

// EndEvidence is what a pool that is about to end says of itself: all records that are in its log, and all volumes that they or the
// pool itself know. It returns the log's head.
func EndEvidence(ctx context.Context, p *chain.Pool, dev identified) (d certificate.Document, head evidence.Head, err error) {
	d.Pool = certificate.Pool{Name: p.Name(), UUID: p.UUID(), Device: DeviceName(dev), Size: p.Size()}
	d.Asked = []string{p.UUID().String()}
	c, err := collectLog(p, &d, nil, func(*certificate.Collector) {})
	if err != nil {
		return d, c.Head(), err
	}
	d.Of = []certificate.Thing{{Kind: "pool", Name: p.Name(), UUID: p.UUID().String()}}
	err = chain.EachVolumeEver(p, func(v chain.VolumeEver) error {
		d.Of = append(d.Of, certificate.Thing{Kind: kindVolume, Name: v.Path, UUID: p.VolumeUUID(v.Ino).String()})
		return ctx.Err()
	})
	return d, c.Head(), err
}
