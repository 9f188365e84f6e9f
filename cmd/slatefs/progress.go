package main

import (
	"io"
	"os"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/sys/unix"

	"slatefs/erase"
)

// progress shows how far something is, on stderr: a bar on a terminal, elsewhere lines as Proxmox's task log has them.
type progress struct {
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

func (a *app) newProgress(name string) *progress {
	p := &progress{w: a.stderr, now: a.now, start: a.now(), every: lineTime, shown: -1}
	p.last = p.start
	if f, ok := a.stderr.(*os.File); ok && isTerminal(f) {
		p.bars = mpb.New(mpb.WithOutput(f), mpb.WithWidth(60))
		p.bar = p.bars.AddBar(0,
			mpb.PrependDecorators(decor.Name(name+" ")),
			mpb.AppendDecorators(decor.CountersKibiByte("% .1f / % .1f"), decor.AverageSpeed(decor.SizeB1024(0), " % .1f")))
	}
	return p
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// set says that done of total bytes are done.
func (p *progress) set(done, total int64) error {
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

func (p *progress) line() error {
	p.last, p.shown = p.now(), p.done
	_, err := io.WriteString(p.w, erase.ProgressLine(p.done, p.last.Sub(p.start))+"\n")
	return err
}

// end shows the last state. Lines of nothing at all are left out.
func (p *progress) end() error {
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
