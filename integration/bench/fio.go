package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// job is one run of fio.
type job struct {
	rw    string // randread, randwrite, randrw (70 % reads), read, write
	bs    int64  // bytes of a request
	depth int
	jobs  int   // at once; 0 is 1
	fsync int   // after so many writes; 0: never
	bytes int64 // ends after so many; 0: after the time of the run
	size  int64 // of the part of the file that is used; 0: all of it
	align int64 // of the places of requests; 0: bs

	buffered bool // without O_DIRECT
}

// sample is what one run of a row gave.
type sample struct {
	Value float64 // in the row's unit
	P50   float64 // µs of a request; 0: not known
	P99   float64
	Max   float64
	CPU   float64 // µs of the serving process per request; 0: there is none
}

// fio runs a job on a file, and returns requests per second.
func (g *ground) fio(ctx context.Context, j job, path string) (sample, error) {
	args := []string{
		"--name=row", "--filename=" + path, "--output-format=json", "--ioengine=io_uring", "--group_reporting",
		"--randrepeat=0", "--norandommap", "--allow_file_create=0", "--thinktime=0",
		"--rw=" + j.rw, fmt.Sprint("--bs=", j.bs), fmt.Sprint("--iodepth=", j.depth), fmt.Sprint("--numjobs=", max(1, j.jobs)),
	}
	if !j.buffered {
		args = append(args, "--direct=1")
	}
	if j.rw == "randrw" {
		args = append(args, "--rwmixread=70")
	}
	if j.fsync > 0 {
		args = append(args, fmt.Sprint("--fsync=", j.fsync))
	}
	if j.align > 0 {
		args = append(args, fmt.Sprint("--blockalign=", j.align))
	}
	if j.size > 0 {
		args = append(args, fmt.Sprint("--size=", j.size))
	}
	if j.bytes > 0 {
		args = append(args, fmt.Sprint("--io_size=", j.bytes), fmt.Sprint("--size=", max(j.size, g.size/4)))
	} else {
		args = append(args, "--time_based", fmt.Sprintf("--runtime=%dms", g.long.Milliseconds()))
	}
	out, err := command(ctx, "fio", args...)
	if err != nil {
		return sample{}, err
	}
	return parseFio([]byte(out))
}

// parseFio reads fio's JSON of one group of jobs. Reads and writes are counted together; the percentiles are of that with more.
func parseFio(out []byte) (sample, error) {
	type side struct {
		IOPS float64 `json:"iops"`
		IOs  float64 `json:"total_ios"`
		Lat  struct {
			Max        float64            `json:"max"`
			Percentile map[string]float64 `json:"percentile"`
		} `json:"clat_ns"`
	}
	var doc struct {
		Jobs []struct {
			Error int  `json:"error"`
			Read  side `json:"read"`
			Write side `json:"write"`
		} `json:"jobs"`
	}
	if err := json.Unmarshal(out, &doc); err != nil {
		return sample{}, fmt.Errorf("fio: %w: %.200q", err, out)
	}
	if len(doc.Jobs) != 1 {
		return sample{}, fmt.Errorf("fio: %d groups of jobs", len(doc.Jobs))
	}
	if e := doc.Jobs[0].Error; e != 0 {
		return sample{}, fmt.Errorf("fio: error %d", e)
	}
	r, w := doc.Jobs[0].Read, doc.Jobs[0].Write
	if r.IOs+w.IOs == 0 {
		return sample{}, errors.New("fio did nothing")
	}
	most := r
	if w.IOs > r.IOs {
		most = w
	}
	p := most.Lat.Percentile
	return sample{
		Value: r.IOPS + w.IOPS, P50: p["50.000000"] / 1e3, P99: p["99.000000"] / 1e3, Max: max(r.Lat.Max, w.Lat.Max) / 1e3,
	}, nil
}

// counted runs fn, which makes requests at a rate, and adds what the process pid used for each.
func counted(pid int, fn func() (sample, error)) (sample, error) {
	before, err := cpuOf(pid)
	if err != nil {
		return sample{}, err
	}
	start := time.Now()
	s, err := fn()
	if err != nil || pid == 0 {
		return s, err
	}
	after, err := cpuOf(pid)
	if requests := s.Value * time.Since(start).Seconds(); requests > 0 {
		s.CPU = float64((after - before).Microseconds()) / requests
	}
	return s, err
}

// cpuOf is what a process has used so far, in ticks of 10 ms; 0: of nobody.
func cpuOf(pid int) (time.Duration, error) {
	if pid == 0 {
		return 0, nil
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, ok := strings.Cut(string(b), ") ") // the name may have blanks
	f := strings.Fields(rest)
	if !ok || len(f) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat: %q", pid, b)
	}
	user, err := strconv.Atoi(f[11])
	system, err2 := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond, errors.Join(err, err2)
}

// counter reads a number of a file of lines "name: number", as those of /proc/PID/io and status, in its own unit.
func counter(path, name string) (int64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			return strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
		}
	}
	return 0, fmt.Errorf("%s has no %s", path, name)
}

// drop lets go of the page cache of a file, so that nobody reads from memory.
func drop(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return errors.Join(unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED), unix.Close(fd))
}
