package daemon

import (
	"context"
	"fmt"

	"slatefs/cmd/slatefs/internal/control"
)

// maxCells bounds a map.
const maxCells = 4096

// spaceMap draws a map of the device, one at a time: others wait.
func (s *Service) spaceMap(ctx context.Context, _ control.Peer, args control.MapArgs) ([]control.MapCell, error) {
	if args.Cells < 1 || args.Cells > maxCells {
		return nil, fmt.Errorf("a map of %d cells: 1 to %d are possible: %w", args.Cells, maxCells, control.ErrInvalid)
	}
	s.mapping.Lock()
	defer s.mapping.Unlock()
	cells, err := s.Pool.Map(ctx, args.Cells)
	out := make([]control.MapCell, len(cells))
	for i, c := range cells {
		out[i] = control.MapCell(c)
	}
	return out, err
}
