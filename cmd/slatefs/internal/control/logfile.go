package control

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"slatefs/chain/evidence"
	"slatefs/cmd/slatefs/internal/show"
)

// LogInfo is the erase log as a whole.
type LogInfo struct {
	Pool     string         `json:"pool"`
	PoolUUID uuid.UUID      `json:"pool_uuid"`
	Head     evidence.Head  `json:"head"`                   // of its newest record
	Begins   uint64         `json:"begins"`                 // with this record; before it only sums are known
	Cut      *LogCut        `json:"cut,omitempty"`          // those
	Records  int64          `json:"records"`                // that are there, with lines of days that are not over
	Before   int64          `json:"before_chain,omitempty"` // of them, from before there was a chain
	Open     int64          `json:"open,omitempty"`         // of them, lines
	Bound    int64          `json:"bound,omitempty"`        // records that stay
	Signed   []LogSignature `json:"signatures"`             // of heads, the oldest first
	Lines    *OpenSignature `json:"open_signed,omitempty"`  // of an export: over its lines
}

// LogSignature is a signature of a head.
type LogSignature struct {
	Head evidence.Head `json:"head"`
	Time time.Time     `json:"time"`
	Key  []byte        `json:"key"`
	Sig  []byte        `json:"signature"`
}

// LogSignatureOf is a signature as it travels.
func LogSignatureOf(s evidence.Signature) LogSignature {
	return LogSignature{s.Head, s.Time.UTC(), s.Key[:], s.Sig[:]}
}

// Signature is it as it was.
func (s LogSignature) Signature() (evidence.Signature, error) {
	out := evidence.Signature{Head: s.Head, Time: s.Time}
	if len(s.Key) != len(out.Key) || len(s.Sig) != len(out.Sig) {
		return out, fmt.Errorf("signature of record %d: key and signature have %d and %d bytes: %w", s.Head.Seq, len(s.Key), len(s.Sig), evidence.ErrBroken)
	}
	copy(out.Key[:], s.Key)
	copy(out.Sig[:], s.Sig)
	return out, nil
}

// logEnd is the last line of an export that is whole.
type logEnd struct {
	End *LogInfo `json:"slatefs_erase_log"`
}

// WriteLog writes records as an export has them, a line each, and with info a last line by which it is seen that it is whole.
func WriteLog(w io.Writer, recs []EraseRecord, info *LogInfo) error {
	var lines []any
	for _, r := range recs {
		lines = append(lines, r)
	}
	if info != nil {
		lines = append(lines, logEnd{info})
	}
	for _, l := range lines {
		b, err := show.PublicJSON(l)
		if err != nil {
			return err
		}
		if _, err := w.Write(append(b, '\n')); err != nil {
			return err
		}
	}
	return nil
}

// LogFile is an exported log that was read, and holds.
type LogFile struct {
	Pool     string
	PoolUUID uuid.UUID
	Records  []EraseRecord    // as their rows have them, once each, in order
	Entries  []evidence.Entry // of the chain: those of Records that have a number
	From     evidence.Head    // where the chain begins
	Head     evidence.Head    // and ends
	End      *LogInfo         // of an export that is whole; else it may end too early, and nothing in it says so
	Gaps     []string         // what is missing in the middle

	LinesKey []byte // that signed the lines of days that are not over; nil: nobody has
	Unsigned int64  // of an export that is whole: such lines of which not all are there, or that nobody has signed

	before map[string]bool // lines of records from before the chain
	piece  struct {
		before int64
		open   OpenLines
	} // records that are in no chain, since the last end of an export
}

// maxLogLine bounds a line of an exported log: a record of a million layers.
const maxLogLine = 64 << 20

// ReadLog reads what WriteLog wrote, once or in pieces that overlap, as a pool does that exports what leaves it. Every record
// of the chain must follow the one before it, and say what its row says; lines of records that are in no chain are taken as they
// are. The error names the line. Records that are missing are named in Gaps.
func ReadLog(r io.Reader) (*LogFile, error) {
	f := &LogFile{before: map[string]bool{}}
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxLogLine)
	n := 0
	for s.Scan() {
		n++
		if err := f.line(s.Bytes()); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("line %d: %w", n+1, err)
	}
	if n == 0 {
		return nil, errors.New("nothing is in it")
	}
	return f, nil
}

func (f *LogFile) line(b []byte) error {
	var end logEnd
	if err := json.Unmarshal(b, &end); err != nil {
		return fmt.Errorf("it is no record of an erase log: %w: %w", err, evidence.ErrBroken)
	}
	if end.End != nil {
		return f.end(end.End)
	}
	var e EraseRecord
	if err := json.Unmarshal(b, &e); err != nil {
		return fmt.Errorf("it is no record of an erase log: %w: %w", err, evidence.ErrBroken)
	}
	if f.Pool == "" && len(f.Records) == 0 {
		f.Pool, f.PoolUUID = e.Pool, e.PoolUUID
	}
	if e.PoolUUID != f.PoolUUID || e.PoolUUID == (uuid.UUID{}) {
		return fmt.Errorf("a record of pool %v in the log of pool %v: %w", e.PoolUUID, f.PoolUUID, evidence.ErrBroken)
	}
	f.begin()
	if e.Seq == 0 {
		f.unchained(b, e)
		return nil
	}
	return f.chained(b, e)
}

// begin: another export follows one that is whole. Lines of days that were not over then are in it as they are now.
func (f *LogFile) begin() {
	if f.End == nil {
		return
	}
	f.End, f.piece.before, f.piece.open = nil, 0, OpenLines{}
	f.Records = slices.DeleteFunc(f.Records, func(r EraseRecord) bool { return r.Open })
}

// unchained takes a record that is in no chain: of a day that is not over, or from before there was a chain.
func (f *LogFile) unchained(b []byte, e EraseRecord) {
	if e.Open {
		f.piece.open.add(b)
		f.Records = append(f.Records, e)
		return
	}
	f.piece.before++
	if !f.before[string(b)] {
		f.Records = append(f.Records, e)
		f.before[string(b)] = true
	}
}

// chained takes a record of the chain.
func (f *LogFile) chained(b []byte, e EraseRecord) error {
	row, err := evidence.Unmarshal(e.Row)
	if err != nil {
		return fmt.Errorf("record %d: %w", e.Seq, err)
	}
	if e.Prev == nil || e.Hash == nil {
		return fmt.Errorf("record %d has no hash: %w", e.Seq, evidence.ErrBroken)
	}
	entry := evidence.Entry{Seq: e.Seq, Prev: *e.Prev, Digest: evidence.Digest(e.Row), Row: e.Row}
	if got := entry.Head().Hash; got != *e.Hash {
		return fmt.Errorf("record %d says that its hash is %v, and it is %v: %w", e.Seq, e.Hash, got, evidence.ErrBroken)
	}
	is := ChainedRecordOf(e.Pool, e.PoolUUID, entry, row)
	if err := says(b, is); err != nil {
		return fmt.Errorf("record %d: %w", e.Seq, err)
	}
	again, err := f.follow(entry)
	if err == nil && !again {
		f.Entries, f.Records, f.Head = append(f.Entries, entry), append(f.Records, is), entry.Head()
	}
	return err
}

// follow tells whether an entry was there before; else it must be the next, or some are missing.
func (f *LogFile) follow(e evidence.Entry) (again bool, err error) {
	at := evidence.Head{Seq: e.Seq - 1, Hash: e.Prev}
	switch {
	case at.Seq == 0 && at != evidence.Genesis(f.PoolUUID):
		return false, fmt.Errorf("record 1 is not the first of pool %v: %w", f.PoolUUID, evidence.ErrBroken)
	case len(f.Entries) == 0:
		f.From = at
		return false, nil
	case e.Seq <= f.Head.Seq:
		i, there := slices.BinarySearchFunc(f.Entries, e.Seq, func(o evidence.Entry, seq uint64) int { return cmp.Compare(o.Seq, seq) })
		if there && f.Entries[i].Head() == e.Head() {
			return true, nil
		}
		return false, fmt.Errorf("record %d follows record %d: %w", e.Seq, f.Head.Seq, evidence.ErrBroken)
	case e.Seq > f.Head.Seq+1:
		f.Gaps = append(f.Gaps, fmt.Sprintf("records %d to %d are missing", f.Head.Seq+1, e.Seq-1))
		return false, nil
	}
	_, err = f.Head.Follow(e)
	return false, err
}

// end takes the last line of an export.
func (f *LogFile) end(i *LogInfo) error {
	if len(f.Records) == 0 {
		f.Pool, f.PoolUUID = i.Pool, i.PoolUUID
	}
	if len(f.Entries) == 0 {
		f.From, f.Head = i.Head, i.Head
	}
	if i.PoolUUID != f.PoolUUID || i.Head != f.Head || i.Begins != f.From.Seq+1 {
		return fmt.Errorf("the export says that it has records %d to %d of pool %v, hash %v, and it has %d to %d, hash %v: %w",
			i.Begins, i.Head.Seq, i.PoolUUID, i.Head.Hash, f.From.Seq+1, f.Head.Seq, f.Head.Hash, evidence.ErrBroken)
	}
	if c := i.Cut; c != nil && f.From.Seq == c.Seq && f.From.Hash != c.Hash {
		return fmt.Errorf("the log was cut at record %d with the hash %v, and goes on behind %v: %w", c.Seq, c.Hash, f.From.Hash, evidence.ErrBroken)
	}
	if i.Open != f.piece.open.n || i.Before != f.piece.before {
		f.Gaps = append(f.Gaps, fmt.Sprintf("the export says that it has %d lines of days that are not over, and %d records from before there was a chain, "+
			"and it has %d and %d", i.Open, i.Before, f.piece.open.n, f.piece.before))
	}
	if err := f.endOpen(i); err != nil {
		return err
	}
	hashes := map[uint64]evidence.Hash{f.From.Seq: f.From.Hash}
	for _, e := range f.Entries {
		hashes[e.Seq] = e.Head().Hash
	}
	for _, s := range i.Signed {
		sig, err := s.Signature()
		if err == nil {
			err = sig.Verify(f.PoolUUID)
		}
		if err != nil {
			return err
		}
		if h, there := hashes[s.Head.Seq]; there && h != s.Head.Hash {
			return fmt.Errorf("record %d was signed with the hash %v, and has %v: %w", s.Head.Seq, s.Head.Hash, h, evidence.ErrBroken)
		}
	}
	f.End = i
	return nil
}

// endOpen compares the lines of days that are not over with what was signed of them.
func (f *LogFile) endOpen(i *LogInfo) error {
	f.LinesKey, f.Unsigned = nil, 0
	if i.Lines == nil || i.Open != f.piece.open.n { // some are missing, which was told
		f.Unsigned = max(i.Open, f.piece.open.n)
		return nil
	}
	f.LinesKey = i.Lines.Key
	return f.piece.open.verify(i.Lines, f.PoolUUID, i.Head)
}

// says is an error unless the fields of a line are those that the row gives. Fields of a later program are passed over.
func says(line []byte, is EraseRecord) error {
	want, err := show.PublicJSON(is)
	if err != nil {
		return err
	}
	fields := func(b []byte) (m map[string]any, err error) {
		d := json.NewDecoder(bytes.NewReader(b))
		d.UseNumber()
		return m, d.Decode(&m)
	}
	has, err := fields(line)
	if err != nil {
		return err
	}
	must, err := fields(want)
	if err != nil {
		return err
	}
	known := reflect.TypeFor[EraseRecord]()
	for i := range known.NumField() {
		name, _, _ := strings.Cut(known.Field(i).Tag.Get("json"), ",")
		for _, name := range []string{name, name + "_bytes"} {
			if !reflect.DeepEqual(has[name], must[name]) {
				return fmt.Errorf("it says %q: %v, and its row %v: %w", name, has[name], must[name], evidence.ErrBroken)
			}
		}
	}
	return nil
}
