package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/show"
)

// ownerPrefix begins what is asked for of all volumes of a user.
const ownerPrefix = "uid:"

// evidence says what a certificate would come to, and signs nothing.
func (a *app) evidence(ctx context.Context, asked []string, pool string, f show.Format) error {
	l, err := a.mountedPool(pool)
	if err != nil {
		return err
	}
	var args control.EvidenceArgs
	for _, q := range fromRoot(l, asked) {
		uid, ok := strings.CutPrefix(q, ownerPrefix)
		if !ok {
			args.Asked = append(args.Asked, q)
			continue
		}
		n, err := strconv.ParseUint(uid, 10, 32)
		if err != nil {
			return show.Usagef("%s: want a number behind %s", q, ownerPrefix)
		}
		args.Owners = append(args.Owners, uint32(n))
	}
	list, err := control.Prove.Call(ctx, l, args)
	if err != nil {
		return err
	}
	complete := true
	for _, e := range list {
		complete = complete && e.Complete
	}
	if f.JSON {
		err = show.WriteJSON(a.stdout, "slatefs erase certificate", "evidence", list)
	} else {
		err = printEvidence(a.stdout, list)
	}
	if err == nil && !complete {
		err = errors.New("a certificate of that would not be complete")
	}
	return err
}

func printEvidence(w io.Writer, list []control.Evidence) error {
	var b strings.Builder
	for _, e := range list {
		what := "%s %s: %s were ever written, %s of it are zero\n"
		if e.Kind == "job" {
			what = "%s %s: %s were freed, %s of it are zero\n"
		}
		b.WriteString(show.Printable(what, e.Kind, e.Name, show.FormatSize(e.Written), show.FormatSize(e.Zeroed)))
		if e.Complete {
			b.WriteString("COMPLETE\n")
		}
		for _, r := range e.Remains {
			much := show.FormatSize(r.Bytes) + " "
			switch {
			case r.Bytes == 0:
				much = ""
			case r.UpTo:
				much = "at most " + much
			}
			b.WriteString(show.Printable("NOT COMPLETE: %s%s\n", much, r.Words()))
		}
		for _, r := range e.Reasons {
			b.WriteString(show.Printable("NOT COMPLETE: %s\n", r))
		}
	}
	_, err := fmt.Fprint(w, b.String())
	return err
}
