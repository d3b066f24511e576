package lzma2

import "math/bits"

// prob is the probability that a bit is 0, in 1/2048.
type prob = uint16

const (
	probBits = 11
	evenProb = 1 << (probBits - 1)
	adapt    = 5 // a bit moves its probability by 1/32 of what is left
)

// bitWriter is the range coder. What is written so far is a number between low
// and low+width.
type bitWriter struct {
	out        []byte
	low, width uint32
}

// begin goes on behind out with the byte that is always 0.
func (w *bitWriter) begin(out []byte) {
	*w = bitWriter{out: append(out, 0), width: 1<<32 - 1}
}

// bit writes a bit, which is 0 or 1.
func (w *bitWriter) bit(p *prob, bit uint32) {
	v := *p
	bound := w.width >> probBits * uint32(v)
	if bit == 0 {
		w.width = bound
		*p = v + (1<<probBits-v)>>adapt
	} else {
		w.width -= bound
		*p = v - v>>adapt
		w.add(bound)
	}
	if w.width < 1<<24 {
		w.shift()
	}
}

// even writes the lowest n bits of v, the highest first, each as likely 0 as 1.
func (w *bitWriter) even(v uint32, n uint) {
	for n > 0 {
		n--
		w.width >>= 1
		if v>>n&1 > 0 {
			w.add(w.width)
		}
		if w.width < 1<<24 {
			w.shift()
		}
	}
}

func (w *bitWriter) add(v uint32) {
	w.low += v
	if w.low >= v {
		return
	}
	// The byte that is always 0 ends every carry.
	for i := len(w.out) - 1; ; i-- {
		w.out[i]++
		if w.out[i] > 0 {
			return
		}
	}
}

func (w *bitWriter) shift() {
	w.out = append(w.out, byte(w.low>>24))
	w.low <<= 8
	w.width <<= 8
}

// end writes low whole: decoders check that nothing is left of it.
func (w *bitWriter) end() []byte {
	for range 4 {
		w.shift()
	}
	return w.out
}

// tree writes the bits of v, the highest first, each with a probability of its
// own for what came before it. There are as many values as probabilities.
func (w *bitWriter) tree(probs []prob, v uint32) {
	node := uint32(1)
	for i := bits.Len(uint(len(probs))) - 2; i >= 0; i-- {
		bit := v >> i & 1
		w.bit(&probs[node], bit)
		node = node<<1 | bit
	}
}

// reversed writes n bits of v like tree, but the lowest first.
func (w *bitWriter) reversed(probs []prob, v uint32, n uint) {
	node := uint32(1)
	for range n {
		bit := v & 1
		w.bit(&probs[node], bit)
		node = node<<1 | bit
		v >>= 1
	}
}
