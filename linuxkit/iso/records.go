package iso

import (
	"encoding/binary"
	"strings"
	"time"
)

// Numbers in ISO 9660 are in both byte orders, one after the other.

func put32(b []byte, n uint32) {
	binary.LittleEndian.PutUint32(b, n)
	binary.BigEndian.PutUint32(b[4:], n)
}

func put16(b []byte, n uint16) {
	binary.LittleEndian.PutUint16(b, n)
	binary.BigEndian.PutUint16(b[2:], n)
}

func both32(n uint32) []byte {
	b := make([]byte, 8)
	put32(b, n)
	return b
}

// putText fills b with text and spaces.
func putText(b []byte, text string) {
	copy(b, text+strings.Repeat(" ", max(0, len(b)-len(text))))
}

// primaryDescriptor returns the volume descriptor (ECMA-119, 8.4).
func (v *volume) primaryDescriptor() []byte {
	b := make([]byte, sectorSize)
	copy(b, "\x01CD001\x01")
	putText(b[8:40], "")
	putText(b[40:72], v.label)
	put32(b[80:], v.sectors)
	put16(b[120:], 1) // volumes in the set
	put16(b[124:], 1) // number in the set
	put16(b[128:], sectorSize)
	put32(b[132:], uint32(len(v.pathTable(binary.LittleEndian))))
	binary.LittleEndian.PutUint32(b[140:], littlePathTable)
	binary.BigEndian.PutUint32(b[148:], bigPathTable)
	copy(b[156:], v.record(v.root, "\x00", nil))
	putText(b[190:813], "") // publisher, preparer, application, files
	stamp := v.time.Format("20060102150405") + "00\x00"
	for _, at := range []int{813, 830, 864} { // created, changed, usable from
		copy(b[at:], stamp)
	}
	copy(b[847:], "0000000000000000\x00") // usable to: for ever
	b[881] = 1
	return b
}

// bootRecord returns the boot record, which refers to the boot catalog (El
// Torito, 2.0).
func bootRecord() []byte {
	b := make([]byte, sectorSize)
	copy(b, "\x00CD001\x01EL TORITO SPECIFICATION")
	binary.LittleEndian.PutUint32(b[71:], catalogSector)
	return b
}

// bootCatalog returns a catalog of one image for UEFI firmware, without floppy
// emulation.
func (v *volume) bootCatalog() []byte {
	const efi = 0xef
	b := make([]byte, sectorSize)
	b[0], b[1] = 1, efi
	b[30], b[31] = 0x55, 0xaa
	var sum uint16
	for i := 0; i < 32; i += 2 {
		sum += binary.LittleEndian.Uint16(b[i:])
	}
	binary.LittleEndian.PutUint16(b[28:], -sum) // the sum of the entry's words is 0
	entry := b[32:]
	entry[0] = 0x88 // bootable
	binary.LittleEndian.PutUint16(entry[6:], uint16((v.boot.Size+fatSector-1)/fatSector))
	binary.LittleEndian.PutUint32(entry[8:], v.bootAt)
	return b
}

// pathTable returns the list of directories (ECMA-119, 9.4). The few
// directories fit into its one sector.
func (v *volume) pathTable(order binary.AppendByteOrder) []byte {
	var b []byte
	for _, d := range v.directories() {
		b = append(b, byte(len(d.id)), 0)
		b = order.AppendUint32(b, d.sector)
		b = order.AppendUint16(b, d.parent.number)
		b = append(b, d.id...)
		if len(d.id)%2 == 1 {
			b = append(b, 0)
		}
	}
	return b
}

// directory returns a directory's content: records, none of which crosses the
// end of a sector.
func (v *volume) directory(d *node) []byte {
	self := posix(d)
	if d == v.root {
		self = append(sharingProtocol(), append(self, v.continuationArea()...)...)
	}
	records := [][]byte{v.record(d, "\x00", self), v.record(d.parent, "\x01", posix(d.parent))}
	for _, c := range d.children {
		records = append(records, v.record(c, c.id, append(posix(c), alternateName(c.name)...)))
	}
	var b []byte
	for _, r := range records {
		if left := sectorSize - len(b)%sectorSize; len(r) > left {
			b = append(b, make([]byte, left)...)
		}
		b = append(b, r...)
	}
	return append(b, make([]byte, (sectorSize-len(b)%sectorSize)%sectorSize)...)
}

// record returns a directory record (ECMA-119, 9.1) with a system use area.
func (v *volume) record(n *node, id string, systemUse []byte) []byte {
	b := make([]byte, 33, 255)
	put32(b[2:], n.sector)
	put32(b[10:], n.size)
	copy(b[18:], recordTime(v.time))
	if n.isDir {
		b[25] = 2
	}
	put16(b[28:], 1) // volume
	b[32] = byte(len(id))
	b = append(b, id...)
	if len(b)%2 == 1 {
		b = append(b, 0)
	}
	b = append(b, systemUse...)
	if len(b)%2 == 1 {
		b = append(b, 0)
	}
	b[0] = byte(len(b))
	return b
}

func recordTime(t time.Time) []byte {
	return []byte{byte(t.Year() - 1900), byte(t.Month()), byte(t.Day()), byte(t.Hour()), byte(t.Minute()), byte(t.Second()), 0}
}

// sharingProtocol returns the record that announces system use areas (SUSP,
// 5.3).
func sharingProtocol() []byte { return []byte("SP\x07\x01\xbe\xef\x00") }

// continuationArea returns the location of the rest of the root's area (SUSP,
// 5.1).
func (v *volume) continuationArea() []byte {
	b := []byte("CE\x1c\x01")
	b = append(b, both32(v.continuation)...)
	b = append(b, both32(0)...)
	return append(b, both32(uint32(len(extensionReference())))...)
}

// extensionReference returns the record that names Rock Ridge as the extension
// in use (RRIP, 4.3).
func extensionReference() []byte {
	const (
		id          = "RRIP_1991A"
		description = "THE ROCK RIDGE INTERCHANGE PROTOCOL PROVIDES SUPPORT FOR POSIX FILE SYSTEM SEMANTICS"
		source      = "PLEASE CONTACT DISC PUBLISHER FOR SPECIFICATION SOURCE.  SEE PUBLISHER IDENTIFIER IN PRIMARY VOLUME DESCRIPTOR FOR CONTACT INFORMATION."
	)
	text := id + description + source
	header := []byte{'E', 'R', byte(8 + len(text)), 1, byte(len(id)), byte(len(description)), byte(len(source)), 1}
	return append(header, text...)
}

// posix returns the record of a file's mode (RRIP, 4.1.1): readable by all, owned by root.
func posix(n *node) []byte {
	mode, links := uint32(0o100444), uint32(1)
	if n.isDir {
		mode, links = 0o040555, 2
	}
	b := []byte("PX\x24\x01")
	for _, number := range []uint32{mode, links, 0, 0} {
		b = append(b, both32(number)...)
	}
	return b
}

// alternateName returns the record of the original name (RRIP, 4.1.4).
func alternateName(name string) []byte {
	return append([]byte{'N', 'M', byte(5 + len(name)), 1, 0}, name...)
}
