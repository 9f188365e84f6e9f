package chain

import (
	"slices"
	"testing"
	"time"
)

// What a pool says of the host that serves it is not listened to.
func TestStrayProperties(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	for _, s := range []Setting{{Name: testHostProp, Value: "reboot"}, {Name: PropLogExport, Value: "/etc/passwd"}} {
		wantErr(t, s.Name, p.SetProps(Req{}, RootIno, s), ErrInvalid)
		ok(t, p.works.change(func(time.Time) error { // as a program did that kept them here
			return p.commits.do(&recPut{key: propKey(RootIno, s.Name), val: marshalProp(s.Name, s.Value)})
		}))
		v, err := p.Prop(RootIno, s.Name)
		if err != nil || v.Value != v.Default || v.Set {
			t.Errorf("%s is %+v, %v", s.Name, v, err)
		}
	}
	if names, err := p.Stray(); err != nil || !slices.Equal(names, []string{PropLogExport, testHostProp}) {
		t.Errorf("stray are %q, %v", names, err)
	}
	ok(t, p.SetProps(Req{}, RootIno, Setting{Name: testHostProp, Inherit: true}))
	if names, err := p.Stray(); err != nil || !slices.Equal(names, []string{PropLogExport}) {
		t.Errorf("stray are %q, %v", names, err)
	}
}
