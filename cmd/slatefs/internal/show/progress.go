package show

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/sys/unix"
)

// Progress shows how far something is, on stderr: a bar on a terminal, elsewhere lines as Proxmox's task log has them.
type Progress struct {
	w     io.Writer
	now   func() time.Time
	start time.Time
	every time.Duration // between lines
	last  time.Time     // of a line
	done  int64
	total int64
	shown int64 // bytes, in the last line
	bars  *mpb.Progress
	bar   *mpb.Bar
}

// lineTime is the time between lines of progress, as in Proxmox's task log.
const lineTime = 10 * time.Second

// NewProgress begins to show on w, which is stderr, the progress of what is named, and began now. Without a terminal there is a
// line every ten seconds.
func NewProgress(w io.Writer, now func() time.Time, name string) *Progress {
	p := &Progress{w: w, now: now, start: now(), every: lineTime, shown: -1}
	p.last = p.start
	if f, ok := w.(*os.File); ok && isTerminal(f) {
		p.bars = mpb.New(mpb.WithOutput(f), mpb.WithWidth(60))
		p.bar = p.bars.AddBar(0,
			mpb.PrependDecorators(decor.Name(name+" ")),
			mpb.AppendDecorators(decor.CountersKibiByte("% .1f / % .1f"), decor.AverageSpeed(decor.SizeB1024(0), " % .1f")))
	}
	return p
}

// Began says when it began, if that was not when NewProgress was called.
func (p *Progress) Began(at time.Time) { p.start, p.last = at, at }

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// Set says that done of total bytes are done. The error is that of writing a line.
func (p *Progress) Set(done, total int64) error {
	p.done, p.total = done, total
	if p.bar != nil {
		p.bar.SetTotal(total, false)
		p.bar.SetCurrent(done)
		return nil
	}
	if p.now().Sub(p.last) < p.every {
		return nil
	}
	return p.line()
}

func (p *Progress) line() error {
	p.last, p.shown = p.now(), p.done
	_, err := io.WriteString(p.w, progressLine(p.done, p.last.Sub(p.start))+"\n")
	return err
}

// progressLine is the progress of an erase as Proxmox's task log shows it
// where there is no terminal: bytes, MiB, seconds, bytes/s, MiB/s (it says MB).
//
//	524288000 B 500.0 MB 10.00 s 52427643 B/s 50.00 MB/s
func progressLine(bytes int64, elapsed time.Duration) string {
	const mib = 1 << 20
	var rate float64
	if elapsed > 0 {
		rate = float64(bytes) / elapsed.Seconds()
	}
	return fmt.Sprintf("%d B %.1f MB %.2f s %d B/s %.2f MB/s",
		bytes, float64(bytes)/mib, elapsed.Seconds(), int64(rate), rate/mib)
}

// End shows the last state, and is to be called once, however it ended. Lines of nothing at all are left out.
func (p *Progress) End() error {
	if p.bar != nil {
		if p.done < p.total {
			p.bar.Abort(false)
		} else {
			p.bar.SetTotal(p.total, true)
		}
		p.bars.Wait()
		return nil
	}
	if p.done == 0 || p.done == p.shown {
		return nil
	}
	return p.line()
}
