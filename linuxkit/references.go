package linuxkit

import (
	"maps"
	"slices"
)

// References lists the images that assembling d with o loads, by their long
// references, sorted.
func (d *Document) References(o Options) []string {
	return slices.Sorted(maps.Keys(d.wantedImages(o)))
}
