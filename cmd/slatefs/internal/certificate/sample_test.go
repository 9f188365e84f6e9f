package certificate

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"slatefs/chain/evidence"
	"slatefs/chain/meta"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
)

var (
	pool    = uuid.MustParse("5c0d6ac6-2a0c-4a0e-9a44-3d2f5bd2a1c0")
	key     = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
	other   = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, 32))
	morning = time.Date(2026, 11, 29, 8, 30, 0, 0, time.UTC)
)

// logOf is a log of a pool with n records, each of another volume.
func logOf(id uuid.UUID, n int) (list []evidence.Entry, head evidence.Head) {
	head = evidence.Genesis(id)
	for i := range n {
		row := evidence.Row{
			Kind: evidence.Job, Number: uint64(i + 1), Volume: uint64(10 + i),
			Path: fmt.Sprintf("tenants/vm-%d.raw", 100+i), Layers: []meta.Birth{meta.Birth(20 + i)},
			Reason: "volume destroyed", Who: "uid 0, slatefs destroy, root@pam", Freed: 1 << 18, Erased: 3 << 16, Kept: 1 << 16, KeptBy: "clone.raw",
			How:   evidence.How{Method: "zeroout", Verify: "full", Program: "slatefs v1.2.3", Device: "/dev/vg0/vms (dm-uuid-LVM-x)"},
			Since: morning.Add(time.Duration(i) * time.Minute),
			First: morning.Add(time.Duration(i)*time.Minute + time.Second), Last: morning.Add(time.Hour),
		}
		if i == 3 { // what the clone showed
			row.Volume, row.Path, row.Layers, row.Reason = 11, "tenants/vm-101.raw", []meta.Birth{21}, "no clone shows it any more"
			row.Who, row.Freed, row.Erased, row.Kept, row.KeptBy = "", 1<<16, 1<<16, 0, ""
		}
		e := evidence.NewEntry(head, row.Marshal())
		list, head = append(list, e), e.Head()
	}
	return list, head
}

// sample is a document of the given records of a log, by their numbers.
func sample(log []evidence.Entry, head evidence.Head, of ...uint64) Document {
	signed := evidence.SignHead(key, pool, head, morning.Add(2*time.Hour+5))
	d := Document{
		ID: uuid.MustParse("3f1e9a52-7c41-4d0b-8e6d-1b0a57c2d914"), Made: morning.Add(2 * time.Hour), Asked: []string{"tenants/vm-101.raw"},
		Of: []Thing{{"volume", "tenants/vm-101.raw", evidence.VolumeUUID(pool, 11).String()}},
		Fields: Fields{
			Organization: "Example GmbH", Name: "Ada Muster", Title: "Operator",
			Location: "Vienna, DC 2", Phone: "+43 1 000", PropertyNumber: "A-4711",
			Source: "tenant 17", Classification: "confidential", BackedUp: "No", Destination: "Internal reuse", ValidatorName: "Bo Prüfer",
		},
		Host: "node1", Pool: Pool{"vms", pool, "/dev/vg0/vms (dm-uuid-LVM-x)", 200 << 30},
		Media: []host.Media{{
			Vendor: "ATA", Model: "SAMSUNG MZ7LH960", Serial: "S45NNA0M123456", WWID: "naa.5002538e",
			Type: "SSD", Size: 960197124096, Device: "/dev/sda",
			Path: "logical volume vg0/vms (dm-3), partition sda2",
		}},
		Log: Log{
			First: 1, Since: &morning, Head: HeadOf(signed),
			Notes: []string{"agrees with 3 of 3 heads that this host keeps, the newest of 2026-11-29 08:00:00 UTC"},
		},
	}
	for _, seq := range of {
		row, err := evidence.Unmarshal(log[seq-1].Row)
		if err != nil {
			panic(err)
		}
		d.Records = append(d.Records, Record{seq, log[seq-1].Row, control.RecordOf("vms", pool, row)})
	}
	d.Amounts, d.Method = AmountsOf(d.Records), MethodOf(d.Records)
	d.Account = &Account{Written: 1 << 30, Zeroed: 1 << 30}
	d.Log.Links = LinksOf(log, of[0])
	return d
}

func sealed(t *testing.T, d Document, key ed25519.PrivateKey) *Signed {
	t.Helper()
	s, err := Seal(d, key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func forms(s *Signed) map[string][]byte {
	return map[string][]byte{"json": s.JSON(), "txt": s.Text(), "html": s.HTML()}
}

var trust = Trust{Keys: []ed25519.PublicKey{key.Public().(ed25519.PublicKey)}}
