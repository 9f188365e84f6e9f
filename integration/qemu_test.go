package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
)

// imageInfo is what `qemu-img info` says.
type imageInfo struct {
	VirtualSize int64  `json:"virtual-size"`
	ActualSize  int64  `json:"actual-size"`
	Format      string `json:"format"`
}

func (p *pool) imageInfo(path string) (i imageInfo) {
	p.t.Helper()
	must(p.t, json.Unmarshal([]byte(p.tool("qemu-img", "info", "--output=json", "-f", "raw", path)), &i))
	return i
}

// image makes a file of test data with holes in it: 24 MiB of 64.
func image(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	must(t, f.Truncate(64<<20))
	for i := range int64(24) {
		off := i * 5 << 19 // every 2.5 MiB
		_, err := f.WriteAt(stamped(1<<20, 0, off, uint64(i+1)), off)
		must(t, err)
	}
	must(t, f.Close())
}

// TestQemuImgCreate makes volumes with each preallocation mode, over nothing and over what was there.
func TestQemuImgCreate(t *testing.T) {
	needs(t, "qemu-img")
	eachTransport(t, func(t *testing.T, tr string) {
		p := mountedPool(t, "512M", tr)
		for _, c := range []struct {
			mode   string
			actual int64 // bytes, at least
		}{{"off", 0}, {"falloc", 64 << 20}, {"full", 0}} {
			vol := p.at("vm-100-disk-" + c.mode + ".raw")
			for range 2 {
				p.tool("qemu-img", "create", "-o", "preallocation="+c.mode, "-f", "raw", vol, "65536K")
				i := p.imageInfo(vol)
				if i.VirtualSize != 64<<20 || i.Format != "raw" || i.ActualSize < c.actual || c.actual == 0 && i.ActualSize > 1<<20 {
					t.Errorf("preallocation=%s: %+v", c.mode, i)
				}
				if b := read(t, vol); strings.Trim(string(b), "\x00") != "" {
					t.Errorf("preallocation=%s: does not read as zeros", c.mode)
				}
				p.tool("qemu-io", "-f", "raw", "-t", "none", "-c", "write -P 0xaa 0 64M", vol)
			}
		}
	})
}

// TestQemuImgConvert copies images into volumes and out of them in all the ways that Proxmox does, and compares.
func TestQemuImgConvert(t *testing.T) {
	needs(t, "qemu-img")
	eachTransport(t, func(t *testing.T, tr string) {
		p := mountedPool(t, "1G", tr)
		raw, qcow, vol := p.path("src.raw"), p.path("src.qcow2"), p.at("dst.raw")
		image(t, raw)
		p.tool("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, qcow)
		for _, args := range [][]string{
			{"convert", "-f", "qcow2", "-O", "raw", "-t", "none", "-T", "none", qcow, vol},
			{"convert", "-p", "-n", "-f", "raw", "-O", "raw", raw, vol},
			{"convert", "-n", "-r", "2147483648", "-f", "raw", "-O", "raw", raw, vol},
			{"convert", "-n", "-W", "-m", "8", "-t", "none", "-T", "none", "-f", "raw", "-O", "raw", raw, vol},
			{"convert", "-S", "0", "-t", "writeback", "-f", "raw", "-O", "raw", raw, vol},
			{"dd", "-f", "raw", "-O", "raw", "bs=1M", "if=" + raw, "of=" + vol},
		} {
			p.tool("qemu-img", args...)
			p.tool("qemu-img", "compare", "-f", "raw", "-F", "raw", raw, vol)
		}
		p.tool("qemu-img", "convert", "-f", "raw", "-O", "raw", raw, vol)
		if got := p.imageInfo(vol).ActualSize; got < 24<<20 || got > 26<<20 {
			t.Errorf("a thin copy of 24 MiB takes %d bytes", got)
		}
		p.slatefs("snapshot", vol+"@a")
		p.tool("qemu-io", "-f", "raw", "-c", "write -P 1 0 8M", vol)
		p.tool("qemu-img", "compare", "-f", "raw", "-F", "qcow2", p.snap("dst.raw", "a"), qcow)
		p.tool("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-T", "none", p.snap("dst.raw", "a"), p.path("out.qcow2"))
		p.tool("qemu-img", "compare", raw, "-f", "raw", "-F", "qcow2", p.path("out.qcow2"))
		p.slatefs("rollback", vol+"@a")
		p.tool("qemu-img", "compare", "-f", "raw", "-F", "raw", raw, vol)
		if out := p.tool("qemu-img", "map", "--output=json", "-f", "raw", vol); !strings.Contains(out, `"zero": true, "data": false`) {
			t.Errorf("no holes are mapped: %s", out)
		}
	})
}

// TestQemuImgResize grows and shrinks.
func TestQemuImgResize(t *testing.T) {
	needs(t, "qemu-img")
	p := mountedPool(t, "512M", "")
	vol := p.at("r.raw")
	p.tool("qemu-img", "create", "-f", "raw", vol, "32M")
	p.tool("qemu-io", "-f", "raw", "-c", "write -P 7 0 32M", vol)
	for _, c := range []struct {
		args []string
		size int64
	}{
		{[]string{vol, "48M"}, 48 << 20},
		{[]string{"--preallocation=falloc", vol, "+16M"}, 64 << 20},
		{[]string{"--preallocation=full", vol, "+16M"}, 80 << 20},
		{[]string{"--shrink", vol, "16M"}, 16 << 20},
		{[]string{vol, "32M"}, 32 << 20},
	} {
		p.tool("qemu-img", append([]string{"resize", "-f", "raw"}, c.args...)...)
		if i := p.imageInfo(vol); i.VirtualSize != c.size {
			t.Errorf("%v: size %d", c.args, i.VirtualSize)
		}
	}
	p.tool("qemu-io", "-f", "raw", "-c", "read -P 7 0 16M", "-c", "read -P 0 16M 16M", vol)
}

// TestQemuIO sends what a guest does through qemu's block layer, in each cache mode and by each way of asynchronous I/O.
func TestQemuIO(t *testing.T) {
	needs(t, "qemu-io")
	script := []string{
		"write -P 0x11 0 1M", "write -f -P 0x22 4k 4k", "write -P 0x33 512 512", // FUA; less than a block
		"write -z 64k 64k", "write -z -u 128k 64k", "write -z -f 192k 4k", // zeros; that may unmap; with FUA
		"discard 256k 128k", "write -P 0 384k 64k", // detect-zeroes makes the last one a write of zeros
		"aio_write -P 0x44 2M 256k", "aio_write -P 0x55 3M 256k", "aio_flush", "flush",
		"read -P 0x33 512 512", "read -P 0x11 1k 3k", "read -P 0x22 4k 4k", "read -P 0x11 8k 56k",
		"read -P 0 64k 132k", "read -P 0x11 196k 60k", "read -P 0 256k 192k", "read -P 0x11 448k 64k",
		"read -P 0x44 2M 256k", "read -P 0x55 3M 256k",
		"discard 0 32M", "read -P 0 0 32M", "write -P 0x66 1M 64k", "flush",
	}
	eachTransport(t, func(t *testing.T, tr string) {
		p := mountedPool(t, "512M", tr)
		p.slatefs("create", "--size", "32M", p.at("io.raw"))
		var args []string
		for _, c := range script {
			args = append(args, "-c", c)
		}
		for _, mode := range cacheModes {
			for _, aio := range mode.aio {
				for _, zeroes := range []string{"off", "on", "unmap"} {
					what := fmt.Sprintf("cache=%s aio=%s detect-zeroes=%s", mode.cache, aio, zeroes)
					opts := fmt.Sprintf("driver=raw,discard=unmap,detect-zeroes=%s,file.driver=file,file.filename=%s,file.aio=%s",
						zeroes, p.at("io.raw"), aio)
					r := p.exec("qemu-io", append([]string{"-t", mode.cache, "--image-opts", opts}, args...)...)
					if aio == "io_uring" && strings.Contains(r.stderr+r.stdout, "io_uring") && r.code != 0 {
						t.Logf("aio=io_uring is not to be had here: %s", r.stderr)
						continue
					}
					p.ok(r)
					if strings.Contains(r.stdout+r.stderr, "failed") || strings.Contains(r.stderr, "misbehaving") {
						t.Errorf("%s: %v", what, r)
					}
					if i := p.imageInfo(p.at("io.raw")); i.ActualSize != 64<<10 {
						t.Errorf("%s: 64 KiB take %d bytes", what, i.ActualSize)
					}
				}
			}
		}
	})
}
