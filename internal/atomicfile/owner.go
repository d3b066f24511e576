package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// WithOwner adds to an error about missing permission whose directory it is, and how
// to get it, if it is another user's. Of a directory that does not exist or is closed
// to this user, it is the nearest one above.
func WithOwner(dir string, err error) error {
	return withOwner(dir, os.Geteuid(), err)
}

func withOwner(dir string, uid int, err error) error {
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	for {
		info, statErr := os.Stat(dir)
		parent := filepath.Dir(dir)
		if statErr != nil && parent != dir {
			dir = parent
			continue
		}
		if statErr != nil {
			return err
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !ok || int(stat.Uid) == uid {
			return err
		}
		return fmt.Errorf("%w: %q belongs to %s; if earlier runs with sudo made it: sudo chown -R %d %s", err, dir, userName(stat.Uid), uid, dir)
	}
}

// userName returns a user's name, or the number of one without a name.
func userName(uid uint32) string {
	number := strconv.FormatUint(uint64(uid), 10)
	u, err := user.LookupId(number)
	if err != nil {
		return "user " + number
	}
	return u.Username
}
