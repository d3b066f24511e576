package lzma2

import "encoding/binary"

const (
	mostContent = 2 << 20  // bytes that a chunk unpacks to
	mostPacked  = 64 << 10 // bytes of a chunk, without its header
	// tokenRoom is more than a token and the range coder's end can take: 40 bits
	// of at most 6.1 bits each, 26 that cost what they are, and 4 bytes.
	tokenRoom = 64
)

// The first byte of a chunk: what the decoder has to forget before it. Each of
// the packed ones forgets what those before it do.
const (
	endOfChunks     = 0
	storedFirst     = 1 // the dictionary
	stored          = 2
	packed          = 0x80 // or-ed with bits 16 to 20 of the content's size
	resetState      = 1 << 5
	resetProperties = 2 << 5 // five properties follow, in a byte
	resetDictionary = 3 << 5
)

// properties: 3 bits of the previous byte are a literal's context, and 2 of the
// position everything's.
const properties = (positionBits*5+0)*9 + literalBits

// chunker makes the chunks of LZMA2.
type chunker struct {
	coder  coder
	parser parser
	tokens []token // chosen, and not written yet
	reset  byte    // what the next chunk has to reset
}

func newChunker(size int) *chunker {
	c := &chunker{}
	c.coder.prices.bits = newBitPrices()
	c.coder.prices.slots = slotOf(uint32(size)) + 1
	c.parser.init(size, &c.coder)
	return c
}

// encode appends in as a sequence of chunks.
func (c *chunker) encode(out, in []byte) []byte {
	c.parser.begin(in)
	c.tokens = c.tokens[:0]
	c.reset = resetDictionary
	for start := 0; start < len(in); {
		if c.reset > 0 {
			c.coder.reset()
		}
		var content int
		out, content = c.chunk(out, in, start)
		start += content
	}
	return append(out, endOfChunks)
}

// chunk appends the chunk of what begins at start, and gives how many bytes of in
// are in it.
func (c *chunker) chunk(out, in []byte, start int) ([]byte, int) {
	head := len(out)
	out = append(out, 0, 0, 0, 0, 0)
	if c.reset >= resetProperties {
		out = append(out, properties)
	}
	body := len(out)
	c.coder.bits.begin(out)
	end := c.fill(in, start, body)
	out = c.coder.bits.end()
	content, size := end-start, len(out)-body
	if size >= content {
		return c.store(out[:head], in[start:end]), content
	}
	out[head] = packed | c.reset | byte((content-1)>>16)
	binary.BigEndian.PutUint16(out[head+1:], uint16(content-1))
	binary.BigEndian.PutUint16(out[head+3:], uint16(size-1))
	c.reset = 0
	return out, content
}

// fill writes tokens until the chunk that begins at body is full, and gives how
// far they reach.
func (c *chunker) fill(in []byte, start, body int) int {
	at := start
	for at < len(in) {
		if len(c.tokens) == 0 {
			c.tokens = c.parser.run(c.tokens, at)
		}
		for n := len(c.tokens) - 1; n >= 0; n-- {
			t := c.tokens[n]
			if len(c.coder.bits.out)-body > mostPacked-tokenRoom || at+int(t.length)-start > mostContent {
				return at
			}
			c.coder.write(c.parser.finder.data, at, t)
			at += int(t.length)
			c.tokens = c.tokens[:n]
		}
	}
	return at
}

// store appends content that did not shrink, which is why it fits. Tokens that
// were chosen already stay: the coder writes them as what they are after a reset.
func (c *chunker) store(out, content []byte) []byte {
	kind := byte(stored)
	if c.reset == resetDictionary {
		kind, c.reset = storedFirst, resetProperties
	}
	c.reset = max(c.reset, resetState)
	out = binary.BigEndian.AppendUint16(append(out, kind), uint16(len(content)-1))
	return append(out, content...)
}
