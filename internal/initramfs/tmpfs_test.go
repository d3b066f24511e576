package initramfs

import (
	"slices"
	"testing"
)

func TestTmpfsSizeCountsEveryName(t *testing.T) {
	list := []Entry{
		{Path: "a", Size: 1}, {Path: "b", Size: tmpfsPage + 1}, {Path: "0", Type: HardLink, Target: "b"}, {Path: "d", Type: Dir},
	}
	want := int64(5*tmpfsPage + 4*tmpfsInode)
	if got := TmpfsSize(slices.Values(list)); got != want {
		t.Errorf("got %d bytes, want %d", got, want)
	}
}
