package erase

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"slatefs/chain/blockdev"
)

// ErrMethod is for a device that does not have the method that was asked for.
var ErrMethod = errors.New("not a method of this device")

// choice is the method in use, and why.
type choice struct {
	want blockdev.Method // as set
	have blockdev.Method // Auto: not known before the first dirty block was tried
	why  string
}

// probeBytes is what a method is tried on at most.
const probeBytes = 64 << 10

// SetMethod changes the method, at once. Auto takes the best that is proved to
// work on the first dirty blocks that come: Zeroout, else Overwrite; Unmap,
// which may give space away that a thin LUN had, only who asks for it. On a pool
// file it is Overwrite. Release is for pool files, and what it does is never
// reported as erased. ErrMethod: the device does not have it; nothing changed.
func (e *Eraser) SetMethod(m blockdev.Method) error {
	if c := e.choice.Load(); c != nil && c.want == m {
		return nil
	}
	if err := Offers(e.dev, m); err != nil {
		return err
	}
	switch {
	case m != blockdev.Auto:
		e.choice.Store(&choice{m, m, "as set"})
	case len(candidates(e.dev.Methods())) == 0:
		e.choice.Store(&choice{m, blockdev.Overwrite, "on a pool file only writing over it erases"})
	default:
		e.choice.Store(&choice{m, blockdev.Auto, "not tried yet: the first freed blocks decide"})
	}
	return nil
}

// Offers is ErrMethod if a device does not have a method; every one has Auto.
func Offers(d interface{ Methods() []blockdev.Method }, m blockdev.Method) error {
	if has := d.Methods(); m != blockdev.Auto && !slices.Contains(has, m) {
		return fmt.Errorf("%v: this device has %v: %w", m, has, ErrMethod)
	}
	return nil
}

// Method is the method in use, Auto while that is not known, and the reason for it.
func (e *Eraser) Method() (m blockdev.Method, why string) {
	c := e.choice.Load()
	return c.have, c.why
}

// SetVerify changes what is read back, from the next sync on.
func (e *Eraser) SetVerify(v blockdev.Verify) { e.verify.Store(uint32(v)) }

// candidates are the methods that Auto tries before Overwrite.
func candidates(has []blockdev.Method) []blockdev.Method {
	return slices.DeleteFunc(slices.Clone(has), func(m blockdev.Method) bool { return m != blockdev.Zeroout })
}

// resolve returns the method for x, which is dirty and about to be zeroed. If
// that is to be found out, x is written to: what a method claims is believed
// only when bytes that were certainly not zero read as zeros after it. tried is
// the bytes that this cost. An error is final. The caller holds the worker lock.
func (e *Eraser) resolve(x blockdev.Extent) (m blockdev.Method, tried int64, err error) {
	c := e.choice.Load()
	if c.have != blockdev.Auto {
		return c.have, 0, nil
	}
	found := choice{have: blockdev.Overwrite}
	x.Len = min(x.Len, probeBytes)
	for _, m := range candidates(e.dev.Methods()) {
		tried += 2 * x.Len
		bad, err := e.try(m, x)
		if err != nil {
			return 0, tried, err
		}
		if bad == nil {
			found.have = m
			found.why += fmt.Sprintf("%d bytes of marks at %#x read as zeros after it; %s", x.Len, x.Off, e.offload())
			break
		}
		found.why += fmt.Sprintf("%v was tried at %#x: %v; ", m, x.Off, bad)
	}
	if found.have == blockdev.Overwrite {
		found.why += "writing zeros is what is left"
	}
	e.log.Info("erase: method", "method", found.have.String(), "why", found.why)
	e.choice.CompareAndSwap(c, &found) // else SetMethod was faster, and holds for the next step
	return found.have, tried, nil
}

// offload tells what sysfs says of the device.
func (e *Eraser) offload() string {
	d, ok := e.dev.(interface{ WriteZeroesMax() int64 })
	if !ok || d.WriteZeroesMax() < 0 {
		return "write_zeroes_max_bytes is not known"
	}
	if n := d.WriteZeroesMax(); n > 0 {
		return fmt.Sprintf("the device does it by itself, write_zeroes_max_bytes is %d", n)
	}
	return "the kernel writes the zeros, for write_zeroes_max_bytes is 0"
}

// try marks x, durably, zeroes it by m, and reads it back. bad is what is wrong
// with m; err is final.
func (e *Eraser) try(m blockdev.Method, x blockdev.Extent) (bad, err error) {
	p := blockdev.Aligned(int(x.Len))
	copy(p, bytes.Repeat([]byte("slatefs erase probe "), len(p)/20+1))
	if _, err := e.dev.WriteAt(p, x.Off); err != nil {
		return fmt.Errorf("marks can't be written: %w", err), nil
	}
	if err := e.syncDevice(); err != nil {
		return nil, err
	}
	if err := e.dev.Zero(x.Off, x.Len, m); err != nil {
		return err, nil
	}
	if err := e.syncDevice(); err != nil {
		return nil, err
	}
	clear(p)
	p[0] = 1 // what a read does not fill is not zero
	if n, err := e.dev.ReadAt(p, x.Off); err != nil || n != len(p) {
		return fmt.Errorf("read back %d of %d bytes: %w", n, len(p), err), nil
	}
	for at := 0; at < len(p); at += blockBytes {
		if !bytes.Equal(p[at:at+blockBytes], zeroBlock[:]) {
			return fmt.Errorf("it says done, and %#x is not zero", x.Off+int64(at)), nil
		}
	}
	return nil, nil
}

// refused takes another method where the device turns out not to have the one
// in use. The caller holds the worker lock.
func (e *Eraser) refused(m blockdev.Method, err error) {
	c := e.choice.Load()
	if c.have != m {
		return
	}
	e.log.Warn("erase: method refused, zeros are written instead", "method", m.String(), "err", err)
	e.choice.CompareAndSwap(c, &choice{c.want, blockdev.Overwrite, fmt.Sprintf("the device refused %v: %v", m, err)})
}
