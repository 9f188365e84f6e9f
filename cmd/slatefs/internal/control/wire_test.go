package control

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"

	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

// Every string of every message is exact, and all else as encoding/json has it.
func TestExactMessages(t *testing.T) {
	when := time.Date(2026, 11, 25, 1, 2, 3, 4, time.UTC)
	id := uuid.UUID{1, 2, 3}
	zero := int64(0)
	m := PoolInfo{Live: host.Live{UUID: id, Name: "lab", Device: "/srv/\xff\x00.pool", Dir: "\x00", Started: when}, Stuck: "\xe9"}
	b, err := show.Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	var got PoolInfo
	if err := show.Decode(b, &got); err != nil || !reflect.DeepEqual(got, m) {
		t.Errorf("%+v\nbecame %+v, %v", m, got, err)
	}
	set := SetArgs{Object: Object{Arg: "/lab/\xe9", Path: "\xe9"}, Settings: []Setting{{Name: "quota", Value: "\xfe"}, {Inherit: true}}}
	b, err = show.Encode(set)
	var back SetArgs
	if err := errors.Join(err, show.Decode(b, &back)); err != nil || !reflect.DeepEqual(set, back) {
		t.Errorf("%+v became %+v, %v", set, back, err)
	}
	list := DestroyResult{Destroyed: []string{"a\xff"}, Kept: []Row{{Name: "\xee", Used: &zero, Goes: &when}}, Forecast: &DestroyForecast{SeenBy: []string{"\xed"}}}
	b, err = show.Encode(list)
	var all DestroyResult
	if err := errors.Join(err, show.Decode(b, &all)); err != nil || !reflect.DeepEqual(list, all) {
		t.Errorf("%+v became %+v, %v", list, all, err)
	}
	if list.Destroyed[0] != "a\xff" || list.Kept[0].Name != "\xee" {
		t.Error("encoding has changed the message")
	}
	var none *CheckReport
	b, err = show.Encode(none)
	if err := errors.Join(err, show.Decode(b, &none)); err != nil || none != nil || string(b) != "null" {
		t.Errorf("nothing became %s, %+v, %v", b, none, err)
	}
}
