package cache

import (
	"io/fs"
	"syscall"
	"time"
)

// accessTime returns a file's atime, or the zero time if it is not known.
func accessTime(info fs.FileInfo) time.Time {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return time.Unix(s.Atim.Unix())
	}
	return time.Time{}
}
