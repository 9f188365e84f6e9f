package journal

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{200, 4000, 64 << 10} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			c := Config{Size: 4 << 20, Unit: 4096}
			c.Dev = memory(make([]byte, c.Size))
			j, _ := mustOpen(b, c, Pos{})
			payload := fill(1, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				p, err := j.Append(1, payload)
				if err != nil {
					b.Fatal(err)
				}
				j.Release(p)
			}
		})
	}
}

// BenchmarkOpen opens a ring of the largest pools, half full.
func BenchmarkOpen(b *testing.B) {
	for _, size := range []int{400, 4000, 256 << 10} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			c := Config{Size: 32 << 20, Unit: 512, Salt: rand.Uint64()}
			c.Dev = memory(make([]byte, c.Size))
			j, _ := mustOpen(b, c, Pos{})
			for j.Used() < c.Size/2 {
				if _, err := j.Append(1, fill(1, size)); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(c.Size)
			for b.Loop() {
				if _, err := Open(c, Pos{}, func(Batch) error { return nil }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// memory is a device without any cost but the copy.
type memory []byte

func (m memory) ReadAt(p []byte, off int64) (int, error)  { return copy(p, m[off:]), nil }
func (m memory) WriteAt(p []byte, off int64) (int, error) { return copy(m[off:], p), nil }
func (m memory) Sync() error                              { return nil }
