package daemon

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"time"

	"github.com/coreos/go-systemd/v22/journal"
	"golang.org/x/sys/unix"

	"slatefs/chain"
	"slatefs/chain/blockdev"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/show"
)

// Logged is the pool as the eraser's queue: what is reported goes into the erase log with how it was done.
type Logged struct {
	*chain.Pool
	Words chain.How // but for what the eraser says each time
}

// Report is chain's, with the words of the eraser.
func (l Logged) Report(d blockdev.Done, how blockdev.How) (left blockdev.Done, err error) {
	w := l.Words
	w.Method, w.Verify, w.Releases = how.Method.String(), how.Verify.String(), !how.Method.Erases()
	return l.Pool.Report(d, w)
}

// identified is a device that says which one it is.
type identified interface {
	Path() string
	Identity() string
}

// DeviceName is the path of a device, and what it is whatever path leads to it.
func DeviceName(dev identified) string { return dev.Path() + " (" + dev.Identity() + ")" }

// recorder brings each record of the erase log to the system journal. Where there is none it is in the daemon's log.
type recorder struct {
	pool *chain.Pool
	log  *slog.Logger
	send func(text string, fields map[string]string) error // nil: there is no journal

	chronicle *chronicle // nil: nobody notes events
	journal   outside
}

// journalMessage is the MESSAGE_ID of a record: journalctl MESSAGE_ID=… finds them all.
const journalMessage = "6f1d8a5f0b6e4b6c9d0f2f1c8e4a7b35"

// journalSend sends to the system journal, or is nil where there is none.
func journalSend() func(string, map[string]string) error {
	if !journal.Enabled() {
		return nil
	}
	return func(text string, fields map[string]string) error { return journal.Send(text, journal.PriInfo, fields) }
}

// recordTime is how often new records are looked for.
const recordTime = time.Second

func (r *recorder) run(ctx context.Context) error {
	t := time.NewTicker(recordTime)
	defer t.Stop()
	for {
		r.flush()
		select {
		case <-ctx.Done():
			r.flush()
			return nil
		case <-t.C:
		}
	}
}

func (r *recorder) flush() {
	for _, rec := range r.pool.Told() {
		e := eraseRecordOf(rec)
		r.chronicle.noteErased(e)
		r.log.Info("erased", "pool", e.Pool, "kind", e.Kind, "seq", e.Seq, "record", e.ID, "day", e.Day, "volume", e.Volume, "snapshot", e.Snapshot, "reason", e.Reason,
			"who", e.Who, "freed", e.Freed, "zeroed", e.Erased, "released", e.Released, "kept", e.Kept, "policy", e.Policy, "method", e.Method)
		if r.send == nil {
			continue
		}
		if err := r.toJournal(e); err != nil {
			r.log.Warn("a record of the erase log did not reach the system journal", "record", e.ID, "error", err)
		}
	}
}

// sendTime is how long the system journal may take for a record.
const sendTime = time.Second

// toJournal sends a record to the system journal, which may have stopped to read.
func (r *recorder) toJournal(e control.EraseRecord) error {
	sent := make(chan error, 1)
	over, cancel := context.WithCancel(context.Background())
	cancel()
	if !r.journal.call(over, sendTime, func() { sent <- r.send(recordText(e), recordFields(e)) }) {
		return errors.New("it does not answer")
	}
	return <-sent
}

// recordText is a record in a line.
func recordText(e control.EraseRecord) string {
	s := show.Printable("pool %s: %s of %s: freed %s, zeroed %s", e.Pool, e.Reason, quoteEmpty(e.Title()),
		show.FormatSize(e.Freed), show.FormatSize(e.Erased))
	if e.Kept > 0 {
		s += show.Printable(", %s still seen by %s", show.FormatSize(e.Kept), e.KeptBy)
	}
	if e.Released > 0 {
		s += fmt.Sprintf(", %s only released", show.FormatSize(e.Released))
	}
	if e.Policy == control.EraseNone {
		s += ", erase=none: not called erased"
	}
	return s
}

func quoteEmpty(s string) string {
	if s == "" {
		return "the pool"
	}
	return s
}

// recordFields are a record's for the system journal.
func recordFields(e control.EraseRecord) map[string]string {
	whole, err := show.PublicJSON(e)
	if err != nil {
		whole = []byte(err.Error())
	}
	return map[string]string{
		"MESSAGE_ID": journalMessage, "SYSLOG_IDENTIFIER": "slatefs", "SLATEFS_POOL": e.PoolUUID.String(), "SLATEFS_VOLUME": e.VolumeUUID,
		"SLATEFS_RECORD": strconv.FormatUint(e.ID, 10), "SLATEFS_DAY": e.Day, "SLATEFS_ERASE": string(whole),
	}
}

// logExport appends records that leave the erase log to a file, as lines of JSON, durably; nil for none. avoid refuses a file that
// may not be opened.
func logExport(path string, avoid func(path string) error) func([]chain.EraseRecord) error {
	if path == "none" {
		return nil
	}
	return func(recs []chain.EraseRecord) (err error) {
		if err := avoid(path); err != nil {
			return fmt.Errorf("%s: %w", chain.PropLogExport, err)
		}
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND|unix.O_NONBLOCK, 0o600) // a FIFO must not hold us
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		w := bufio.NewWriter(f)
		out := make([]control.EraseRecord, len(recs))
		for i, r := range recs {
			out[i] = eraseRecordOf(r)
		}
		if err := control.WriteLog(w, out, nil); err != nil {
			return err
		}
		if err := w.Flush(); err != nil {
			return err
		}
		return f.Sync()
	}
}
