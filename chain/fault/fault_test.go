package fault

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestOf(t *testing.T) {
	eio := Mark(Transient, errors.New("read at 4096: EIO"))
	for _, c := range []struct {
		name string
		err  error
		want Kind
	}{
		{"nil", nil, Refused},
		{"unmarked", io.EOF, Refused},
		{"marked", eio, Transient},
		{"wrapped", fmt.Errorf("page 7: %w", eio), Transient},
		{"marked again outside", Mark(Pool, fmt.Errorf("journal: %w", eio)), Pool},
		{"marked lighter outside", Mark(Refused, fmt.Errorf("too many tries: %w", eio)), Refused},
		{"two wrapped: the gravest", fmt.Errorf("%w: %w", Mark(Object, io.EOF), eio), Object},
		{"joined: the gravest", errors.Join(io.EOF, eio), Transient},
	} {
		if got := Of(c.err); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestMarkIsSeenThrough(t *testing.T) {
	if Mark(Pool, nil) != nil {
		t.Error("a mark makes an error of none")
	}
	err := Mark(Object, fmt.Errorf("page 7: %w", io.EOF))
	if !errors.Is(err, io.EOF) || err.Error() != "page 7: EOF" {
		t.Errorf("%v", err)
	}
}

func TestMisuseNamesTheInvariant(t *testing.T) {
	defer func() {
		if s, ok := recover().(string); !ok || !strings.Contains(s, "one owner: block 7") {
			t.Errorf("panic of %q", s)
		}
	}()
	Misuse("one owner: block %d", 7)
}
