package zstd

import "math/bits"

// table encodes the codes of one kind by finite state entropy (RFC 8878, 4.1).
type table struct {
	log    uint    // there are 1<<log states
	counts []int16 // each code's share of the states; -1 means less than one
	next   []uint16
	steps  []step
}

// step describes how a code is encoded.
type step struct {
	bits  uint32 // number of bits to write, in 16.16, minus the state
	first int32  // index into next
}

const mostCodes = 64

// set builds the table of the given shares, whose sum is 1<<log.
func (t *table) set(counts []int16, log uint) {
	t.log = log
	t.counts = append(t.counts[:0], counts...)
	size := 1 << log
	if cap(t.next) < size {
		t.next = make([]uint16, size)
	}
	t.next = t.next[:size]
	t.steps = append(t.steps[:0], make([]step, len(counts))...)
	symbols := t.spread(size)
	var starts [mostCodes]int
	total := 0
	for code, share := range counts {
		starts[code] = total
		t.steps[code] = stepOf(share, log, total)
		total += max(int(share), -int(share))
	}
	for state, code := range symbols[:size] {
		t.next[starts[code]] = uint16(size + state)
		starts[code]++
	}
}

// spread assigns a code to each state, as the format requires.
func (t *table) spread(size int) (symbols [1 << 9]byte) {
	last := size - 1
	for code, share := range t.counts {
		if share == -1 {
			symbols[last] = byte(code)
			last--
		}
	}
	state, mask := 0, size-1
	for code, share := range t.counts {
		for range max(share, 0) {
			symbols[state] = byte(code)
			for state = (state + size>>1 + size>>3 + 3) & mask; state > last; {
				state = (state + size>>1 + size>>3 + 3) & mask
			}
		}
	}
	return symbols
}

func stepOf(share int16, log uint, total int) step {
	switch share {
	case 0:
		return step{}
	case 1, -1:
		return step{bits: uint32(log)<<16 - 1<<log, first: int32(total - 1)}
	}
	most := log - uint(bits.Len16(uint16(share-1))-1)
	return step{bits: uint32(most)<<16 - uint32(share)<<most, first: int32(total) - int32(share)}
}

// begin returns the state of the first code, which is encoded without output.
func (t *table) begin(code byte) uint32 {
	s := t.steps[code]
	n := (s.bits + 1<<15) >> 16
	value := n<<16 - s.bits
	return uint32(t.next[int32(value>>n)+s.first])
}

// encode writes the bits that lead back to state, and returns the state for the
// code.
func (t *table) encode(w *bitWriter, state uint32, code byte) uint32 {
	s := t.steps[code]
	n := (state + s.bits) >> 16
	w.add(uint64(state&(1<<n-1)), uint(n))
	return uint32(t.next[int32(state>>n)+s.first])
}

func (t *table) finish(w *bitWriter, state uint32) {
	w.add(uint64(state&(1<<t.log-1)), t.log)
}

// shares scales the frequencies of the codes to shares of 1<<log states. At
// least two codes must occur.
func shares(often []uint32, total int, log uint) []int16 {
	counts := make([]int16, len(often))
	left := 1 << log
	for code, n := range often {
		if n > 0 {
			counts[code] = int16(max(1, (int(n)<<log+total/2)/total))
			left -= int(counts[code])
		}
	}
	for left != 0 {
		code := worst(counts, often, left)
		if left > 0 {
			counts[code]++
			left--
		} else {
			counts[code]--
			left++
		}
	}
	return counts
}

// worst returns the code whose share is too small by most, or too large by most
// if states must be given up.
func worst(counts []int16, often []uint32, left int) int {
	found := -1
	for code, share := range counts {
		if share == 0 || left < 0 && share == 1 {
			continue
		}
		if found >= 0 {
			// Compare often/share without dividing.
			here, there := int64(often[code])*int64(counts[found]), int64(often[found])*int64(share)
			if left > 0 && here <= there || left < 0 && here >= there {
				continue
			}
		}
		found = code
	}
	return found
}

// logFor chooses the accuracy of a table: a finer one costs more to describe.
func logFor(codes, total int, most uint) uint {
	log := uint(max(bits.Len(uint(total))-2, bits.Len(uint(codes))+1, 5))
	return min(log, most)
}

// writeCounts writes a table's description (RFC 8878, 4.1.1).
func writeCounts(w *bitWriter, counts []int16, log uint) {
	w.add(uint64(log-5), 4)
	left := 1<<log + 1
	for code := 0; left > 1; {
		share := int(counts[code])
		code++
		writeShare(w, share, left)
		left -= max(share, -share)
		if share == 0 {
			zeros := 0
			for counts[code] == 0 {
				zeros++
				code++
			}
			writeZeros(w, zeros)
		}
		w.flush()
	}
	w.pad()
}

// writeShare writes one share out of those left, in as few bits as possible:
// small values save one.
func writeShare(w *bitWriter, share, left int) {
	width := uint(bits.Len(uint(left)))
	value, short := share+1, 1<<width-1-left
	switch {
	case value < short:
		w.add(uint64(value), width-1)
	case value < 1<<(width-1):
		w.add(uint64(value), width)
	default:
		w.add(uint64(value+short), width)
	}
}

// writeZeros writes the number of further codes without a share, three at a
// time.
func writeZeros(w *bitWriter, n int) {
	for ; n >= 3; n -= 3 {
		w.add(3, 2)
		w.flush()
	}
	w.add(uint64(n), 2)
}
