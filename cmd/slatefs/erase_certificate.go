package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/show"
)

// certificate is what can be shown of a thing's end.
type certificate struct {
	Made     time.Time             `json:"made"`
	Asked    []string              `json:"asked_for"`
	Claim    string                `json:"claim"`
	Complete bool                  `json:"complete"` // all that was freed is zeroed, and may be called erased
	Records  []control.EraseRecord `json:"records"`
	Open     []control.JobInfo     `json:"open_jobs"`
	Freed    int64                 `json:"freed"`
	Erased   int64                 `json:"erased"`       // of what is claimed
	Unproven int64                 `json:"not_claimed"`  // zeroed, and not called erased: erase=none, or released only
	Queued   int64                 `json:"queued"`       // of open jobs
	Failed   int64                 `json:"failed"`       // of open jobs
	Kept     int64                 `json:"still_in_use"` // others showed it when it was destroyed
}

const eraseClaim = `NIST SP 800-88 Clear of the logical device: the blocks listed as erased were overwritten with zeros, or zeroed by the
method named, and synced, before anybody else could get them. What the device keeps below its logical blocks (remapped
sectors, snapshots of an array or of the host's file system, thin pools) is outside this claim.`

func (a *app) eraseCertificateCmd() *cobra.Command {
	var (
		f    show.Format
		file string
	)
	cmd := &cobra.Command{
		Use:   "certificate [-j] [-o FILE] ID|UUID… POOL",
		Short: "Certify what was erased",
		Long: `Writes a certificate of erase jobs: by their IDs, or by the UUIDs of volumes, snapshots or the pool, as erase log -j has
them. It says what was freed, what was zeroed by what means, what others still show, and what is claimed: ` + "NIST SP 800-88" + `
Clear of the logical device. Blocks of erase=none, and those that were only released, are never called erased. While a
job is open or has failed blocks the certificate says so, and the exit code is 1.`,
		Example: `  slatefs erase certificate 17 lab
  slatefs erase certificate -o vm-100.txt 5c0d6ac6-2a0c-8a0e-9a44-3d2f5bd2a1c0 lab
  slatefs erase certificate -j 17 18 lab | jq .certificate.complete`,
		Args:              arguments(2, -1),
		ValidArgsFunction: a.completePools(-1),
		RunE: plain(func(ctx context.Context, args []string) error {
			return a.certificate(ctx, args[:len(args)-1], args[len(args)-1], file, f)
		}),
	}
	cmd.Flags().StringVarP(&file, "output", "o", "", "write to `FILE`, with mode 0600; it must not exist")
	f.Flags(cmd, "j")
	return cmd
}

func (a *app) certificate(ctx context.Context, asked []string, pool, file string, f show.Format) error {
	l, err := a.mountedPool(pool)
	if err != nil {
		return err
	}
	recs, err := control.EraseLog.Call(ctx, l, control.None{})
	if err != nil {
		return err
	}
	info, err := control.Jobs.Call(ctx, l, control.None{})
	if err != nil {
		return err
	}
	c, err := a.newCertificate(asked, recs, info)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if f.JSON {
		err = show.WriteJSON(&b, "slatefs erase certificate", "certificate", c)
	} else {
		_, err = b.WriteString(c.text())
	}
	if err == nil {
		err = a.put(file, b.Bytes())
	}
	if err == nil && len(c.Open) > 0 {
		return show.Hinted(fmt.Errorf("not all is erased: %s are queued and %s failed",
			show.FormatSize(c.Queued), show.FormatSize(c.Failed)),
			"slatefs erase wait %s", pool)
	}
	return err
}

// put writes to stdout, or to a new file that only its owner may read.
func (a *app) put(file string, b []byte) error {
	if file == "" {
		_, err := a.stdout.Write(b)
		return err
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

// newCertificate collects the records and the open jobs of what is asked for; what nothing is known of is an error.
func (a *app) newCertificate(asked []string, recs []control.EraseRecord, info control.EraseInfo) (*certificate, error) {
	c := &certificate{Made: a.now(), Asked: asked, Claim: eraseClaim, Records: []control.EraseRecord{}, Open: []control.JobInfo{}}
	found := map[string]bool{}
	wanted := func(id uint64, uuids ...string) (yes bool) {
		for _, q := range asked {
			hit := id != 0 && q == strconv.FormatUint(id, 10)
			for _, u := range uuids {
				hit = hit || u != "" && strings.EqualFold(q, u)
			}
			found[q] = found[q] || hit
			yes = yes || hit
		}
		return yes
	}
	for _, r := range recs {
		if wanted(r.ID, append(slices.Clone(r.Layers), r.VolumeUUID, r.PoolUUID.String())...) {
			c.add(r)
		}
	}
	for _, j := range info.Jobs {
		if wanted(j.ID, append(slices.Clone(j.Layers), j.VolumeUUID, info.PoolUUID)...) && j.Dirty+j.Failed > 0 {
			c.Open = append(c.Open, j)
			c.Freed, c.Kept = c.Freed+j.Freed, c.Kept+j.Kept
			c.Queued, c.Failed = c.Queued+j.Dirty, c.Failed+j.Failed
			if j.Policy == control.EraseNone {
				c.Unproven += j.Erased + j.Released
			} else {
				c.Erased, c.Unproven = c.Erased+j.Erased, c.Unproven+j.Released
			}
		}
	}
	for _, q := range asked {
		if !found[q] {
			return nil, show.Hinted(fmt.Errorf("%s: neither the erase log nor a job knows it", q),
				"slatefs erase log -j %s shows IDs and UUIDs; what is older was exported, if erase_log_export is set", info.Pool)
		}
	}
	c.Complete = len(c.Open) == 0 && c.Unproven == 0
	return c, nil
}

func (c *certificate) add(r control.EraseRecord) {
	c.Records = append(c.Records, r)
	c.Freed, c.Kept = c.Freed+r.Freed, c.Kept+r.Kept
	if r.Claimed() {
		c.Erased += r.Erased
	} else {
		c.Unproven += r.Erased + r.Released
	}
}

func (c *certificate) text() string {
	var b strings.Builder
	b.WriteString(show.Printable("CERTIFICATE OF ERASE\nmade %s, for %s\n\n"+eraseClaim+"\n\n",
		c.Made.Format(time.RFC3339), strings.Join(c.Asked, ", ")))
	fmt.Fprintf(&b, "freed            %s\nerased           %s\n", exactly(c.Freed), exactly(c.Erased))
	for _, l := range []struct {
		n    int64
		name string
	}{
		{c.Kept, "still in use     %s, shown by others when it was destroyed\n"},
		{c.Unproven, "NOT ERASED       %s: zeroed for reuse or released only, nothing is claimed\n"},
		{c.Queued, "NOT ERASED YET   %s\n"},
		{c.Failed, "FAILED           %s\n"},
	} {
		if l.n > 0 {
			fmt.Fprintf(&b, l.name, exactly(l.n))
		}
	}
	for _, r := range c.Records {
		b.WriteString("\n")
		describeRecord(&b, r)
	}
	for _, j := range c.Open {
		b.WriteString(show.Printable("\njob %d            open: %s\nvolume           %s\nfreed            %s at %s, by %s\nqueued           %s, failed %s\n",
			j.ID, j.State, control.Subject(j.Volume, j.Layer), exactly(j.Freed), j.Since.Format(time.RFC3339), quoteNone(j.Who),
			exactly(j.Dirty), exactly(j.Failed)))
	}
	return b.String()
}

func exactly(n int64) string { return fmt.Sprintf("%d bytes (%s)", n, show.FormatSize(n)) }

func quoteNone(s string) string {
	if s == "" {
		return "nobody in particular"
	}
	return s
}

// describeRecord prints a record.
func describeRecord(w io.Writer, e control.EraseRecord) {
	line := func(name, format string, args ...any) {
		_, _ = fmt.Fprintf(w, "%-16s %s\n", name, show.Printable(format, args...)) //nolint:errcheck // into memory
	}
	if e.ID != 0 {
		line("job", "%d: %s", e.ID, e.Reason)
	} else {
		line("day", "%s: %s", e.Day, e.Reason)
	}
	line("pool", "%s, %s", e.Pool, e.PoolUUID)
	line("device", "%s", e.Device)
	if e.VolumeUUID != "" {
		line("volume", "%s, %s", e.Volume, e.VolumeUUID)
	}
	if e.Snapshot != "" {
		line("snapshot", "%s", e.Snapshot)
	}
	for _, l := range e.Layers {
		line("layer", "%s", l)
	}
	line("freed", "%s at %s, by %s", exactly(e.Freed), timeOrZero(e.Since).Format(time.RFC3339), quoteNone(e.Who))
	if e.Erased > 0 {
		verb := "erased"
		if e.Policy == "none" {
			verb = "zeroed for reuse"
		}
		line(verb, "%s by %s, verify %s, from %s to %s", exactly(e.Erased), e.Method, e.Verify,
			timeOrZero(e.First).Format(time.RFC3339), timeOrZero(e.Last).Format(time.RFC3339))
	}
	if e.Released > 0 {
		line("released", "%s: the space was given back, the bytes below were not erased", exactly(e.Released))
	}
	if e.Kept > 0 {
		line("still in use", "%s, shown by %s when it was destroyed", exactly(e.Kept), e.KeptBy)
	}
	if e.Policy == "none" {
		line("policy", "erase=none: nothing is claimed")
	}
	if e.Program != "" {
		line("by", "%s", e.Program)
	}
}
