package main

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

// States of pools.
const (
	stateOnline     = "online"
	stateReadOnly   = "read-only" // an error made it so
	stateReading    = "online-ro" // mounted with -o ro
	stateSilent     = "no-answer" // its daemon is there, and does not say anything; or its device does not
	stateUnmounted  = "unmounted"
	stateDead       = "dead"       // its daemon is gone, and the mount is there
	stateMissing    = "missing"    // its device is
	stateReplaced   = "replaced"   // another pool lies on its device, or none
	stateCopy       = "copy"       // another volume has its UUID too
	stateUnfinished = "unfinished" // a pool create or pool destroy is at work on it, or was
)

// poolState is a line of pool list. What is only known of a mounted pool is nil for others.
type poolState struct {
	Name   string            `json:"name"`
	UUID   uuid.UUID         `json:"uuid"`
	State  string            `json:"state"`
	Device string            `json:"device"`
	Dir    string            `json:"mountpoint,omitempty"`
	Host   string            `json:"held_by,omitempty"`      // of one that is not mounted here
	VG     *vgState          `json:"volume_group,omitempty"` // that the device is a logical volume of
	Info   *control.PoolInfo `json:"info,omitempty"`
	Silent string            `json:"no_answer,omitempty"`        // why the daemon could not be asked
	Unread string            `json:"unreadable,omitempty"`       // why it could not be looked into
	Dead   *host.Live        `json:"daemon_dead,omitempty"`      // what a daemon said that is no more
	Lost   []string          `json:"superblocks_lost,omitempty"` // of one that is not mounted

	Troubles []control.PoolTrouble `json:"troubles"`
}

// vgState is a volume group as a place to grow. What it has belongs to nobody yet: it is no part of what is available.
type vgState struct {
	Name string `json:"name"`
	Free int64  `json:"free"`
}

func (a *app) poolListCmd() *cobra.Command {
	var f show.Format
	cmd := &cobra.Command{
		Use:   "list [-Hpj]",
		Short: "List the pools that this host knows",
		Long: `Lists the pools that were made or mounted here, and those on logical volumes of any volume group, by their tags. LIVE is in
use by volumes, DIRTY is freed and not yet erased, AVAIL can be written. VGFREE is what the volume group could still give to
a pool that grows; anybody may take it, so AVAIL has nothing of it. HEALTH is ok, or the kind of the worst trouble and how many
there are besides, as pool status -x shows them; into a pool that is not mounted pool list does not look.`,
		Example: `  slatefs pool list
  slatefs pool list -Hp`,
		Args: arguments(0, 0),
		RunE: plain(func(ctx context.Context, _ []string) error { return a.poolList(ctx, f) }),
	}
	f.Flags(cmd, "Hpj")
	return cmd
}

func (a *app) poolList(ctx context.Context, f show.Format) error {
	pools, err := a.poolStates(ctx)
	if err != nil {
		return err
	}
	for i := range pools {
		pools[i].Troubles = pools[i].troubles()
	}
	if f.JSON {
		return show.WriteJSON(a.stdout, "slatefs pool list", "pools", pools)
	}
	rows := make([][]string, len(pools))
	for i, p := range pools {
		r := []string{p.Name, "", "", "", "", "", p.State, p.Dir, p.Device, p.health()}
		if p.VG != nil {
			r[5] = f.Size(p.VG.Free)
		}
		if p.Info != nil {
			u := p.Info.Usage
			r[1], r[2], r[3], r[4] = f.Size(u.Total), f.Size(u.Live), f.Size(u.Dirty+u.Freeing+u.Failed), f.Size(u.Avail)
		}
		rows[i] = r
	}
	return f.Table(a.stdout, show.Columns("NAME >SIZE >LIVE >DIRTY >AVAIL >VGFREE STATE MOUNTPOINT DEVICE HEALTH"), rows)
}

// poolStates asks the daemons, and adds the known pools that have none, and those that only LVM knows.
func (a *app) poolStates(ctx context.Context) ([]poolState, error) {
	asking, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	lvs, err := host.LVPools(asking)
	if err != nil {
		if err := a.note("pools on logical volumes may be missing: %v", err); err != nil {
			return nil, err
		}
	}
	pools := []poolState{}
	for _, l := range a.host.Daemons() {
		if l.Dir == "" {
			continue // it is just starting
		}
		pools = append(pools, liveState(ctx, l))
	}
	for _, k := range a.host.KnownPools() {
		if slices.ContainsFunc(pools, func(p poolState) bool { return p.UUID == k.UUID }) {
			continue
		}
		if lv, onLV := host.LVByUUID(lvs, k.UUID, k.Device); !onLV {
			p := poolState{Name: k.Name, UUID: k.UUID, State: unmountedState(k.Device, k.UUID), Device: k.Device}
			pools = append(pools, a.whetherDead(p))
		} else if len(host.LVsOf(lvs, k.UUID)) > 1 { // others are copies of it
			pools = append(pools, poolState{Name: k.Name, UUID: k.UUID, State: stateUnmounted, Device: lv.Device})
		}
	}
	pools = withLVs(pools, lvs)
	slices.SortFunc(pools, func(a, b poolState) int { return strings.Compare(a.Name, b.Name) })
	return pools, nil
}

// withLVs adds the pools on logical volumes that are not among others, and their volume groups to all.
func withLVs(pools []poolState, lvs []host.LVPool) []poolState {
	for _, lv := range lvs {
		copies := len(host.LVsOf(lvs, lv.UUID)) > 1
		i := slices.IndexFunc(pools, func(p poolState) bool { return p.UUID == lv.UUID && (!copies || lv.At(p.Device)) })
		if i < 0 {
			i = len(pools)
			pools = append(pools, poolState{Name: lv.Name, UUID: lv.UUID, State: stateUnmounted, Device: lv.Device})
			if copies {
				pools[i].State = stateCopy
			}
			if lv.Intent != "" {
				pools[i].State = stateUnfinished
			}
		}
		pools[i].VG = &vgState{lv.LV.VG, lv.Free}
	}
	return pools
}

// listTime is how long a list of pools waits for LVM, which may wait for locks and devices of its own.
const listTime = 30 * time.Second

// infoTime is how long a daemon may take to tell its state: one that hangs must not hide the other pools.
const infoTime = 10 * time.Second

// liveState asks a daemon. One that does not answer is a state, too.
func liveState(ctx context.Context, l host.Live) poolState {
	p := poolState{Name: l.Name, UUID: l.UUID, State: stateOnline, Device: l.Device, Dir: l.Dir}
	ctx, cancel := context.WithTimeout(ctx, infoTime)
	defer cancel()
	i, err := control.Info.Call(ctx, l, control.None{})
	p.said(i, err)
	return p
}

// said takes what the daemon of a pool answered.
func (p *poolState) said(i control.PoolInfo, err error) {
	if err != nil {
		p.State, p.Silent = stateSilent, show.ErrorText(err)
		return
	}
	p.Info = &i
	switch {
	case i.Failed != "":
		p.State = stateReadOnly
	case i.Reading:
		p.State = stateReading
	}
}

// unmountedState looks what lies where a pool was; a zero UUID is any pool's.
func unmountedState(device string, id uuid.UUID) string {
	i, err := host.Peek(device)
	var failed *os.PathError
	switch {
	case errors.Is(err, host.ErrSilent):
		return stateSilent
	case errors.As(err, &failed) && failed.Op == "stat":
		return stateMissing
	}
	if id != uuid.Nil && (err == nil && i.UUID != id || errors.Is(err, control.ErrNotPool)) {
		return stateReplaced
	}
	return stateUnmounted
}

// whetherDead finds out of a pool without a daemon whether it has died: it left what it said of itself, and its mount.
func (a *app) whetherDead(p poolState) poolState {
	l, ok := a.host.Left(p.UUID)
	if !ok || p.State == stateMissing {
		return p
	}
	table, err := a.mounts()
	if err != nil {
		return p
	}
	if m, there := table.On(l.Dir); there && m.Ours() && m.Dev == l.MountDev {
		p.State, p.Dead, p.Dir = stateDead, &l, l.Dir
	}
	return p
}
