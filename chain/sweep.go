package chain

func (p *Pool) sweepStep() (bool, error) { return false, nil }

func (p *Pool) applySweep(r *recSweep) error { return nil }
