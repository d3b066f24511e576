package cache

import (
	"context"
	"io"
)

const (
	asyncBuffer  = 256 << 10
	asyncBuffers = 4
)

// asyncWriter writes to w on its own goroutine, so that hashing and storing run
// concurrently with producing the content. Close waits for pending writes and
// returns the first error of w or of the context.
type asyncWriter struct {
	ctx  context.Context
	buf  []byte
	full chan []byte
	free chan []byte
	done chan struct{}
	err  error // the error of w; valid once done is closed
}

func newAsyncWriter(ctx context.Context, w io.Writer) *asyncWriter {
	a := &asyncWriter{
		ctx:  ctx,
		full: make(chan []byte, asyncBuffers),
		free: make(chan []byte, asyncBuffers),
		done: make(chan struct{}),
	}
	for range asyncBuffers {
		a.free <- nil // made on first use: most files are small
	}
	go a.drain(w)
	return a
}

// drain writes the full buffers to w. It returns when full is closed, or at the
// first error.
func (a *asyncWriter) drain(w io.Writer) {
	defer close(a.done)
	for b := range a.full {
		if _, a.err = w.Write(b); a.err != nil {
			return
		}
		a.free <- b[:0]
	}
}

// Write implements [io.Writer]; it keeps a copy of p.
func (a *asyncWriter) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		if err := a.room(); err != nil {
			return written, err
		}
		n := min(len(p), asyncBuffer-len(a.buf))
		a.buf = append(a.buf, p[:n]...)
		p = p[n:]
		written += n
	}
	return written, nil
}

// room ensures that buf has space for a byte.
func (a *asyncWriter) room() error {
	if a.buf != nil && len(a.buf) < asyncBuffer {
		return a.ctx.Err()
	}
	if err := a.flush(); err != nil {
		return err
	}
	select {
	case b := <-a.free:
		if b == nil {
			b = make([]byte, 0, asyncBuffer)
		}
		a.buf = b
		return nil
	case <-a.done:
		return a.err
	case <-a.ctx.Done():
		return a.ctx.Err()
	}
}

func (a *asyncWriter) flush() error {
	if len(a.buf) == 0 {
		return nil
	}
	select {
	case a.full <- a.buf:
		a.buf = nil
		return nil
	case <-a.done:
		return a.err
	case <-a.ctx.Done():
		return a.ctx.Err()
	}
}

func (a *asyncWriter) Close() error {
	err := a.flush()
	close(a.full)
	<-a.done
	if a.err != nil {
		return a.err
	}
	return err
}
