//go:build unix

package site

import (
	"io/fs"
	"os"
	"syscall"
)

// ownedByOther reports whether a file belongs neither to this user nor to root.
func ownedByOther(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && stat.Uid != 0 && int(stat.Uid) != os.Geteuid()
}
