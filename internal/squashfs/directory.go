package squashfs

import "encoding/binary"

// child is an entry of a directory's listing.
type child struct {
	name   string
	ref    inodeRef
	number uint32
	kind   uint16 // a basic type
}

// listing locates a directory's entries in the directory table.
type listing struct {
	block  uint64
	offset int
	size   int
	index  []indexEntry
}

// indexEntry lets the kernel skip to a metadata block of a long listing.
type indexEntry struct {
	at    uint32 // where in the listing the run of entries begins
	block uint32 // the metadata block that holds it
	name  string // the run's first name
}

// run is a part of a listing whose entries' inodes are in one metadata block.
type run []child

const (
	mostInRun     = 256
	runHeaderSize = 12
	childHeader   = 8
)

// writeListing writes the listing of a directory's children, which are sorted
// by name.
func writeListing(m *metadataWriter, children []child) (listing, error) {
	var l listing
	l.block, l.offset = m.position()
	indexed := 0 // the last metadata block of the listing that is in the index
	for _, r := range splitRuns(children, l.offset) {
		block, _ := m.position()
		if at := (l.offset + l.size) / metadataSize; at > indexed {
			l.index = append(l.index, indexEntry{uint32(l.size), uint32(block), r[0].name})
			indexed = at
		}
		raw := r.bytes()
		if err := m.write(raw); err != nil {
			return l, err
		}
		l.size += len(raw)
	}
	return l, nil
}

// splitRuns cuts the children into runs for a listing that begins at offset of
// a metadata block. A run also ends where it reaches the next metadata block,
// so that the index can refer to that.
func splitRuns(children []child, offset int) []run {
	var runs []run
	var current run
	begun, at := 0, offset // positions of the run and of the next child
	for _, c := range children {
		if len(current) == 0 || !current.takes(c) || at/metadataSize > begun/metadataSize {
			if len(current) > 0 {
				runs = append(runs, current)
			}
			current, begun = nil, at
			at += runHeaderSize
		}
		current = append(current, c)
		at += childHeader + len(c.name)
	}
	if len(current) > 0 {
		runs = append(runs, current)
	}
	return runs
}

// takes reports whether c fits into the run: its inode is in the same block,
// and its number differs by less than 2^15 from that of the first.
func (r run) takes(c child) bool {
	away := int64(c.number) - int64(r[0].number)
	return len(r) < mostInRun && c.ref.block() == r[0].ref.block() && int64(int16(away)) == away
}

func (r run) bytes() []byte {
	var b []byte
	b = binary.LittleEndian.AppendUint32(b, uint32(len(r)-1))
	b = binary.LittleEndian.AppendUint32(b, uint32(r[0].ref.block()))
	b = binary.LittleEndian.AppendUint32(b, r[0].number)
	for _, c := range r {
		b = binary.LittleEndian.AppendUint16(b, uint16(c.ref.offset()))
		b = binary.LittleEndian.AppendUint16(b, uint16(c.number-r[0].number))
		b = binary.LittleEndian.AppendUint16(b, c.kind)
		b = binary.LittleEndian.AppendUint16(b, uint16(len(c.name)-1))
		b = append(b, c.name...)
	}
	return b
}
