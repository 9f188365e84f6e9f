package daemon

import (
	"errors"
	"fmt"
	"strings"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/control"
)

// did logs a change that a command has made: each has one line, which is written when it is done.
func (s *Service) did(who control.Peer, attrs ...any) {
	s.Log.Info("changed by a command", append([]any{"command", who.Op, "pool", s.Pool.Name(), "by", who.String()}, attrs...)...)
}

// didSome is did of a change of several that err may have stopped in the middle; nil: it has not.
func (s *Service) didSome(who control.Peer, err error, attrs ...any) {
	if err != nil {
		attrs = append(attrs, "stopped", err)
	}
	s.did(who, attrs...)
}

// inPart: something was done before the error came.
func inPart(err error) bool {
	var part *chain.PartError
	return errors.As(err, &part)
}

// settingsText is settings as people type them.
func settingsText(list []control.Setting) string {
	var words []string
	for _, s := range list {
		if s.Inherit {
			words = append(words, "inherit "+s.Name)
			continue
		}
		words = append(words, s.Name+"="+s.Value)
	}
	return strings.Join(words, " ")
}

// several is a list for a line of the log, which names the first of many.
func several(list []string) string {
	const most = 10
	if len(list) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:most], " "), len(list)-most)
	}
	return strings.Join(list, " ")
}
