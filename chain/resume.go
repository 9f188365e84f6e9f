package chain

// Opened is something that is open since before this process: a volume, or a snapshot.
type Opened struct {
	Ino              Ino     // of a volume
	Layer            LayerID // of a snapshot; then Ino is not looked at
	Readers, Writers int
}

// resume counts what is open since before this process, so that recover does not take it away. What is no more is passed over:
// a count may be too high, never too low.
func resume(p *Pool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.opt.Watched && !p.opt.ReadOnly {
		p.tree.snaps.watch = SnapWatch{tree: p.tree, since: p.plans.epochs.pin(0)}
		p.plans.resumed = p.plans.epochs.seal() // and so do jobs that were sealed before
	}
	for _, o := range p.opt.Opened {
		if o.Layer == 0 {
			if v, err := p.volumes.volume(o.Ino); err == nil {
				v.readers, v.writers = v.readers+o.Readers, v.writers+o.Writers
				v.beside = v.beside || o.Writers > 0 // nobody knows any more whether it is
			}
			continue
		}
		if l := p.tree.layers[o.Layer]; l != nil && !l.head && !l.dead {
			l.held += o.Readers
			p.tree.noteOpen(l)
			p.tree.uncount(l)
		}
	}
}
