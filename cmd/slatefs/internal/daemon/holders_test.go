package daemon

import (
	"strings"
	"testing"

	"slatefs/chain"
	"slatefs/fs"
)

func TestHoldersText(t *testing.T) {
	if got := holdersText(nil, chain.ErrPerm); !strings.Contains(got, "unknown processes") {
		t.Error(got)
	}
	if got := holdersText(nil, nil); !strings.Contains(got, "can't see") {
		t.Error(got)
	}
	many := make([]fs.Holder, 13)
	if got := holdersText(many, nil); !strings.HasSuffix(got, "3 more") {
		t.Error(got)
	}
}
