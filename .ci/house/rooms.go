package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

// plan is the table of the rooms: what .ci/house/rooms says.
type plan struct {
	names   []string       // of the rooms, bottom up
	of      map[string]int // file: its room
	owner   map[string]int // type: the room of its methods
	verbs   string         // a type whose methods may stand beside what they use: they are of the room verbsAt all the same
	verbsAt int
	up      map[string]string // allowed references upwards, "FROM TO": why
	paths   [][2]string       // title and function where it begins
}

// readPlan reads lines of
//
//	room NAME FILE…       the next room, bottom up
//	type NAME             a type of the room above: its methods are nowhere else
//	verbs NAME            a type whose methods stand beside what they use: wherever that is, they are of the room above
//	up FROM TO WHY…       a reference upwards that is meant
//	path FUNCTION TITLE…  a path through the house
func readPlan(name string) (*plan, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	p := &plan{of: map[string]int{}, owner: map[string]int{}, up: map[string]string{}}
	sc := bufio.NewScanner(strings.NewReader(string(b)))
	for n := 1; sc.Scan(); n++ {
		line, _, _ := strings.Cut(sc.Text(), "#")
		w := strings.Fields(line)
		switch {
		case len(w) == 0:
		case w[0] == "room" && len(w) > 2:
			p.names = append(p.names, w[1])
			for _, f := range w[2:] {
				if _, ok := p.of[f]; ok {
					return nil, fmt.Errorf("%s:%d: %s is in two rooms", name, n, f)
				}
				p.of[f] = len(p.names) - 1
			}
		case w[0] == "type" && len(w) == 2 && len(p.names) > 0:
			p.owner[w[1]] = len(p.names) - 1
		case w[0] == "verbs" && len(w) == 2 && len(p.names) > 0:
			p.verbs, p.verbsAt = w[1], len(p.names)-1
		case w[0] == "up" && len(w) > 3:
			p.up[w[1]+" "+w[2]] = strings.Join(w[3:], " ")
		case w[0] == "path" && len(w) > 2:
			p.paths = append(p.paths, [2]string{strings.Join(w[2:], " "), w[1]})
		default:
			return nil, fmt.Errorf("%s:%d: %q is not understood", name, n, line)
		}
	}
	return p, sc.Err()
}
