package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// monitor is a connection to the QMP monitor of a qemu, for one goroutine.
type monitor struct {
	t      *testing.T
	conn   net.Conn
	in     *json.Decoder
	events []event // that nobody has asked for
}

// event is what qemu tells unasked.
type event struct {
	Name string `json:"event"`
	Data struct {
		Device, Error string
		NoSpace       bool `json:"nospace"`
	}
}

// newMonitor connects to a qemu that makes a socket about now.
func (l *lab) newMonitor(socket string) *monitor {
	l.t.Helper()
	m := &monitor{t: l.t}
	eventually(l.t, "qemu listens on "+socket, patience, func() (ok bool) {
		var err error
		m.conn, err = net.Dial("unix", socket)
		return err == nil
	})
	l.t.Cleanup(func() { _ = m.conn.Close() })
	must(l.t, m.conn.SetDeadline(time.Now().Add(insideLimit)))
	m.in = json.NewDecoder(m.conn)
	var greeting struct{ QMP any }
	must(l.t, m.in.Decode(&greeting))
	m.do("qmp_capabilities", nil)
	return m
}

// try runs a command, and returns what qemu says: of an error the description.
func (m *monitor) try(command string, args map[string]any) (json.RawMessage, error) {
	m.t.Helper()
	req, err := json.Marshal(map[string]any{"execute": command, "arguments": args})
	if args == nil {
		req, err = json.Marshal(map[string]any{"execute": command})
	}
	must(m.t, err)
	_, err = m.conn.Write(req)
	must(m.t, err)
	for {
		var reply struct {
			event
			Return json.RawMessage
			Error  *struct{ Desc string }
		}
		must(m.t, m.in.Decode(&reply))
		switch {
		case reply.Name != "":
			m.events = append(m.events, reply.event)
		case reply.Error != nil:
			return nil, errors.New(reply.Error.Desc)
		default:
			return reply.Return, nil
		}
	}
}

// do runs a command that must succeed.
func (m *monitor) do(command string, args map[string]any) json.RawMessage {
	m.t.Helper()
	ret, err := m.try(command, args)
	if err != nil {
		m.t.Fatalf("%s %v: %v", command, args, err)
	}
	return ret
}

// until waits for an event, which may have come before. Those that came before it are forgotten.
func (m *monitor) until(name string) event {
	m.t.Helper()
	for {
		for i, e := range m.events {
			if e.Name == name {
				m.events = m.events[i+1:]
				return e
			}
		}
		m.events = nil
		var e event
		must(m.t, m.in.Decode(&e))
		m.events = append(m.events, e)
	}
}

// machine is a qemu whose guest never runs: of its devices and its block layer a test makes use by the monitor. It is set up as
// Proxmox does it: a raw node on a file node, and a virtio-blk device on it.
type machine struct {
	*monitor
	process
	said int // bytes of its output that were read
}

// drive is a disk of a machine: its device is called d0, d1 and so on, its node n0, n1.
type drive struct{ path, cache, aio, zeroes string }

// cacheModes are qemu's, with the ways of asynchronous I/O that each takes.
var cacheModes = []struct {
	cache           string
	direct, through bool // past the page cache; each write is durable
	aio             []string
}{
	{"none", true, false, []string{"io_uring", "native", "threads"}},
	{"directsync", true, true, []string{"io_uring", "native", "threads"}},
	{"writeback", false, false, []string{"io_uring", "threads"}},
	{"writethrough", false, true, []string{"io_uring", "threads"}},
	{"unsafe", false, false, []string{"io_uring", "threads"}},
}

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}

// newMachine starts a machine with drives.
func (l *lab) newMachine(drives ...drive) *machine {
	l.t.Helper()
	return l.newMachineOf(nil, drives...)
}

// newMachineOf is newMachine, with more arguments.
func (l *lab) newMachineOf(more []string, drives ...drive) *machine {
	l.t.Helper()
	n := labs.Add(1)
	socket := l.path(fmt.Sprint("q", n))
	args := []string{
		"-machine", "q35,accel=tcg", "-S", "-m", "64", "-nodefaults", "-no-user-config", "-display", "none",
		"-qmp", "unix:" + socket + ",server=on,wait=off",
	}
	args = append(args, more...)
	for i, d := range drives {
		direct, through, flush := true, false, d.cache != "unsafe"
		for _, c := range cacheModes {
			if c.cache == d.cache {
				direct, through = c.direct, c.through
			}
		}
		args = append(args,
			"-blockdev", fmt.Sprintf("driver=raw,node-name=n%d,discard=unmap,detect-zeroes=%s,cache.direct=%s,cache.no-flush=%s,"+
				"file.driver=file,file.filename=%s,file.aio=%s", i, d.zeroes, onOff(direct), onOff(!flush), d.path, d.aio),
			"-device", fmt.Sprintf("virtio-blk-pci,id=d%d,drive=n%d,write-cache=%s", i, i, onOff(!through)))
	}
	p := l.begin(fmt.Sprint("qemu", n), "qemu-system-x86_64", args...)
	return &machine{monitor: l.newMonitor(socket), process: p}
}

// io does what qemu-io does by a device of the machine, by the request's whole way through the block layer.
func (m *machine) io(device string, commands ...string) {
	m.t.Helper()
	for _, c := range commands {
		line := fmt.Sprintf("qemu-io -d /machine/peripheral/%s/virtio-backend %q", device, c)
		ret := m.do("human-monitor-command", map[string]any{"command-line": line})
		all, err := os.ReadFile(m.out)
		must(m.t, err)
		said := string(all[m.said:])
		m.said = len(all)
		if string(ret) != `""` || strings.Contains(said, "failed") || c != "flush" && !strings.Contains(said, "bytes at offset") {
			m.t.Errorf("%s: %s: %s%s", device, c, ret, said)
		}
	}
}

// kill ends the machine as a power failure would.
func (m *machine) kill() {
	m.t.Helper()
	must(m.t, m.Process.Signal(unix.SIGKILL))
	<-m.ended
}

// quit ends the machine in order.
func (m *machine) quit() {
	m.t.Helper()
	m.do("quit", nil)
	if err := <-m.ended; err != nil {
		m.t.Errorf("qemu: %v\n%s", err, read(m.t, m.out))
	}
}
