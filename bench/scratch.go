package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// scratch is a directory for everything that a run makes, with a list of what
// else must be undone at its end.
type scratch struct {
	dir    string
	ending []func() error
}

func openScratch(below string) (*scratch, error) {
	dir, err := os.MkdirTemp(below, "hookbuild-bench-")
	if err != nil {
		return nil, fmt.Errorf("making a directory for temporary files: %w; choose another with -work", err)
	}
	dir, err = filepath.Abs(dir)
	return &scratch{dir: dir}, err
}

// atEnd registers f to be called by Close, last one first.
func (s *scratch) atEnd(f func() error) { s.ending = append(s.ending, f) }

// sub creates a directory.
func (s *scratch) sub(name string) (string, error) {
	return os.MkdirTemp(s.dir, name+"-")
}

// Close ends what runs, unmounts what is mounted below the directory and
// removes it.
func (s *scratch) Close() error {
	var all error
	for _, f := range slices.Backward(s.ending) {
		all = errors.Join(all, f())
	}
	if err := unmountBelow(s.dir); err != nil {
		return errors.Join(all, err) // removing would delete what is mounted
	}
	return errors.Join(all, os.RemoveAll(s.dir))
}

// discard removes a directory of the scratch early, with what is mounted in it.
func (s *scratch) discard(dir string) error {
	if err := unmountBelow(dir); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// unmountBelow unmounts everything in dir, the last mount first.
func unmountBelow(dir string) error {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	defer f.Close() // only read
	points, err := mountsBelow(bufio.NewScanner(f), dir)
	if err != nil {
		return err
	}
	for _, at := range slices.Backward(points) {
		if err := unix.Unmount(at, unix.UMOUNT_NOFOLLOW); err != nil {
			return fmt.Errorf("unmounting %q: %w", at, err)
		}
	}
	return nil
}

// mountsBelow returns the mount points in lines of the format that proc(5)
// describes under mountinfo.
func mountsBelow(lines *bufio.Scanner, dir string) ([]string, error) {
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var points []string
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 5 {
			continue
		}
		if at := unescape.Replace(fields[4]); at == dir || strings.HasPrefix(at, dir+"/") {
			points = append(points, at)
		}
	}
	return points, lines.Err()
}
