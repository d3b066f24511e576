package initramfs

import "iter"

const (
	tmpfsPage  = 4096
	tmpfsInode = 1 << 10
)

// TmpfsSize returns the memory that files take on LinuxKit's tmpfs, in bytes:
// whole pages of content, with a copy for every hard link, because LinuxKit's
// init makes one, and an inode for every name.
func TmpfsSize(files iter.Seq[Entry]) int64 {
	var total int64
	sizes := map[string]int64{}
	var links []string
	for e := range files {
		total += tmpfsInode
		switch e.Type {
		case Regular:
			pages := (e.Size + tmpfsPage - 1) / tmpfsPage * tmpfsPage
			total += pages
			sizes[e.Path] = pages
		case HardLink:
			links = append(links, e.Target)
		}
	}
	for _, target := range links {
		total += sizes[target]
	}
	return total
}
