package alloc

// All tells whether all blocks of a run are in a state, in a step for each group: nil, an *UnloadedError for the first group
// that must be loaded, or an error that names the first block which is not and wraps ErrState, or ErrRange.
func (p *Pool) All(r Run, st State) error {
	if err := p.check(r); err != nil {
		return err
	}
	return p.each(r, func(g, lo, n int) error {
		if !p.Loaded(g) {
			return &UnloadedError{Group: g}
		}
		return p.verify(g, lo, n, st)
	})
}
