package artifact

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// clockTick is longer than the interval in which a kernel may give two changes of a
// file the same time: 10 ms with CONFIG_HZ=100.
const clockTick = 20 * time.Millisecond

// Settle waits until every later change of the published files changes their
// [Published.State].
func (p Published) Settle() { time.Sleep(clockTick) }

// State identifies the directory of artifacts and the tarball by what the file system
// says of them: the type, mode, inode, size, time of modification and time of change of
// each file. It is different after a file was written, replaced, renamed, added or
// removed, and needs none to be read. If one of the files does not exist, the error
// wraps [fs.ErrNotExist].
func (p Published) State() (string, error) {
	h := sha256.New()
	entries, err := os.ReadDir(p.Dir)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		if err := addState(h, filepath.Join(p.Dir, e.Name())); err != nil {
			return "", err
		}
	}
	if err := addState(h, p.Tarball); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func addState(w io.Writer, path string) error {
	state, err := FileState(path)
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, state)
	return err
}

// FileState identifies a file by what the file system says of it, as [Published.State]
// does.
func FileState(path string) (string, error) {
	var s unix.Stat_t
	if err := unix.Lstat(path, &s); err != nil {
		return "", &os.PathError{Op: "lstat", Path: path, Err: err}
	}
	return fmt.Sprintf("%q %d %d %o %d %d %d %d %d\n", path, s.Dev, s.Ino, s.Mode, s.Uid, s.Gid, s.Size, s.Mtim.Nano(), s.Ctim.Nano()), nil
}
