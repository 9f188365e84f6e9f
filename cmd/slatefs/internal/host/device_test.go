package host

import (
	"errors"
	"testing"
	"time"

	"slatefs/chain/super"
)

// A device that answers nothing hides no pool either.
func TestMuteDevice(t *testing.T) {
	gone := make(chan struct{})
	defer close(gone)
	_, err := within("/dev/mute", time.Millisecond, func(string) (super.Block, error) {
		<-gone
		return super.Block{}, nil
	})
	if !errors.Is(err, ErrSilent) || err.Error() != "/dev/mute: does not answer" {
		t.Errorf("%v", err)
	}
}
