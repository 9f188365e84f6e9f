package main

import (
	"time"

	"slatefs/chain"
	"slatefs/erase"
)

// What -j prints is made of the types here. Their names are an ABI, which is why chain's own types are copied.

// usage is what the blocks of a pool are used for, in bytes.
type usage struct {
	Total      int64  `json:"total"`
	Live       int64  `json:"live"`
	Meta       int64  `json:"metadata"`
	Clean      int64  `json:"clean"`
	Claimed    int64  `json:"claimed"`
	Dirty      int64  `json:"dirty"`
	Freeing    int64  `json:"freeing"`
	Failed     int64  `json:"failed"`
	Reserve    int64  `json:"reserve"`
	Promised   int64  `json:"promised"`
	Kept       int64  `json:"destroyed_and_kept"` // part of live, and available: it goes when it is needed
	MetaProm   int64  `json:"metadata_promised"`
	Short      int64  `json:"promises_short_by"`
	Avail      int64  `json:"available"`
	Volumes    int    `json:"volumes"`
	Snapshots  int    `json:"snapshots"`
	Layers     int    `json:"layers"`
	Generation uint64 `json:"generation"`
	JournalUse int64  `json:"journal_used"`
	Journal    int64  `json:"journal_size"`
	Repairs    int64  `json:"repairs"`
}

func usageOf(u chain.Usage) usage {
	return usage{
		Total: u.Total, Live: u.Live, Meta: u.Meta, Clean: u.Clean, Claimed: u.Claimed, Dirty: u.Dirty, Freeing: u.Freeing,
		Failed: u.Failed, Reserve: u.Reserve, Kept: u.Destroyed, Promised: u.Promised, MetaProm: u.MetaPromised, Short: u.Short, Avail: u.Avail, Volumes: u.Volumes, Snapshots: u.Snapshots,
		Layers: u.Layers, Generation: u.Generation, JournalUse: u.JournalUsed, Journal: u.JournalSize, Repairs: u.Repairs,
	}
}

// eraseInfo is what waits to be erased, and what was. Numbers are bytes, and since the mount for what was done.
type eraseInfo struct {
	Pool       string    `json:"pool"`
	PoolUUID   string    `json:"pool_uuid"`
	Unsched    int64     `json:"unscheduled"` // part of dirty: of jobs with erase=none
	Dirty      int64     `json:"dirty"`
	Freeing    int64     `json:"freeing"`
	Failed     int64     `json:"failed"`
	Rate       int64     `json:"rate"`    // upper bound, per second; 0: unlimited
	Current    int64     `json:"current"` // per second, over the last seconds
	Paused     bool      `json:"paused"`
	Background int64     `json:"erased_in_background"`
	Demand     int64     `json:"erased_on_demand"`
	Jobs       []jobInfo `json:"jobs"`
}

// jobInfo is an erase job.
type jobInfo struct {
	ID     uint64    `json:"id"`
	State  string    `json:"state"`
	Volume string    `json:"volume"`
	Layer  string    `json:"layer,omitempty"`
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
	Freed  int64     `json:"freed"`
	Erased int64     `json:"erased"`
	Dirty  int64     `json:"dirty"`
	Failed int64     `json:"failed"`

	Released   int64    `json:"released"` // part of erased: never called so
	Kept       int64    `json:"kept"`     // part of freed: others still showed it when it was destroyed
	KeptBy     string   `json:"kept_by,omitempty"`
	Policy     string   `json:"policy"`
	First      bool     `json:"first"`
	Who        string   `json:"who,omitempty"`
	VolumeUUID string   `json:"volume_uuid,omitempty"`
	Layers     []string `json:"layer_uuids,omitempty"`
}

// of fills in what a job's record in the erase log will say as well.
func (i jobInfo) of(j chain.JobInfo) jobInfo {
	i.Released = j.Released
	i.Kept, i.KeptBy, i.Policy, i.First, i.Who = j.Kept, j.KeptBy, chain.EraseZero, j.First, j.Who
	if j.None {
		i.Policy = chain.EraseNone
	}
	if j.VolumeUUID != (chain.UUID{}) {
		i.VolumeUUID = j.VolumeUUID.String()
	}
	for _, l := range j.Layers {
		i.Layers = append(i.Layers, l.String())
	}
	return i
}

func eraseInfoOf(p *chain.Pool, s erase.Stats) eraseInfo {
	u := p.Usage()
	i := eraseInfo{
		Pool: p.Name(), PoolUUID: uuid(p.UUID()).String(), Unsched: u.Unscheduled, Dirty: u.Dirty, Freeing: u.Freeing, Failed: u.Failed, Rate: s.Rate, Current: s.Current, Paused: s.Paused,
		Background: s.Background, Demand: s.Demand, Jobs: []jobInfo{},
	}
	for _, j := range p.EraseJobs() {
		i.Jobs = append(i.Jobs, jobInfo{
			ID: j.ID, State: j.State, Volume: j.Volume, Layer: j.Layer, Reason: j.Reason, Since: j.Since,
			Freed: j.Freed, Erased: j.Erased, Dirty: j.Dirty, Failed: j.Failed,
		}.of(j))
	}
	return i
}

// row is a line of list: a pool, directory, volume or snapshot. Numbers are bytes; nil is what the type does not have.
type row struct {
	Name      string     `json:"name"` // absolute path
	Type      string     `json:"type"`
	Size      *int64     `json:"volsize"`
	Used      *int64     `json:"used"`
	Avail     *int64     `json:"available,omitempty"`
	Refer     *int64     `json:"referenced"`
	Written   *int64     `json:"written"`
	UsedSnap  *int64     `json:"usedbysnapshots,omitempty"`
	UsedDS    *int64     `json:"usedbydataset,omitempty"`
	UsedRef   *int64     `json:"usedbyrefreservation,omitempty"`
	UsedChild *int64     `json:"usedbychildren,omitempty"`
	Refres    *int64     `json:"refreservation,omitempty"` // what holds: of auto, the size
	Reserv    *int64     `json:"reservation,omitempty"`
	Quota     *int64     `json:"quota,omitempty"` // 0: none
	Refquota  *int64     `json:"refquota,omitempty"`
	MetaProm  *int64     `json:"metapromised,omitempty"` // metadata that its promises may need
	Freeing   *int64     `json:"freeing,omitempty"`
	Erasing   *int64     `json:"erasing,omitempty"`
	Snapshots *int64     `json:"snapshot_count,omitempty"`
	Origin    string     `json:"origin,omitempty"`
	Created   *time.Time `json:"creation,omitempty"`
	Clones    []string   `json:"clones,omitempty"`
	ID        *int64     `json:"id,omitempty"` // of what was destroyed and is kept
	Destroyed *time.Time `json:"destroyed,omitempty"`
	Goes      *time.Time `json:"goes,omitempty"`
	Who       string     `json:"who,omitempty"`
}

// Types of rows.
const (
	typePool      = "pool"
	typeDirectory = "directory"
	typeVolume    = "volume"
	typeSnapshot  = "snapshot"
	typeDestroyed = "destroyed"
)
