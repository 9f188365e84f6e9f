package lvm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Group is a volume group, as one report showed it. Sizes are bytes.
type Group struct {
	Name    string
	UUID    string
	Size    int64
	Free    int64
	Extent  int64
	Shared  bool // locked by lvmlockd, or clustered: other hosts may change it
	Missing bool // a physical volume is
	Volumes []Volume
}

// Volume is a logical volume that people see: no hidden part of another one.
type Volume struct {
	Name   Name
	UUID   string
	Size   int64 // bytes
	Tags   []string
	Layout string // "linear", "striped", "mirror" and so on, with commas
	Role   string // "public", and what else it is for
	Active bool   // on this host
}

// Tagged tells whether a volume has a tag.
func (v Volume) Tagged(tag string) bool { return slices.Contains(v.Tags, tag) }

// Volume finds a volume of the group by its name.
func (g Group) Volume(lv string) (Volume, bool) {
	i := slices.IndexFunc(g.Volumes, func(v Volume) bool { return v.Name.LV == lv })
	if i < 0 {
		return Volume{}, false
	}
	return g.Volumes[i], true
}

// report is what `lvm fullreport` prints: for each group one element, in which every value is text.
type report struct {
	Report []struct {
		VG []map[string]string `json:"vg"`
		PV []map[string]string `json:"pv"`
		LV []map[string]string `json:"lv"`
	} `json:"report"`
}

// Groups reads the named volume groups, or all, in one report. ErrNotFound: a named one is not there. lvm2 fails when it could
// not read one of them; those that it could read are returned with that error.
func (r *Runner) Groups(ctx context.Context, names ...string) ([]Group, error) {
	for _, n := range names {
		if err := validPart(n); err != nil {
			return nil, err
		}
	}
	args := []string{
		"fullreport", "--reportformat", "json", "--units", "b", "--nosuffix",
		"--configreport", "vg", "-o", "vg_name,vg_uuid,vg_size,vg_free,vg_extent_size,vg_attr,vg_missing_pv_count",
		"--configreport", "lv", "-o", "lv_name,lv_uuid,lv_size,lv_tags,lv_layout,lv_role,lv_active",
		"--configreport", "pv", "-o", "pv_name", "--configreport", "pvseg", "-o,", "--configreport", "seg", "-o,",
	}
	out, err := r.run(ctx, append(args, names...)...)
	var failed *Error
	if err != nil && !errors.As(err, &failed) {
		return nil, err
	}
	err = known(err)
	var rep report
	if bad := json.Unmarshal(out, &rep); bad != nil {
		if err == nil { // else what it said before says more
			err = fmt.Errorf("lvm fullreport: %w", bad)
		}
		return nil, err
	}
	var groups []Group
	for _, one := range rep.Report {
		if len(one.VG) != 1 || one.VG[0]["vg_name"] == "" {
			continue // physical volumes that are in no group
		}
		g, bad := parseGroup(one.VG[0], one.LV)
		if bad != nil {
			err = errors.Join(err, fmt.Errorf("lvm fullreport: group %q: %w", one.VG[0]["vg_name"], bad))
			continue
		}
		groups = append(groups, g)
	}
	return groups, err
}

// Group reads one volume group.
func (r *Runner) Group(ctx context.Context, name string) (Group, error) {
	groups, err := r.Groups(ctx, name)
	if err == nil && len(groups) != 1 {
		err = fmt.Errorf("volume group %s: %w", name, ErrNotFound)
	}
	if err != nil {
		return Group{}, err
	}
	return groups[0], nil
}

// Volume reads one logical volume and its group.
func (r *Runner) Volume(ctx context.Context, n Name) (Volume, Group, error) {
	if err := n.valid(); err != nil {
		return Volume{}, Group{}, err
	}
	g, err := r.Group(ctx, n.VG)
	if err != nil {
		return Volume{}, g, err
	}
	v, ok := g.Volume(n.LV)
	if !ok {
		return v, g, fmt.Errorf("logical volume %s: %w", n, ErrNotFound)
	}
	return v, g, nil
}

func parseGroup(vg map[string]string, lvs []map[string]string) (g Group, err error) {
	g = Group{Name: vg["vg_name"], UUID: vg["vg_uuid"]}
	attr := vg["vg_attr"]
	g.Shared = len(attr) > 5 && attr[5] != '-'
	g.Missing = vg["vg_missing_pv_count"] != "0"
	for _, f := range []struct {
		name string
		to   *int64
	}{{"vg_size", &g.Size}, {"vg_free", &g.Free}, {"vg_extent_size", &g.Extent}} {
		if *f.to, err = parseBytes(vg, f.name); err != nil {
			return g, err
		}
	}
	if g.Extent == 0 {
		return g, fmt.Errorf("vg_extent_size is 0")
	}
	for _, lv := range lvs {
		v := Volume{
			Name: Name{g.Name, lv["lv_name"]}, UUID: lv["lv_uuid"], Layout: lv["lv_layout"], Role: lv["lv_role"],
			Active: lv["lv_active"] == "active",
		}
		if lv["lv_tags"] != "" {
			v.Tags = strings.Split(lv["lv_tags"], ",")
		}
		if v.Size, err = parseBytes(lv, "lv_size"); err != nil {
			return g, fmt.Errorf("volume %q: %w", v.Name.LV, err)
		}
		g.Volumes = append(g.Volumes, v)
	}
	return g, nil
}

func parseBytes(row map[string]string, field string) (int64, error) {
	n, err := strconv.ParseInt(row[field], 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s is %q, want bytes", field, row[field])
	}
	return n, nil
}
