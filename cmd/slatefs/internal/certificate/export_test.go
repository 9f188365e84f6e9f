package certificate

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"slatefs/chain/evidence"
	"slatefs/cmd/slatefs/internal/control"
)

// exported is a log as it is exported, and read again.
func exported(t *testing.T, id uuid.UUID, log []evidence.Entry) *control.LogFile {
	t.Helper()
	var recs []control.EraseRecord
	for _, e := range log {
		row, err := evidence.Unmarshal(e.Row)
		if err != nil {
			t.Fatal(err)
		}
		recs = append(recs, control.ChainedRecordOf("vms", id, e, row))
	}
	var b bytes.Buffer
	if err := control.WriteLog(&b, recs, nil); err != nil {
		t.Fatal(err)
	}
	x, err := control.ReadLog(&b)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// A certificate of an exported log holds, and is never complete; of one with a hole in it there is none.
func TestExport(t *testing.T) {
	log, head := logOf(pool, 6)
	for name, part := range map[string][]evidence.Entry{"whole": log, "from the third on": log[2:]} {
		d, end, err := OfExport(exported(t, pool, part), []string{"5", evidence.VolumeUUID(pool, 12).String()})
		if err != nil || end != head || len(d.Records) != 2 {
			t.Fatalf("%s: %v, %v, %d records", name, err, end, len(d.Records))
		}
		d.Log.Head = HeadOf(evidence.SignHead(key, pool, end, morning))
		s := sealed(t, d, key)
		if _, err := s.Verify(trust); err != nil || s.Document.Complete || !strings.Contains(fmt.Sprint(s.Verdict()), "what is left in the pool is not known") {
			t.Errorf("%s: %v, %v", name, err, s.Verdict())
		}
	}
	for name, x := range map[string]*control.LogFile{
		"a hole": exported(t, pool, append(slices.Clone(log[:2]), log[3:]...)), "nothing": {}, "nobody knows it": exported(t, pool, log[:4]),
	} {
		if _, _, err := OfExport(x, []string{"5"}); !errors.Is(err, ErrExport) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A long log is left to its export: the certificate says so, and is proved by it.
func TestLongLog(t *testing.T) {
	log, head := logOf(pool, MaxLinks+3)
	d := sample(log, head, 2)
	if d.Log.Links != nil {
		t.Fatal("there are too many links")
	}
	s := sealed(t, d, key)
	proved, err := s.Verify(trust)
	if err != nil || !strings.Contains(fmt.Sprint(proved), "NOT PROVED: that its records are in the log") {
		t.Errorf("%q, %v", proved, err)
	}
	with := trust
	with.Export = log
	if proved, err = s.Verify(with); err != nil || strings.Contains(fmt.Sprint(proved), "NOT PROVED") {
		t.Errorf("%q, %v", proved, err)
	}
	if n := len(s.JSON()); n > 16<<10 {
		t.Errorf("it has %d bytes", n)
	}
}
