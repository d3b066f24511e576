package zstd

import (
	"context"
	"math/bits"
)

// job is a part of the content that is compressed without knowing the output of
// the parts before it.
type job struct {
	data        []byte // the buffer up to the job's end
	from        int
	far         []copied
	first, last bool // of the frame
}

// worker compresses one job after the other.
type worker struct {
	parser parser
	blocks *blockWriter
}

func newWorker(o Options) *worker {
	w := &worker{parser: parser{effort: o.effort()}, blocks: newBlockWriter()}
	within := min(nearby, 1<<bits.Len(uint(o.Window-1)))
	reach := min(within, o.Window) - 1 // older bytes may be gone
	if w.parser.depth == 0 {
		w.parser.fast = newFastFinder(w.parser.effort, reach)
	} else {
		w.parser.near = newChainFinder(w.parser.effort, o.Window, within, reach)
	}
	return w
}

// compress appends the blocks of the job, independent of tables or distances of
// the blocks before. It stops between blocks when ctx ends.
func (w *worker) compress(ctx context.Context, out []byte, j job) []byte {
	w.blocks.forget()
	if w.parser.fast != nil {
		w.parser.fast.reset(j.data, j.from)
	} else {
		w.parser.near.reset(j.data, j.from)
	}
	w.parser.data, w.parser.far = j.data, j.far
	w.parser.recent = recent{}
	if j.first {
		w.parser.recent = recent{1, 4, 8} // the initial values of a frame
	}
	if j.from == len(j.data) {
		return appendHeader(out, j.last, rawBlock, 0)
	}
	for at := j.from; at < len(j.data) && ctx.Err() == nil; at += blockSize {
		end := min(at+blockSize, len(j.data))
		before := w.parser.recent
		w.parser.parse(at, end)
		var ok bool
		out, ok = w.blocks.write(out, j.data[at:end], w.parser.literals, w.parser.sequences, j.last && end == len(j.data))
		if !ok {
			w.parser.recent = before
		}
	}
	return out
}
