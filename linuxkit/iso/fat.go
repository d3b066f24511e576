package iso

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"
)

// The layout of the FAT12 image, according to Microsoft's "FAT: General
// Overview of On-Disk Format": boot sector, two tables, a root directory of
// fixed size, clusters. Firmware determines the kind of FAT by the number of
// clusters: fewer than 4085 mean FAT12.
const (
	fatSector      = 512
	fatRootEntries = 112 // seven sectors
	fatEntrySize   = 32
	fatMaxClusters = 4084
	fatTables      = 2
	fatMedia       = 0xf8 // fixed disk
	fatLastCluster = 0xfff
	fatDirectory   = 0x10 // attribute
	fatArchive     = 0x20 // attribute
)

// fatVolume is a FAT12 image under construction.
type fatVolume struct {
	sectorsPerCluster int
	sectorsPerTable   int
	clusters          int
	time              time.Time
	table             []uint16 // the first two entries are not clusters
	data              []byte
}

// fatImage returns an image that contains the file EFI/BOOT/name.
func fatImage(name string, content []byte, t time.Time) ([]byte, error) {
	f, err := newFAT12(len(content), t)
	if err != nil {
		return nil, err
	}
	const efi, boot, root = 2, 3, 0
	f.directory(efi, root, f.entry("BOOT", fatDirectory, boot, 0))
	f.directory(boot, efi, f.entry(name, fatArchive, 4, len(content)))
	f.store(4, content)
	rootDir := make([]byte, fatRootEntries*fatEntrySize)
	copy(rootDir, f.entry("EFI", fatDirectory, efi, 0))
	return f.image(rootDir), nil
}

// newFAT12 returns a volume with the smallest clusters that can hold size bytes
// and two directories.
func newFAT12(size int, t time.Time) (*fatVolume, error) {
	for perCluster := 1; perCluster <= 64; perCluster *= 2 {
		bytes := perCluster * fatSector
		clusters := 2 + (size+bytes-1)/bytes
		if clusters > fatMaxClusters {
			continue
		}
		// An entry of the table takes one and a half bytes.
		table := ((clusters+2)*3 + 1) / 2
		return &fatVolume{
			sectorsPerCluster: perCluster, sectorsPerTable: (table + fatSector - 1) / fatSector, clusters: clusters, time: t,
			table: append([]uint16{0xf00 | fatMedia, fatLastCluster}, make([]uint16, clusters)...),
			data:  make([]byte, clusters*bytes),
		}, nil
	}
	return nil, fmt.Errorf("%d bytes do not fit into a FAT12 image", size)
}

// directory fills a directory's cluster.
func (f *fatVolume) directory(cluster, parent int, entry []byte) {
	content := f.entry(".", fatDirectory, cluster, 0)
	content = append(content, f.entry("..", fatDirectory, parent, 0)...)
	f.store(cluster, append(content, entry...))
}

// store stores content in consecutive clusters.
func (f *fatVolume) store(cluster int, content []byte) {
	bytes := f.sectorsPerCluster * fatSector
	copy(f.data[(cluster-2)*bytes:], content)
	count := max(1, (len(content)+bytes-1)/bytes)
	for i := range count - 1 {
		f.table[cluster+i] = uint16(cluster + i + 1)
	}
	f.table[cluster+count-1] = fatLastCluster
}

// entry returns a directory entry for a name of the form 8.3.
func (f *fatVolume) entry(name string, attributes byte, cluster, size int) []byte {
	e := make([]byte, fatEntrySize)
	base, ext, _ := strings.Cut(name, ".")
	if name == "." || name == ".." {
		base, ext = name, ""
	}
	copy(e, fmt.Sprintf("%-8s%-3s", base, ext))
	e[11] = attributes
	date := uint16(f.time.Year()-1980)<<9 | uint16(f.time.Month())<<5 | uint16(f.time.Day())
	clock := uint16(f.time.Hour())<<11 | uint16(f.time.Minute())<<5 | uint16(f.time.Second()/2)
	le := binary.LittleEndian
	le.PutUint16(e[14:], clock) // created
	le.PutUint16(e[16:], date)
	le.PutUint16(e[18:], date)  // read
	le.PutUint16(e[22:], clock) // written
	le.PutUint16(e[24:], date)
	le.PutUint16(e[26:], uint16(cluster))
	le.PutUint32(e[28:], uint32(size))
	return e
}

func (f *fatVolume) image(rootDir []byte) []byte {
	table := f.encodeTable()
	image := f.bootSector()
	for range fatTables {
		image = append(image, table...)
	}
	image = append(image, rootDir...)
	return append(image, f.data...)
}

// encodeTable packs two entries of 12 bits into three bytes.
func (f *fatVolume) encodeTable() []byte {
	table := make([]byte, f.sectorsPerTable*fatSector)
	for i, entry := range f.table {
		at := i * 3 / 2
		if i%2 == 0 {
			table[at] = byte(entry)
			table[at+1] |= byte(entry >> 8)
			continue
		}
		table[at] |= byte(entry << 4)
		table[at+1] = byte(entry >> 4)
	}
	return table
}

func (f *fatVolume) bootSector() []byte {
	b := make([]byte, fatSector)
	copy(b, "\xeb\x3c\x90HOOKBLD ")
	le := binary.LittleEndian
	le.PutUint16(b[11:], fatSector)
	b[13] = byte(f.sectorsPerCluster)
	le.PutUint16(b[14:], 1) // reserved sectors: this one
	b[16] = fatTables
	le.PutUint16(b[17:], fatRootEntries)
	total := 1 + fatTables*f.sectorsPerTable + fatRootEntries*fatEntrySize/fatSector + f.clusters*f.sectorsPerCluster
	if total < 1<<16 {
		le.PutUint16(b[19:], uint16(total))
	} else {
		le.PutUint32(b[32:], uint32(total))
	}
	b[21] = fatMedia
	le.PutUint16(b[22:], uint16(f.sectorsPerTable))
	le.PutUint16(b[24:], 32) // sectors per track and heads: any geometry works
	le.PutUint16(b[26:], 64)
	b[36] = 0x80                        // drive
	b[38] = 0x29                        // the next three fields are present
	le.PutUint32(b[39:], 0x484f4f4b)    // serial number
	copy(b[43:], "HOOKOS     FAT12   ") // label, kind
	le.PutUint16(b[510:], 0xaa55)
	return b
}
