package zstd

import (
	"encoding/binary"
	"errors"
	"io"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
)

// jobSize is what a goroutine compresses at a time, in bytes. It decides the
// bytes that come out.
const jobSize = 4 << 20

// Writer compresses what is written to it into one frame. Its memory is the
// window, an eighth of it as an index, and some 8 MiB for each of its jobs.
type Writer struct {
	w       io.Writer
	options Options
	// memory has room for two windows and what is being compressed, so that its
	// content moves seldom. Only the last window and what is being compressed
	// take memory.
	memory   buffer
	buffer   []byte // memory's beginning, up to what was written last
	begun    int    // up to here the buffer was given to goroutines
	released int    // up to here its memory was given back
	// started and finished count jobs; those that run are the last ones.
	started  int
	finished atomic.Int64
	far      *longFinder
	sum      *xxhash.Digest
	first    bool // no job has begun

	idle    chan *worker     // those that have nothing to do; nil is one that was not made yet
	spare   chan []byte      // results that were written, to be used again
	results chan chan []byte // what they make, in order
	done    chan struct{}    // closed when all of it was written
	failed  chan struct{}    // closed when writing failed, with err
	err     error
	closed  bool
}

// NewWriter begins a frame. Close must be called, even after an error: it ends
// the frame and the goroutines.
func NewWriter(w io.Writer, o Options) *Writer {
	o.Jobs = max(o.Jobs, 1)
	var descriptor byte
	o.Window, descriptor = o.window()
	z := &Writer{
		w: w, options: o, first: true,
		memory: newBuffer(2*o.Window + (o.Jobs+2)*jobSize),
		far:    newLongFinder(o.Window), sum: xxhash.New(),
		idle: make(chan *worker, o.Jobs), spare: make(chan []byte, o.Jobs+1), results: make(chan chan []byte, o.Jobs),
		done: make(chan struct{}), failed: make(chan struct{}),
	}
	for range o.Jobs {
		z.idle <- nil
	}
	z.buffer = z.memory.all[:0]
	go z.writeResults(descriptor)
	return z
}

// ErrClosed is what writing gives after [Writer.Close].
var ErrClosed = errors.New("the zstd frame is complete")

// Write compresses p. The error is one of the underlying writer, which may be
// of an earlier call.
func (z *Writer) Write(p []byte) (int, error) {
	if z.closed {
		return 0, ErrClosed
	}
	_, _ = z.sum.Write(p) // a hash never fails
	written := 0
	for written < len(p) {
		if len(z.buffer) == z.begun {
			z.makeRoom()
		}
		part := p[written:]
		part = part[:min(len(part), z.begun+jobSize-len(z.buffer))]
		z.buffer = append(z.buffer, part...)
		written += len(part)
		if len(z.buffer) < z.begun+jobSize {
			continue
		}
		if err := z.begin(false); err != nil {
			return written, err
		}
	}
	return written, nil
}

// makeRoom drops what is older than the window, when the buffer is full.
func (z *Writer) makeRoom() {
	if len(z.buffer)+jobSize <= cap(z.buffer) {
		return
	}
	// Nobody may be reading.
	var all []*worker
	for range z.options.Jobs {
		all = append(all, <-z.idle)
	}
	old := len(z.buffer) - z.options.Window
	z.moveWindow(old)
	z.begun -= old
	z.far.slide(old)
	for _, w := range all {
		z.idle <- w
	}
}

// moveWindow moves the window from old to the buffer's beginning, which is free.
// It does so in parts, so that never two windows take memory.
func (z *Writer) moveWindow(old int) {
	window := z.options.Window
	z.released = max(z.released, window)
	for at := 0; at < window; at += released {
		end := min(at+released, window)
		copy(z.buffer[at:end], z.buffer[old+at:])
		z.releaseTo(old + end)
	}
	z.buffer, z.released = z.buffer[:window], 0
}

// begin lets a goroutine compress what the buffer has got.
func (z *Writer) begin(last bool) error {
	j := job{data: z.buffer, from: z.begun, far: z.far.find(z.buffer, z.begun), first: z.first, last: last}
	z.begun, z.first = len(z.buffer), false
	z.started++
	z.release()
	w := <-z.idle
	if w == nil {
		w = newWorker(z.options)
	}
	result := make(chan []byte, 1)
	z.results <- result
	go func() {
		result <- w.compress(z.spareResult(), j)
		z.idle <- w
	}()
	select {
	case <-z.failed:
		return z.err
	default:
		return nil
	}
}

// release gives back the memory of what is older than the window of every job
// that runs.
func (z *Writer) release() {
	running := z.started - int(z.finished.Load())
	z.releaseTo(z.begun - running*jobSize - z.options.Window)
}

func (z *Writer) releaseTo(old int) {
	if old >= z.released+released {
		z.memory.release(z.released, old)
		z.released = old / released * released
	}
}

// spareResult gives room for a job's blocks, of one that was written if there
// is one.
func (z *Writer) spareResult() []byte {
	select {
	case p := <-z.spare:
		return p[:0]
	default:
		return nil
	}
}

const magic = 0xfd2fb528

// writeResults writes the frame, but for the checksum at its end.
func (z *Writer) writeResults(window byte) {
	defer close(z.done)
	const checksum = 1 << 2
	header := binary.LittleEndian.AppendUint32(nil, magic)
	header = append(header, checksum, window)
	z.write(header)
	for result := range z.results {
		blocks := <-result
		z.finished.Add(1)
		z.write(blocks)
		select {
		case z.spare <- blocks:
		default:
		}
	}
}

func (z *Writer) write(p []byte) {
	if z.err != nil {
		return
	}
	if _, err := z.w.Write(p); err != nil {
		z.err = err
		close(z.failed)
	}
}

// Close completes the frame. It does not close the underlying writer.
func (z *Writer) Close() error {
	if z.closed {
		return ErrClosed
	}
	z.closed = true
	err := z.begin(true)
	close(z.results)
	<-z.done
	z.memory.free()
	z.far.free()
	z.buffer = nil
	if err == nil {
		z.write(binary.LittleEndian.AppendUint32(nil, uint32(z.sum.Sum64())))
		err = z.err
	}
	return err
}
