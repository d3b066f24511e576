package modules

import (
	"encoding/binary"
	"slices"
	"strings"
)

// The format of the binary indexes: three big-endian words (magic, version,
// offset of the root), followed by the nodes in pre-order. A node has,
// depending on its flags, a NUL-terminated prefix; the first and last byte that
// lead to children, and one offset for each byte in between; and a count of
// values, each with a priority and a NUL-terminated string. The flags are in
// the top bits of the offset that points to the node.
const (
	trieMagic   = 0xB007F457
	trieVersion = 2<<16 | 1

	trieHasPrefix   = 0x80000000
	trieHasValues   = 0x40000000
	trieHasChildren = 0x20000000

	// trieBytes is the number of bytes that can lead to a child: the format is
	// for 7-bit text.
	trieBytes = 128
)

type trieValue struct {
	priority uint32
	text     string
}

type trieNode struct {
	prefix   string
	values   []trieValue
	children map[byte]*trieNode
	size     uint32 // of this node
	total    uint32 // of this node and all below it
}

// insert adds a value under key. Values are ordered by priority. Among equal
// ones the later comes first, as in depmod. If key or text contains a byte that
// the format cannot hold, insert leaves it out and returns false.
func (n *trieNode) insert(key, text string, priority int) bool {
	if !plainText(key) || !plainText(text) {
		return false
	}
	for {
		n.split(commonPrefix(n.prefix, key))
		key = key[len(n.prefix):]
		if key == "" {
			break
		}
		child := n.children[key[0]]
		if child == nil {
			child = &trieNode{prefix: key[1:]}
			n.setChild(key[0], child)
			n = child
			break
		}
		n, key = child, key[1:]
	}
	v := trieValue{uint32(priority), text}
	at := slices.IndexFunc(n.values, func(w trieValue) bool { return w.priority >= v.priority })
	if at < 0 {
		at = len(n.values)
	}
	n.values = slices.Insert(n.values, at, v)
	return true
}

// split shortens a node's prefix to length and moves the rest to a single
// child.
func (n *trieNode) split(length int) {
	if length == len(n.prefix) {
		return
	}
	rest := *n
	rest.prefix = n.prefix[length+1:]
	branch := n.prefix[length]
	*n = trieNode{prefix: n.prefix[:length]}
	n.setChild(branch, &rest)
}

func (n *trieNode) setChild(b byte, child *trieNode) {
	if n.children == nil {
		n.children = map[byte]*trieNode{}
	}
	n.children[b] = child
}

func commonPrefix(a, b string) int {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	return i
}

func plainText(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r == 0 || r >= trieBytes }) < 0
}

// encode returns the complete index.
func (n *trieNode) encode() []byte {
	n.measure()
	const header = 3 * 4
	out := make([]byte, 0, header+n.total)
	out = binary.BigEndian.AppendUint32(out, trieMagic)
	out = binary.BigEndian.AppendUint32(out, trieVersion)
	out = binary.BigEndian.AppendUint32(out, header|n.flags())
	return n.write(out)
}

func (n *trieNode) flags() uint32 {
	var flags uint32
	if n.prefix != "" {
		flags |= trieHasPrefix
	}
	if len(n.values) > 0 {
		flags |= trieHasValues
	}
	if len(n.children) > 0 {
		flags |= trieHasChildren
	}
	return flags
}

// span returns the range of bytes that lead to children.
func (n *trieNode) span() (first, last byte) {
	first = trieBytes
	for b := range n.children {
		first, last = min(first, b), max(last, b)
	}
	return first, last
}

// measure sets the sizes of n and of all nodes below it.
func (n *trieNode) measure() uint32 {
	n.size, n.total = 0, 0
	if n.prefix != "" {
		n.size += uint32(len(n.prefix)) + 1
	}
	if len(n.children) > 0 {
		first, last := n.span()
		n.size += 2 + 4*(uint32(last-first)+1)
		for _, child := range n.children {
			n.total += child.measure()
		}
	}
	if len(n.values) > 0 {
		n.size += 4
		for _, v := range n.values {
			n.size += 4 + uint32(len(v.text)) + 1
		}
	}
	n.total += n.size
	return n.total
}

// write appends n and all nodes below it to out. The node's offset is the
// length of out.
func (n *trieNode) write(out []byte) []byte {
	next := uint32(len(out)) + n.size
	if n.prefix != "" {
		out = append(append(out, n.prefix...), 0)
	}
	first, last := n.span()
	if len(n.children) > 0 {
		out = append(out, first, last)
		for b := int(first); b <= int(last); b++ {
			offset := uint32(0)
			if child := n.children[byte(b)]; child != nil {
				offset = next | child.flags()
				next += child.total
			}
			out = binary.BigEndian.AppendUint32(out, offset)
		}
	}
	if len(n.values) > 0 {
		out = binary.BigEndian.AppendUint32(out, uint32(len(n.values)))
		for _, v := range n.values {
			out = binary.BigEndian.AppendUint32(out, v.priority)
			out = append(append(out, v.text...), 0)
		}
	}
	for b := int(first); b <= int(last); b++ {
		if child := n.children[byte(b)]; child != nil {
			out = child.write(out)
		}
	}
	return out
}
