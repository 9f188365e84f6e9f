package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"slatefs/chain/evidence"
	"slatefs/cmd/slatefs/internal/certificate"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
	"slatefs/fs/mounts"
)

// certificateFlags are the flags of erase certificate.
type certificateFlags struct {
	show.Format
	html, dry            bool
	output, template     string
	fields               []string
	from, signKey        string
	verify, key, anchors string
}

const certificateHelp = `Writes a certificate in the form of the sample in NIST SP 800-88 Rev. 1, of what was ever written
to volumes, directories, snapshots, all volumes of a user (uid:N) or the pool, whether they are there or gone: by paths, names, or UUIDs as erase log -j has them;
or of erase jobs, by their IDs. A path with a slash is never an ID: ./3 is what is called 3. It says what was freed, what was zeroed by what means, on which media, and each part that is
left, with who shows it. While anything is left, or it cannot be known, the certificate says NOT COMPLETE, and the exit code is 1.
Blocks of erase=none, and those that were only released, are never called erased.

It is signed with the pool's key, which lies on the host (erase_key). Text, JSON (-j) and page (--html, which prints on one sheet)
carry the same signed document. What only people know comes from --template, a file of KEY=VALUE lines or JSON, and --field:
%s.

--from makes one of an exported log (erase log --export), without the pool. --verify checks one of any form, without a pool: that no bit of it was
changed, that it is signed by the pool's key (--key; without it the public halves that this host keeps), that its records are in the log that
was signed, and with --anchors, that no signed head which was kept elsewhere contradicts it. Exit code 0: it is genuine, and complete.`

func (a *app) eraseCertificateCmd() *cobra.Command {
	var f certificateFlags
	cmd := &cobra.Command{
		Use:   "certificate [-n] [-j|--html] [-o FILE] [--template FILE] [--field KEY=VALUE]… {THING… POOL | --from FILE ID|UUID… | --verify FILE}",
		Short: "Certify what was erased, and verify certificates",
		Long:  fmt.Sprintf(certificateHelp, strings.Join(certificate.FieldNames(), ", ")),
		Example: `  slatefs erase certificate /mnt/lab/vm-100.raw lab
  slatefs erase certificate 17 lab
  slatefs erase certificate --html -o vm-100.html --template dc2.conf 5c0d6ac6-2a0c-8a0e-9a44-3d2f5bd2a1c0 lab
  slatefs erase certificate -j 17 18 lab | jq .certificate.complete
  slatefs erase certificate --verify vm-100.html --key lab.pub --anchors kept-elsewhere.jsonl`,
		Args: cobra.ArbitraryArgs,
		RunE: plain(func(ctx context.Context, args []string) error {
			if f.dry && len(args) > 1 {
				return a.evidence(ctx, args[:len(args)-1], args[len(args)-1], f.Format)
			}
			if f.verify != "" {
				return a.verifyCertificate(args, f)
			}
			return a.certificate(ctx, args, f)
		}),
	}
	cmd.Flags().BoolVarP(&f.dry, "dry-run", "n", false, "only say what can be proved, and sign nothing")
	cmd.Flags().BoolVar(&f.html, "html", false, "a page that prints on one sheet")
	cmd.Flags().StringVarP(&f.output, "output", "o", "", "write to `FILE`, with mode 0600; it must not exist")
	cmd.Flags().StringVar(&f.template, "template", "", "what people know: `FILE` of KEY=VALUE lines or JSON")
	cmd.Flags().StringArrayVar(&f.fields, "field", nil, "the same, as `KEY=VALUE`; goes before the template")
	cmd.Flags().StringVar(&f.from, "from", "", "of an exported erase log, `FILE`")
	cmd.Flags().StringVar(&f.signKey, "sign-key", "", "with --from: `FILE` of the pool's key; without it this host's")
	cmd.Flags().StringVar(&f.verify, "verify", "", "verify the certificate in `FILE`, of any form")
	cmd.Flags().StringVar(&f.key, "key", "", "with --verify: `FILE` of the pool's public key")
	cmd.Flags().StringVar(&f.anchors, "anchors", "", "with --verify: `FILE` of signed heads that were kept elsewhere")
	f.Flags(cmd, "j")
	cmd.MarkFlagsMutuallyExclusive("json", "html", "verify")
	cmd.MarkFlagsMutuallyExclusive("dry-run", "html", "verify")
	cmd.MarkFlagsMutuallyExclusive("dry-run", "from")
	return cmd
}

func (a *app) certificate(ctx context.Context, args []string, f certificateFlags) error {
	fields, err := f.allFields()
	if err != nil {
		return err
	}
	if f.key != "" || f.anchors != "" {
		return show.Usagef("--key and --anchors are for --verify")
	}
	var s *certificate.Signed
	switch {
	case f.from != "" && len(args) > 0:
		s, err = a.certifyExport(args, fields, f)
	case f.from == "" && len(args) > 1 && f.signKey == "":
		s, err = a.certifyPool(ctx, args[:len(args)-1], args[len(args)-1], fields)
	default:
		return show.Usagef("usage: slatefs erase certificate THING… POOL, or --from FILE ID|UUID…")
	}
	if err != nil {
		return err
	}
	if err := a.put(f.output, f.form(s)); err != nil {
		return err
	}
	if d := s.Document; !d.Complete {
		return show.Hinted(errors.New(notComplete(s)), "slatefs erase wait waits for what is queued; what is shown goes when it is destroyed")
	}
	return nil
}

// form is the certificate as it was asked for.
func (f certificateFlags) form(s *certificate.Signed) []byte {
	switch {
	case f.JSON:
		return s.JSON()
	case f.html:
		return s.HTML()
	}
	return s.Text()
}

// notComplete is the verdict in a line.
func notComplete(s *certificate.Signed) string {
	lines := s.Verdict()
	text := strings.Replace(lines[0], "NOT COMPLETE", "not complete", 1)
	if raw, err := show.Unescape(text); err == nil { // errors are escaped when they are shown
		text = raw
	}
	if len(lines) > 1 {
		text += fmt.Sprintf("; and %d more", len(lines)-1)
	}
	return text
}

// allFields are those of the template, and over them the options', checked.
func (f certificateFlags) allFields() (fields certificate.Fields, err error) {
	if f.template != "" {
		file, err := os.Open(f.template)
		if err != nil {
			return fields, err
		}
		defer func() { _ = file.Close() }() //nolint:errcheck // it was only read
		if err := fields.Template(file); err != nil {
			return fields, fmt.Errorf("%s: %w", f.template, err)
		}
	}
	for _, o := range f.fields {
		if err := fields.Set(o); err != nil {
			return fields, &show.UsageError{Err: fmt.Errorf("--field %w", err)}
		}
	}
	return fields, nil
}

// certifyPool asks the daemon of a pool.
func (a *app) certifyPool(ctx context.Context, asked []string, pool string, fields certificate.Fields) (*certificate.Signed, error) {
	l, err := a.mountedPool(pool)
	if err != nil {
		return nil, err
	}
	res, err := control.Certify.Call(ctx, l, control.CertifyArgs{Asked: fromRoot(l, asked), Fields: fields.Settings()})
	if err != nil {
		return nil, err
	}
	return certificate.Read(res.Signed)
}

// fromRoot makes paths ones from the root of the pool, with a slash before them, as what is gone has them: a path is never an ID. A word without a
// slash is a path where it is said below the mount, unless it may be an ID, a UUID or a user: the daemon refuses it if it is both.
func fromRoot(l host.Live, asked []string) (out []string) {
	for _, q := range asked {
		abs, err := filepath.Abs(q)
		switch {
		case !strings.Contains(q, "/") && mayBeID(q):
		case err == nil && mounts.Below(abs, l.Dir) && abs != l.Dir:
			q = strings.TrimPrefix(abs, strings.TrimSuffix(l.Dir, "/"))
		case strings.Contains(q, "/"):
			q = filepath.Clean("/" + q)
		}
		out = append(out, q)
	}
	return out
}

func mayBeID(q string) bool {
	_, err := strconv.ParseUint(q, 10, 64)
	return err == nil || uuid.Validate(q) == nil || strings.HasPrefix(q, ownerPrefix)
}

// certifyExport makes a certificate of an exported log, and signs it with a key that is there.
func (a *app) certifyExport(asked []string, fields certificate.Fields, f certificateFlags) (*certificate.Signed, error) {
	x, err := readExport(f.from)
	if err != nil {
		return nil, err
	}
	d, head, err := certificate.OfExport(x, asked)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.from, err)
	}
	file := f.signKey
	if file == "" {
		file = a.host.KeyPath(x.PoolUUID)
	}
	key, err := a.host.PoolKey(x.PoolUUID, file, nil)
	if err != nil {
		return nil, show.Hinted(err, "--sign-key FILE has the pool's key; without one nothing is signed")
	}
	d.ID, d.Made, d.Fields = uuid.New(), a.now(), fields
	if d.Host, err = os.Hostname(); err != nil {
		return nil, err
	}
	d.Log.Head = certificate.HeadOf(evidence.SignHead(key.Private, x.PoolUUID, head, d.Made))
	return certificate.Seal(d, key.Private)
}

func readExport(path string) (*control.LogFile, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() //nolint:errcheck // it was only read
	x, err := control.ReadLog(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return x, nil
}

// put writes to stdout, or to a new file that only its owner may read.
func (a *app) put(file string, b []byte) error {
	if file == "" {
		_, err := a.stdout.Write(b)
		return err
	}
	f, err := host.CreateNew(file)
	if err != nil {
		return err
	}
	if _, err := f.Write(b); err != nil {
		return errors.Join(err, f.Drop())
	}
	return f.Keep()
}
