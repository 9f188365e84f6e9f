package chain

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"slatefs/chain/blockdev/devtest"
	"slatefs/chain/meta"
	"slatefs/chain/super"
)

// dumped counts the lines of a dump by kind, and rows by what they are of, and sums the blocks of maps.
func dumped(t testing.TB, d *devtest.Disk) (kinds map[string]int, blocks map[string]int64, lost int, err error) {
	t.Helper()
	kinds, blocks = map[string]int{}, map[string]int64{}
	lost, err = Dump(context.Background(), d, true, func(l DumpLine) error {
		b, err := json.Marshal(l)
		if err != nil {
			return err
		}
		var x struct {
			Kind, Of string
			Runs     [][4]uint64
		}
		if err := json.Unmarshal(b, &x); err != nil {
			return err
		}
		if kinds[x.Kind]++; x.Kind == "row" {
			kinds[x.Of]++
		}
		for _, r := range x.Runs {
			if x.Kind == "map" {
				blocks[x.Of] += int64(r[1])
			}
		}
		return nil
	})
	return kinds, blocks, lost, err
}

// A dump has all that a pool has.
func TestDump(t *testing.T) {
	d, _, _ := flipPool(t, true)
	p, err := Open(d.Clone(), readOnly())
	ok(t, err)
	kinds, blocks, lost, err := dumped(t, d)
	if err != nil || lost != 0 {
		t.Fatalf("%d things are lost: %v", lost, err)
	}
	if kinds["superblock"] != 2 || kinds["extent"] != len(p.blocks.store.Extents()) || kinds["layer"] == 0 || kinds["inode"] < 43 ||
		kinds["job"] == 0 || kinds["list"] == 0 || kinds["batch"] == 0 || kinds["group"] == 0 || kinds["lost"] != 0 {
		t.Errorf("%v", kinds)
	}
	s, slot := p.supers.super, p.supers.slot
	view := newPool(d.Clone(), readOnly(), s, slot)
	ok(t, loadAlone(view))
	for id, l := range view.tree.layers {
		m, _ := l.top.Bottom()
		if of := "layer " + id.String(); !l.swept && blocks[of] != int64(m.Count()) {
			t.Errorf("%s: %d blocks, the map counts %d", of, blocks[of], m.Count())
		}
	}
}

// Of a damaged pool it has the rest, and says what is lost; whatever lies there, it ends.
func TestDumpOfWhatIsLeft(t *testing.T) {
	d, _, _ := flipPool(t, true)
	whole, _, _, err := dumped(t, d)
	ok(t, err)
	p, err := Open(d.Clone(), readOnly())
	ok(t, err)
	for name, ptr := range map[string]meta.Ptr{
		"group table": p.blocks.groupTable.Root, "metadata store": p.supers.super.StoreRoot, "catalog": p.names.cat.Tree.Root,
	} {
		x := d.Clone()
		wipe(t, x, int64(ptr.Addr))
		wipe(t, x, int64(ptr.Twin))
		kinds, _, lost, err := dumped(t, x)
		if err != nil || lost == 0 || kinds["lost"] != lost || kinds["batch"] != whole["batch"] || kinds["superblock"] != 2 {
			t.Errorf("%s: %d lost, %v: %v", name, lost, kinds, err)
		}
	}
	x := d.Clone()
	wipe(t, x, 0)
	wipe(t, x, 1)
	if kinds, _, _, err := dumped(t, x); err == nil || kinds["superblock"] != 2 {
		t.Errorf("without superblocks: %v, %v", kinds, err)
	}
	for _, cases := range []map[string]func(*victim){hostileLayers, hostileLists, hostileMaps, hostileNames, hostileGroups} {
		for name, fn := range cases {
			h := hostile(t, fn)
			within(t, name, func() { _, _, _, _ = dumped(t, h) })
		}
	}
}

// A pool in use is dumped as a checkpoint left it, whatever comes after.
func TestDumpOnline(t *testing.T) {
	d, _, _ := flipPool(t, true)
	p, err := Open(d, Options{Now: newClock().now, CacheBytes: 1 << 20})
	ok(t, err)
	n, layers := 0, 0
	lost, err := DumpOnline(context.Background(), p, true, func(l DumpLine) error {
		if r, is := l.(DumpRow); is && r.Of == "layer" {
			layers++
		}
		if n++; n%8 == 0 {
			mustVolume(t, p, fmt.Sprint("new", n), 64<<10)
			return p.Checkpoint()
		}
		return nil
	})
	if err != nil || lost != 0 || layers == 0 {
		t.Errorf("%d lines, %d layers, %d lost: %v", n, layers, lost, err)
	}
}

// A line of a superblock has all that one holds.
func TestDumpOfASuperblock(t *testing.T) {
	next := int64(1 << 40)
	want := map[string]string{} // by value
	var set func(name string, v reflect.Value)
	set = func(name string, v reflect.Value) {
		next += 1<<33 + 7
		switch kind := v.Kind(); {
		case kind == reflect.Struct:
			if at, ok := v.Addr().Interface().(*time.Time); ok {
				*at = time.Unix(next>>20, 0)
				want[at.UTC().Format(time.RFC3339)] = name
				return
			}
			for i := range v.NumField() {
				set(name+"."+v.Type().Field(i).Name, v.Field(i))
			}
		case kind == reflect.String:
			v.SetString(fmt.Sprintf("n%x", next))
			want[v.String()] = name
		case kind == reflect.Array:
			for i := range v.Len() {
				v.Index(i).SetUint(uint64(next>>(5*i)) & 0xff)
			}
			b := make([]byte, v.Len())
			reflect.Copy(reflect.ValueOf(b), v)
			want[hex.EncodeToString(b)] = name
		case kind == reflect.Uint8:
			v.SetUint(7)
		case v.CanInt():
			v.SetInt(next)
			want[fmt.Sprint(next)] = name
		default:
			v.SetUint(uint64(next))
			want[fmt.Sprint(next)] = name
		}
	}
	var s super.Block
	set("superblock", reflect.ValueOf(&s).Elem())
	var text string
	d := newDumper(context.Background(), newDisk(t, 4<<20), super.Block{}, true, func(l DumpLine) error {
		b, err := json.Marshal(l)
		text = strings.ReplaceAll(string(b), "-", "") // of the UUID
		return err
	})
	ok(t, d.superblock(0, s, nil, true))
	for value, name := range want {
		n, _ := strconv.ParseUint(value, 10, 64)
		if !strings.Contains(text, strings.ReplaceAll(value, "-", "")) && !strings.Contains(text, fmt.Sprintf("%016x", n)) &&
			!strings.HasSuffix(name, "Root.Birth") && !strings.HasSuffix(name, ".Weight") { // which are 0 there
			t.Errorf("%s, %s, is not in %s", name, value, text)
		}
	}
}
