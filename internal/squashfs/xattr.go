package squashfs

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The largest value (XATTR_SIZE_MAX) and name (XATTR_NAME_MAX) of an attribute
// that the kernel accepts, in bytes.
const (
	mostXattrValue = 64 << 10
	mostXattrName  = 255
)

// xattrPrefixes returns the name spaces of the format, by number.
func xattrPrefixes() []string { return []string{"user.", "trusted.", "security."} }

// xattrWriter collects the sets of attributes of inodes; equal sets are stored
// once.
type xattrWriter struct {
	pairs *metadataWriter
	ids   []byte // the table of sets: position, count, length
	known map[string]uint32
}

func newXattrWriter(comp compressor) *xattrWriter {
	return &xattrWriter{pairs: &metadataWriter{comp: comp}, known: map[string]uint32{}}
}

// add returns the number of the set, adding it if necessary.
func (x *xattrWriter) add(set map[string]string) (uint32, error) {
	if len(set) == 0 {
		return noXattr, nil
	}
	raw, err := packXattrs(set)
	if err != nil {
		return 0, err
	}
	if id, ok := x.known[string(raw)]; ok {
		return id, nil
	}
	id := uint32(len(x.known))
	x.known[string(raw)] = id
	x.ids = binary.LittleEndian.AppendUint64(x.ids, uint64(newRef(x.pairs.position())))
	x.ids = binary.LittleEndian.AppendUint32(x.ids, uint32(len(set)))
	x.ids = binary.LittleEndian.AppendUint32(x.ids, uint32(len(raw)))
	return id, x.pairs.write(raw)
}

func packXattrs(set map[string]string) ([]byte, error) {
	var raw []byte
	for _, name := range slices.Sorted(maps.Keys(set)) {
		space := slices.IndexFunc(xattrPrefixes(), func(p string) bool { return strings.HasPrefix(name, p) })
		if space < 0 {
			return nil, fmt.Errorf("squashfs cannot hold its attribute %q, only %s*", name, strings.Join(xattrPrefixes(), "*, "))
		}
		rest := strings.TrimPrefix(name, xattrPrefixes()[space])
		value := set[name]
		if rest == "" || len(name) > mostXattrName || len(value) > mostXattrValue {
			return nil, fmt.Errorf("its attribute %q of %d bytes is not valid on Linux", name, len(value))
		}
		raw = binary.LittleEndian.AppendUint16(raw, uint16(space))
		raw = binary.LittleEndian.AppendUint16(raw, uint16(len(rest)))
		raw = append(raw, rest...)
		raw = binary.LittleEndian.AppendUint32(raw, uint32(len(value)))
		raw = append(raw, value...)
	}
	return raw, nil
}

// table returns the complete table as it is at offset at of the image, and the
// position of the part to which the superblock refers, or noTable if there are
// no attributes. The kernel requires it to be the last table.
func (x *xattrWriter) table(comp compressor, at uint64) (all []byte, index uint64, err error) {
	if len(x.known) == 0 {
		return nil, noTable, nil
	}
	if err := x.pairs.flush(); err != nil {
		return nil, 0, err
	}
	ids := &metadataWriter{comp: comp}
	if err := ids.write(x.ids); err != nil {
		return nil, 0, err
	}
	if err := ids.flush(); err != nil {
		return nil, 0, err
	}
	idsAt := at + uint64(len(x.pairs.packed))
	all = slices.Concat(x.pairs.packed, ids.packed)
	index = at + uint64(len(all))
	all = binary.LittleEndian.AppendUint64(all, at)
	all = binary.LittleEndian.AppendUint32(all, uint32(len(x.known)))
	all = binary.LittleEndian.AppendUint32(all, 0)
	for _, start := range ids.starts {
		all = binary.LittleEndian.AppendUint64(all, idsAt+start)
	}
	return all, index, nil
}
