package deflate

// lengthRun is a symbol of the code in which a block tells the lengths of its
// codes: a length, or a repetition, with what stands in the extra bits.
type lengthRun struct {
	symbol uint8
	extra  uint8
}

const (
	repeatLast  = 16 // 3 to 6 times, 2 bits
	zeros       = 17 // 3 to 10, 3 bits
	manyZeros   = 18 // 11 to 138, 7 bits
	leastCodes  = 257
	lengthCodes = 19
)

// lengthOrder is the order in which the lengths of that code itself come
// (RFC 1951, section 3.2.7).
func lengthOrder() [lengthCodes]uint8 {
	return [...]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
}

func runExtra(symbol uint8) uint {
	switch symbol {
	case repeatLast:
		return 2
	case zeros:
		return 3
	case manyZeros:
		return 7
	}
	return 0
}

// describe prepares the description of the codes, and gives how many of each it
// lists.
func (c *codes) describe() (literals, distances int) {
	literals, distances = listed(c.literals[:], leastCodes), listed(c.distances[:], 1)
	lengths := make([]uint8, 0, litSymbols+len(c.distances))
	for _, code := range c.literals[:literals] {
		lengths = append(lengths, code.length)
	}
	for _, code := range c.distances[:distances] {
		lengths = append(lengths, code.length)
	}
	c.runs = appendRuns(c.runs[:0], lengths)
	var counts [lengthCodes]uint32
	for _, r := range c.runs {
		counts[r.symbol]++
	}
	assign(c.lengths[:], counts[:], 7)
	return literals, distances
}

// listed is how many codes are listed: those behind the last that occurs are
// not.
func listed(all []code, least int) int {
	n := len(all)
	for n > least && all[n-1].length == 0 {
		n--
	}
	return n
}

// appendRuns tells the lengths in runs.
func appendRuns(runs []lengthRun, lengths []uint8) []lengthRun {
	for len(lengths) > 0 {
		length, n := lengths[0], 1
		for n < len(lengths) && lengths[n] == length {
			n++
		}
		lengths = lengths[n:]
		if length > 0 {
			runs = append(runs, lengthRun{symbol: length})
			n--
		}
		for n > 0 {
			r, covered := longestRun(length, n)
			runs = append(runs, r)
			n -= covered
		}
	}
	return runs
}

// longestRun covers as many as it can of n equal lengths; a length that is not
// zero was told before.
func longestRun(length uint8, n int) (r lengthRun, covered int) {
	switch {
	case n < 3:
		return lengthRun{symbol: length}, 1
	case length > 0:
		covered = min(n, 6)
		return lengthRun{repeatLast, uint8(covered - 3)}, covered
	case n <= 10:
		return lengthRun{zeros, uint8(n - 3)}, n
	}
	covered = min(n, 138)
	return lengthRun{manyZeros, uint8(covered - 11)}, covered
}

// headerSize is the length of the description in bits, without how many codes it
// lists.
func (c *codes) headerSize() int {
	size := 0
	for _, r := range c.runs {
		size += int(c.lengths[r.symbol].length) + int(runExtra(r.symbol))
	}
	return size
}

func (c *codes) writeHeader(w *bitWriter, literals, distances int) {
	order := lengthOrder()
	n := len(order)
	for n > 4 && c.lengths[order[n-1]].length == 0 {
		n--
	}
	w.write(uint64(literals-leastCodes), 5)
	w.write(uint64(distances-1), 5)
	w.write(uint64(n-4), 4)
	for _, symbol := range order[:n] {
		w.write(uint64(c.lengths[symbol].length), 3)
	}
	for _, r := range c.runs {
		code := c.lengths[r.symbol]
		w.write(uint64(code.bits)|uint64(r.extra)<<code.length, uint(code.length)+runExtra(r.symbol))
	}
}
