package zstd

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
)

// jobSize is the number of bytes that a goroutine compresses at a time. The
// output depends on it.
const jobSize = 4 << 20

// Writer compresses what is written to it into one frame. It needs memory for
// the window, an eighth of it for an index, and about 8 MiB for each job.
type Writer struct {
	ctx     context.Context
	w       io.Writer
	options Options
	// memory has room for two windows and what is being compressed, so that its
	// content rarely moves. Only the last window and what is being compressed
	// take memory.
	memory   buffer
	buffer   []byte // beginning of memory, up to the last byte written
	begun    int    // bytes handed to goroutines so far
	released int    // bytes whose memory was released so far
	// started and finished count jobs; the last ones may be running.
	started  int
	finished atomic.Int64
	far      *longFinder
	sum      *xxhash.Digest
	first    bool // no job has started

	idle    chan *worker     // workers without a job; nil stands for one not yet created
	spare   chan []byte      // written results, for reuse
	results chan chan []byte // the results of the jobs, in order
	done    chan struct{}    // closed when everything is written
	failed  chan struct{}    // closed when writing failed, with err
	err     error
	closed  bool
}

// NewWriter returns a writer of one frame. Close must be called, even after an
// error: it ends the frame and the goroutines. When ctx ends, so does the work,
// within a block of each goroutine, and the frame stays incomplete: Write and
// Close return the context's error.
func NewWriter(ctx context.Context, w io.Writer, o Options) *Writer {
	o.Jobs = max(o.Jobs, 1)
	var descriptor byte
	o.Window, descriptor = o.window()
	z := &Writer{
		ctx: ctx, w: w, options: o, first: true,
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

// ErrClosed is the error of writing after [Writer.Close].
var ErrClosed = errors.New("the zstd frame is complete")

// Write compresses p. The error is from the underlying writer, possibly from an
// earlier call, or the context's.
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

// makeRoom drops what is older than the window if the buffer is full.
func (z *Writer) makeRoom() {
	if len(z.buffer)+jobSize <= cap(z.buffer) {
		return
	}
	// Wait until no goroutine reads the buffer.
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

// moveWindow moves the window from old to the free beginning of the buffer, in
// parts, so that two windows never take memory at once.
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

// begin starts a job for the bytes that arrived since the last one.
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
		result <- w.compress(z.ctx, z.spareResult(), j)
		z.idle <- w
	}()
	select {
	case <-z.failed:
		return z.err
	default:
		return nil
	}
}

// release releases the memory of what is older than the window of every running
// job.
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

// spareResult returns a buffer for a job's blocks, reusing a written one if
// possible.
func (z *Writer) spareResult() []byte {
	select {
	case p := <-z.spare:
		return p[:0]
	default:
		return nil
	}
}

const magic = 0xfd2fb528

// writeResults writes the frame, except the checksum at its end.
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
	err := z.ctx.Err() // a job may have stopped early
	if err == nil {
		_, err = z.w.Write(p)
	}
	if err != nil {
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
