package certificate

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"slatefs/chain/evidence"
)

// The file of anchors is read as far as it is whole; what nobody signed is no anchor.
func TestAnchorFile(t *testing.T) {
	_, head := logOf(pool, 2)
	line, err := Anchor{pool, evidence.SignHead(key, pool, head, morning)}.Line()
	if err != nil {
		t.Fatal(err)
	}
	list, err := ReadAnchors(bytes.NewReader(append(bytes.Clone(line), bytes.TrimSpace(line)...)))
	if err != nil || len(list) != 2 || list[1].Head != head || list[0].Pool != pool {
		t.Fatalf("%v, %v", list, err)
	}
	torn := append(append(bytes.Clone(line), line...), line[:40]...)
	if list, err := ReadKept(torn); err != nil || len(list) != 2 {
		t.Errorf("what a crash left: %v, %v", list, err)
	}
	if _, err := ReadAnchors(bytes.NewReader(torn)); !errors.Is(err, ErrNoAnchor) {
		t.Errorf("a part of a line is taken: %v", err)
	}
	for name, b := range map[string]string{
		"words": "hello\n", "another number": strings.Replace(string(line), `"seq":2`, `"seq":3`, 1),
		"a long line": strings.Repeat("x", maxAnchorLine+1) + "\n",
		"no key":      `{"pool_uuid":"` + pool.String() + `","seq":2}` + "\n",
	} {
		if _, err := ReadAnchors(strings.NewReader(b)); !errors.Is(err, ErrNoAnchor) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
