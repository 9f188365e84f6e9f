package control

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"slatefs/chain/evidence"
	"slatefs/chain/meta"
)

var (
	logPool = uuid.MustParse("5c0d6ac6-2a0c-8a0e-9a44-3d2f5bd2a1c0")
	logTime = time.Unix(1796000000, 5)
)

// logRecords are n records of a chain, as an export has them, and its head.
func logRecords(n int) (recs []EraseRecord, h evidence.Head) {
	h = evidence.Genesis(logPool)
	for i := range n {
		row := &evidence.Row{
			Kind: evidence.Job, Number: uint64(i + 1), Volume: 2, Path: "caf\xe9 \"<vm>\"", Layers: []meta.Birth{meta.Birth(i + 3)},
			Reason: "volume destroyed",
			Who:    "uid 7, slatefs destroy, me", Freed: int64(i + 2), Erased: 2, Released: 1, Kept: int64(i), KeptBy: "clone",
			How: evidence.How{Method: "zeroout", Device: "/dev/sda"}, Since: logTime, First: logTime.Add(1), Last: logTime.Add(2),
			Deadline: evidence.Deadline{Within: time.Hour, Longest: 1234567},
		}
		if i == 2 {
			row = &evidence.Row{Kind: evidence.Cut, Since: logTime, Cut: &evidence.Summary{At: h, Exported: 1, From: logTime, To: logTime}}
		}
		e := evidence.NewEntry(h, row.Marshal())
		recs, h = append(recs, ChainedRecordOf("lab", logPool, e, row)), e.Head()
	}
	return recs, h
}

func exported(t testing.TB, recs []EraseRecord, info *LogInfo) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := WriteLog(&b, recs, info); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// What was exported is read again, whole and in pieces that overlap; what is missing is named.
func TestLogFile(t *testing.T) {
	recs, h := logRecords(6)
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	info := &LogInfo{
		Pool: "lab", PoolUUID: logPool, Head: h, Begins: 1, Records: 6,
		Signed: []LogSignature{LogSignatureOf(evidence.SignHead(key, logPool, h, logTime))},
	}
	whole := exported(t, recs, info)
	f, err := ReadLog(bytes.NewReader(whole))
	if err != nil || len(f.Records) != 6 || f.Head != h || f.From != evidence.Genesis(logPool) || f.End == nil || len(f.Gaps) > 0 {
		t.Fatalf("%+v, %v", f, err)
	}
	if again := exported(t, f.Records, f.End); !bytes.Equal(again, whole) {
		t.Errorf("read and written again:\n%s\n%s", again, whole)
	}
	if got, err := evidence.Verify(f.From, f.Entries); err != nil || got != h {
		t.Errorf("%v, %v", got, err)
	}
	pieces := slices.Concat(recs[1:4], recs[2:4], recs[2:6])
	f, err = ReadLog(bytes.NewReader(exported(t, pieces, nil)))
	if err != nil || len(f.Records) != 5 || f.From.Seq != 1 || f.Head != h || f.End != nil {
		t.Errorf("in pieces: %+v, %v", f, err)
	}
	f, err = ReadLog(bytes.NewReader(exported(t, slices.Concat(recs[:2], recs[4:]), nil)))
	if err != nil || !slices.Equal(f.Gaps, []string{"records 3 to 4 are missing"}) {
		t.Errorf("with a gap: %+v, %v", f, err)
	}
	old := EraseRecord{Kind: "job", ID: 3, Pool: "lab", PoolUUID: logPool, Before: true}
	info.Before = 1
	f, err = ReadLog(bytes.NewReader(exported(t, append([]EraseRecord{old}, recs...), info)))
	if err != nil || len(f.Records) != 7 || len(f.Entries) != 6 {
		t.Errorf("from before the chain: %+v, %v", f, err)
	}
}

// Records that are in no chain, as lines of days that are not over, are missed by their number. A line that is in two exports of one file
// counts
// once, and one of a day that was not over then not at all.
func TestLogFileOfNoChain(t *testing.T) {
	recs, h := logRecords(3)
	old := EraseRecord{Kind: "job", ID: 3, Pool: "lab", PoolUUID: logPool, Before: true}
	open := func(day string) EraseRecord {
		return EraseRecord{Kind: "day", Day: day, Pool: "lab", PoolUUID: logPool, Open: true, Freed: 4096}
	}
	info := &LogInfo{Pool: "lab", PoolUUID: logPool, Head: h, Begins: 1, Records: 6, Before: 1, Open: 2}
	whole := append(append([]EraseRecord{old}, recs...), open("2026-11-27"), open("2026-11-28"))
	if f, err := ReadLog(bytes.NewReader(exported(t, whole, info))); err != nil || len(f.Gaps) > 0 || len(f.Records) != 6 {
		t.Fatalf("%+v, %v", f, err)
	}
	for _, i := range []int{0, 4, 5} {
		f, err := ReadLog(bytes.NewReader(exported(t, slices.Delete(slices.Clone(whole), i, i+1), info)))
		if err != nil || len(f.Gaps) != 1 || !strings.Contains(f.Gaps[0], "and it has ") {
			t.Errorf("without record %d: %+v, %v", i, f, err)
		}
	}
	if f, err := ReadLog(bytes.NewReader(exported(t, append(whole, open("2026-11-29")), info))); err != nil || len(f.Gaps) != 1 {
		t.Errorf("with a line more: %+v, %v", f, err)
	}
	twice := slices.Concat(exported(t, whole, info), exported(t, whole, info))
	if f, err := ReadLog(bytes.NewReader(twice)); err != nil || len(f.Gaps) > 0 || len(f.Records) != 6 || f.End == nil {
		t.Errorf("twice: %+v, %v", f, err)
	}
	cut := slices.Concat(exported(t, whole, info), exported(t, recs, nil))
	if f, err := ReadLog(bytes.NewReader(cut)); err != nil || f.End != nil || len(f.Records) != 4 {
		t.Errorf("it may end too early, and says that it does not: %+v, %v", f, err)
	}
}

// An export that somebody has altered is refused: any byte of any line, a line taken out, put in or moved, another pool's record.
func TestAlteredLogFile(t *testing.T) {
	recs, h := logRecords(5)
	info := &LogInfo{Pool: "lab", PoolUUID: logPool, Head: h, Begins: 1, Records: 5}
	lines := bytes.SplitAfter(bytes.TrimSuffix(exported(t, recs, info), []byte("\n")), []byte("\n"))
	lines[5] = append(lines[5], '\n')
	good, err := ReadLog(bytes.NewReader(slices.Concat(lines...)))
	if err != nil {
		t.Fatal(err)
	}
	bad := func(name string, lines [][]byte) {
		t.Helper()
		f, err := ReadLog(bytes.NewReader(slices.Concat(lines...)))
		if err == nil && len(f.Gaps) == 0 {
			t.Errorf("%s is taken:\n%s", name, slices.Concat(lines...))
		} else if err != nil && !errors.Is(err, evidence.ErrBroken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Each byte: what is read is refused, or what is read is the same. The pool's name is in no row, and a field that nobody
	// knows says nothing.
	for i, l := range lines[:5] {
		for at := i % 2; at < len(l); at += 2 {
			c := slices.Clone(lines)
			c[i] = slices.Clone(l)
			c[i][at] ^= 1
			f, err := ReadLog(bytes.NewReader(slices.Concat(c...)))
			if err != nil {
				continue
			}
			for n := range f.Records {
				f.Records[n].Pool = "lab"
				is, was := f.Records[n], good.Records[n]
				if fmt.Sprint(is.Hash, is.Freed) != fmt.Sprint(was.Hash, was.Freed) {
					t.Fatalf("byte %d of line %d, %q, is another, and nobody sees it: %s", at, i+1, l[at], c[i])
				}
			}
		}
		bad(fmt.Sprintf("without line %d", i+1), slices.Delete(slices.Clone(lines), i, i+1))
		if i > 0 {
			c := slices.Clone(lines)
			c[i], c[i-1] = c[i-1], c[i]
			bad(fmt.Sprintf("with line %d before %d", i+1, i), c)
		}
	}
	for field, to := range map[string]string{
		`"freed":8192`: `"freed":4096`, `"who":"uid 7, slatefs destroy, me"`: `"who":"uid 8, slatefs destroy, me"`, `"kept_by":"clone",`: "",
		`"kind":"job"`: `"kind":"day"`, `"seq":1`: `"seq":2`, `"uid":7`: `"uid":0`, `"policy":"zero"`: `"policy":"none"`,
		`"longest_seconds":0.001234567`: `"longest_seconds":0.1`, `"volume_bytes"`: `"volume_others"`, `"pool_uuid":"5c0d`: `"pool_uuid":"5c0e`,
	} {
		c := slices.Clone(lines)
		if c[0] = bytes.Replace(c[0], []byte(field), []byte(to), 1); bytes.Equal(c[0], lines[0]) {
			t.Errorf("no %s in %s", field, c[0])
		}
		bad(field, c)
	}
	// A record that is made anew, and all that follow it, end at another head than the export says.
	other, _ := logRecords(5)
	at := evidence.Genesis(logPool)
	for i := range other {
		row, err := evidence.Unmarshal(other[i].Row)
		if err != nil {
			t.Fatal(err)
		}
		row.KeptBy = "nobody"
		e := evidence.NewEntry(at, row.Marshal())
		other[i], at = ChainedRecordOf("lab", logPool, e, row), e.Head()
	}
	bad("another history", [][]byte{exported(t, other, info)})
	bad("a pool's record in another's log", [][]byte{lines[0], bytes.Replace(lines[1], []byte("5c0d6ac6"), []byte("5c0d6ac7"), 1)})
	forged := *info
	sig := LogSignatureOf(evidence.SignHead(ed25519.NewKeyFromSeed(make([]byte, 32)), logPool, h, logTime))
	sig.Sig[0] ^= 1
	forged.Signed = []LogSignature{sig}
	bad("a forged signature", [][]byte{exported(t, recs, &forged)})
	sig = LogSignatureOf(evidence.SignHead(ed25519.NewKeyFromSeed(make([]byte, 32)), logPool, evidence.Head{Seq: 2, Hash: h.Hash}, logTime))
	forged.Signed = []LogSignature{sig}
	bad("a signature of another history", [][]byte{exported(t, recs, &forged)})
	for _, s := range []string{"x\n", "[]\n", "{}\n", "{\"seq\":1}\n", strings.Repeat("{", 1000)} {
		bad(s[:min(len(s), 9)], [][]byte{[]byte(s)})
	}
	if _, err := ReadLog(strings.NewReader("")); err == nil {
		t.Error("nothing is taken")
	}
}

// Whatever the bytes are, reading ends, and what is taken is a chain.
func FuzzReadLog(f *testing.F) {
	recs, h := logRecords(3)
	f.Add(exported(f, recs, &LogInfo{Pool: "lab", PoolUUID: logPool, Head: h}))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := ReadLog(bytes.NewReader(b))
		if err != nil || len(l.Gaps) > 0 {
			return
		}
		if got, err := evidence.Verify(l.From, l.Entries); err != nil || len(l.Entries) > 0 && got != l.Head {
			t.Fatalf("%v, %v", got, err)
		}
		if _, err := json.Marshal(l.Records); err != nil {
			t.Fatal(err)
		}
	})
}
