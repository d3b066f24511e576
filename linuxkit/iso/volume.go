package iso

import (
	"context"
	"encoding/binary"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"hookbuild/internal/fault"
)

// The fixed positions of an ISO 9660 volume (ECMA-119), in sectors. That of the
// boot record is a rule of El Torito.
const (
	sectorSize      = 2048
	primarySector   = 16
	bootSector      = 17
	terminator      = 18
	catalogSector   = 19
	littlePathTable = 20
	bigPathTable    = 21
	firstDirectory  = 22
)

// volume is an ISO 9660 file system with Rock Ridge names, and a boot image.
type volume struct {
	label string
	time  time.Time
	root  *node
	boot  Content

	// The locations of the parts that are in no directory.
	continuation uint32 // of the root's system use area
	bootAt       uint32
	sectors      uint32 // of the whole volume
}

// node is a file or directory.
type node struct {
	name     string // in Rock Ridge
	id       string // in ISO 9660
	parent   *node
	children []*node // of a directory, by id
	isDir    bool
	content  Content
	sector   uint32
	size     uint32
	number   uint16 // of a directory in the path table, from 1
}

func newVolume(label string, t time.Time) *volume {
	if label == "" {
		label = "HOOKOS"
	}
	root := &node{isDir: true, id: "\x00"}
	root.parent = root
	return &volume{label: label, time: t.UTC(), root: root}
}

// add adds a file to the volume, with its parent directories.
func (v *volume) add(path string, c Content) error {
	if c.Size > math.MaxUint32 {
		return fault.Invalidf("%q has %d bytes; a file of an ISO image must be smaller than 4 GiB", path, c.Size)
	}
	dir := v.root
	parts := strings.Split(path, "/")
	for _, name := range parts[:len(parts)-1] {
		dir = dir.child(name, true)
	}
	file := dir.child(parts[len(parts)-1], false)
	file.content, file.size = c, uint32(c.Size)
	return nil
}

// child returns the entry for name, creating it if necessary.
func (n *node) child(name string, isDir bool) *node {
	id := identifier(name, isDir)
	at, found := slices.BinarySearchFunc(n.children, id, func(c *node, id string) int { return strings.Compare(c.id, id) })
	if !found {
		n.children = slices.Insert(n.children, at, &node{name: name, id: id, parent: n, isDir: isDir})
	}
	return n.children[at]
}

// identifier returns the plain ISO 9660 form of a name: "grub.cfg" becomes
// "GRUB.CFG;1", ".disk" becomes "_DISK".
func identifier(name string, isDir bool) string {
	base, ext, _ := strings.Cut(name, ".")
	if isDir {
		base, ext = name, ""
	}
	allowed := func(r rune) rune {
		if r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}
	base = strings.Map(allowed, strings.ToUpper(base))
	if isDir {
		return base
	}
	return base + "." + strings.Map(allowed, strings.ToUpper(ext)) + ";1"
}

// directories returns all directories in the order of the path table: by depth,
// then by the parent's number, then by id.
func (v *volume) directories() []*node {
	list := []*node{v.root}
	for i := 0; i < len(list); i++ {
		list[i].number = uint16(i + 1)
		for _, c := range list[i].children {
			if c.isDir {
				list = append(list, c)
			}
		}
	}
	return list
}

// layout assigns positions: directories, the continuation area, the boot image,
// the files, small ones first.
func (v *volume) layout() (files []*node, err error) {
	next := uint64(firstDirectory)
	take := func(size int64) uint32 {
		at := next
		next += uint64(size+sectorSize-1) / sectorSize
		return uint32(at)
	}
	dirs := v.directories()
	for _, d := range dirs {
		d.size = uint32(len(v.directory(d)))
		d.sector = take(int64(d.size))
		for _, c := range d.children {
			if !c.isDir {
				files = append(files, c)
			}
		}
	}
	v.continuation = take(int64(len(extensionReference())))
	v.bootAt = take(v.boot.Size)
	slices.SortStableFunc(files, func(a, b *node) int { return int(a.size/sectorSize) - int(b.size/sectorSize) })
	for _, f := range files {
		f.sector = take(f.content.Size)
	}
	if next > math.MaxUint32 {
		return nil, fault.Invalidf("the image would have %d sectors, more than ISO 9660 can count", next)
	}
	v.sectors = uint32(next)
	return files, nil
}

// write writes the volume from its first to its last sector.
func (v *volume) write(ctx context.Context, w io.Writer) error {
	files, err := v.layout()
	if err != nil {
		return err
	}
	out := &sectorWriter{w: w}
	out.bytes(make([]byte, primarySector*sectorSize))
	out.bytes(v.primaryDescriptor())
	out.bytes(bootRecord())
	out.bytes([]byte("\xffCD001\x01"))
	out.bytes(v.bootCatalog())
	out.bytes(v.pathTable(binary.LittleEndian))
	out.bytes(v.pathTable(binary.BigEndian))
	for _, d := range v.directories() {
		out.bytes(v.directory(d))
	}
	out.bytes(extensionReference())
	out.content(ctx, bootImage, v.boot)
	for _, f := range files {
		out.content(ctx, f.name, f.content)
	}
	return out.err
}

// sectorWriter writes data padded to sectors. After an error it does nothing.
type sectorWriter struct {
	w   io.Writer
	err error
}

func (s *sectorWriter) bytes(b []byte) {
	if s.err == nil {
		_, s.err = s.w.Write(b)
	}
	s.pad(int64(len(b)))
}

func (s *sectorWriter) content(ctx context.Context, name string, c Content) {
	if s.err != nil {
		return
	}
	s.err = c.copyTo(ctx, s.w, name)
	s.pad(c.Size)
}

func (s *sectorWriter) pad(written int64) {
	if rest := written % sectorSize; rest != 0 && s.err == nil {
		_, s.err = s.w.Write(make([]byte, sectorSize-rest))
	}
}
