package main

import (
	"strings"
	"testing"
	"time"

	"slatefs/cmd/slatefs/internal/control"
)

func TestEraseWaitLooks(t *testing.T) {
	w := newEraseWait(nil)
	done, total, left := w.look(control.EraseInfo{Dirty: 30, Jobs: []control.JobInfo{
		{ID: 1, State: "erasing", Freed: 40, Erased: 10, Dirty: 30}, {ID: 2, State: "queued", Freed: 5, Erased: 5},
	}})
	if done != 0 || total != 30 || left != 1 { // what was erased before the wait does not count
		t.Errorf("%d of %d done, %d left", done, total, left)
	}
	if done, total, left = w.look(control.EraseInfo{Freeing: 1}); done != 30 || total != 30 || left != 1 {
		t.Errorf("freeing: %d of %d done, %d left", done, total, left)
	}
	_, _, left = w.look(control.EraseInfo{Failed: 7, Jobs: []control.JobInfo{{ID: 3, State: "failed", Freed: 7, Failed: 7}}})
	if err := w.stuck(); left != 1 || err == nil || !strings.Contains(err.Error(), "7B could not be erased") {
		t.Errorf("failed job: %d left, %v", left, err)
	}
	if s := w.left(control.EraseInfo{Freeing: 9}, 90*time.Second); s != "time is up: 7B in 1 jobs are not erased after 1m30s, and 9B are freed and in no job yet" {
		t.Errorf("timeout: %s", s)
	}
	_, _, left = w.look(control.EraseInfo{Dirty: 7, Jobs: []control.JobInfo{{ID: 3, State: "failed", Error: "page 25: checksum", Freed: 7, Dirty: 7}}})
	if err := w.stuck(); left != 1 || err == nil || !strings.Contains(err.Error(), "7B could not be erased, and are not used again: page 25: checksum") {
		t.Errorf("damaged job: %d left, %v", left, err)
	}
	_, _, left = w.look(control.EraseInfo{Dirty: 7, Jobs: []control.JobInfo{{ID: 3, State: "failing", Error: "EIO", Freed: 7, Dirty: 7}}})
	if err := w.stuck(); left != 1 || err != nil {
		t.Errorf("failing job: %d left, %v; it is tried again", left, err)
	}
	one := newEraseWait([]uint64{9})
	if _, _, left := one.look(control.EraseInfo{Dirty: 5, Jobs: []control.JobInfo{{ID: 8, Dirty: 5, Freed: 5}}}); left != 0 || one.stuck() != nil {
		t.Errorf("a job of no interest is waited for")
	}
}
