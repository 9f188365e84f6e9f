package fs

import (
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// goFuseConstants are the constants of go-fuse that begin with one of some prefixes, exported or not, with their values.
func goFuseConstants(t *testing.T, prefixes ...string) map[string]uint64 {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/hanwen/go-fuse/v2").Output()
	if err != nil {
		t.Skipf("the source of go-fuse: %v", err)
	}
	set, found := token.NewFileSet(), map[string]uint64{}
	for _, name := range []string{"types.go", "types_linux.go", "types_unix.go", "opcode.go"} {
		file, err := parser.ParseFile(set, filepath.Join(strings.TrimSpace(string(dir)), "fuse", name), nil, 0)
		must(t, err)
		for _, d := range file.Decls {
			group, ok := d.(*ast.GenDecl)
			if !ok || group.Tok != token.CONST {
				continue
			}
			for _, spec := range group.Specs {
				c := spec.(*ast.ValueSpec)
				if !slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(c.Names[0].Name, p) }) {
					continue
				}
				v, err := types.Eval(set, nil, token.NoPos, types.ExprString(c.Values[0]))
				must(t, err)
				n, exact := constant.Uint64Val(constant.ToInt(v.Value))
				if !exact {
					t.Fatalf("%s is %v", c.Names[0].Name, v.Value)
				}
				found[c.Names[0].Name] = n
			}
		}
	}
	return found
}

// flags are a part of the table by name; each bit stands in it once.
func flags(t *testing.T, where string, list []flag) map[string]uint64 {
	t.Helper()
	out, seen := map[string]uint64{}, uint64(0)
	for _, f := range list {
		if f.bits == 0 || seen&f.bits != 0 || out[f.name] != 0 || f.what < obeyed || f.what > unasked {
			t.Errorf("%s: %+v: no bits, or bits or a name that stand there already", where, f)
		}
		if f.how == "" && f.what != obeyed {
			t.Errorf("%s: %s: what is done is not said", where, f.name)
		}
		seen |= f.bits
		out[f.name] = f.bits
	}
	return out
}

// The table names every capability, flag and request that go-fuse knows, with the same bits; a newer go-fuse that knows
// more fails here.
func TestRequestTableIsTotal(t *testing.T) {
	compare := func(what string, table, known map[string]uint64) {
		t.Helper()
		for name, bits := range known {
			if table[name] != bits {
				t.Errorf("%s: %s is %#x, in the table %#x", what, name, bits, table[name])
			}
		}
	}
	caps := map[string]uint64{}
	for name, bits := range flags(t, "capabilities", capabilities) {
		caps["CAP_"+name] = bits
	}
	known := goFuseConstants(t, "CAP_")
	delete(known, "CAP_RENAME_SWAP") // of another system, and 0
	compare("capabilities", caps, known)
	if len(caps) != len(known) {
		t.Errorf("%d capabilities in the table, go-fuse has %d", len(caps), len(known))
	}
	all := map[string]uint64{}
	for where, list := range requestFlags {
		maps.Copy(all, flags(t, where, list))
	}
	compare("flags", all, goFuseConstants(t, "FATTR_", "OPEN_", "READ_", "WRITE_", "RELEASE_", "LK_", "IOCTL_", "FUSE_GETATTR_"))
	codes := map[string]uint64{}
	for name, o := range opcodes {
		if o.what < obeyed || o.what > unasked || o.how == "" && o.what != obeyed {
			t.Errorf("%s: %+v", name, o)
		}
		codes["_OP_"+name] = uint64(o.code)
	}
	known = goFuseConstants(t, "_OP_")
	maps.DeleteFunc(known, func(name string, n uint64) bool { return n >= 100 }) // notifications go the other way
	compare("requests", codes, known)
	if len(codes) != len(known) {
		t.Errorf("%d requests in the table, go-fuse has %d", len(codes), len(known))
	}
	compare("flags of open(2)", map[string]uint64{"all": sum(requestFlags["OPEN, CREATE, READ, WRITE: flags"])},
		map[string]uint64{"all": 1<<23 - 1 - 0o4 - 0o10 - 0o20}) // three bits that Linux has no name for
	compare("modes of fallocate(2)", map[string]uint64{"all": sum(requestFlags["FALLOCATE: mode"])}, map[string]uint64{"all": 1<<7 - 1})
	compare("flags of renameat2(2)", map[string]uint64{"all": sum(requestFlags["RENAME2: flags"])}, map[string]uint64{"all": 1<<3 - 1})
}

func sum(list []flag) (bits uint64) {
	for _, f := range list {
		bits |= f.bits
	}
	return bits
}

// Whatever a kernel offers, what is asked for is what the table says, whichever transport asks.
func TestCapabilitiesAreThoseOfTheTable(t *testing.T) {
	p, _ := newPool(t, classicInMemory)
	ps := fuse.NewProtocolServer(New(p, nil), fuseOptions(MountOptions{Logger: discard}))
	in := fuse.InitIn{Major: 7, Minor: 45, MaxReadAhead: 1 << 17, Flags: ^uint32(0), Flags2: ^uint32(0)}
	in.InHeader = fuse.InHeader{Length: uint32(unsafe.Sizeof(in)), Opcode: opcodes["INIT"].code, Unique: 1}
	out := make([]byte, answerBytes)
	n, st := ps.HandleRequest([][]byte{(*[unsafe.Sizeof(in)]byte)(unsafe.Pointer(&in))[:]}, [][]byte{out})
	if st != fuse.OK || n < headerBytes+int(unsafe.Sizeof(fuse.InitOut{})) {
		t.Fatalf("%v, %d bytes", st, n)
	}
	if got := (*fuse.InitOut)(unsafe.Pointer(&out[headerBytes])).Flags64(); got != asked() {
		t.Errorf("asked for %#x, the table says %#x", got, asked())
	}
}
