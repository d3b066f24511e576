package containers

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // git's name for a file's content, not a signature
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"hookbuild/internal/bounded"
)

// gitIndex is the list of the files that git tracks. A checkout whose .git is a
// file, such as that of `git worktree add`, keeps it elsewhere.
const gitIndex = ".git/index"

// mostShown limits how many files a message names.
const mostShown = 3

// tracked is a file as git's index has it.
type tracked struct {
	size uint32 // modulo 2^32
	sum  [sha1.Size]byte
	// absent reports that git leaves the file out of the working tree (skip-worktree),
	// as in a sparse checkout.
	absent bool
}

// localChanges says which files of a container's directory git does not track, tracks
// with other content, or left out, and what to do about them. They are part of the
// container's hash, also if .gitignore has them. Both are "" if there are none or the
// checkout has no index that it can read: nothing depends on them but a message.
func localChanges(checkout fs.FS, c Container) (files, remedy string) {
	f, err := checkout.Open(gitIndex)
	if err != nil {
		return "", ""
	}
	text, err := bounded.ReadAll(f, bounded.Small)
	if err := errors.Join(err, f.Close()); err != nil {
		return "", ""
	}
	index, err := readIndex(text)
	if err != nil {
		return "", ""
	}
	dir := "images/" + c.Name
	untracked, changed, absent, err := compare(checkout, dir, index)
	if err != nil {
		return "", ""
	}
	var all []string
	for _, s := range []struct {
		are   string
		files []string
	}{{"not tracked by git", untracked}, {"changed", changed}, {"left out of the working tree by git", absent}} {
		if len(s.files) > 0 {
			all = append(all, shorten(s.files)+" ("+s.are+")")
		}
	}
	var remedies []string
	if len(untracked)+len(changed) > 0 {
		remedies = append(remedies, "remove or restore those that do not belong to the container")
	}
	if len(absent) > 0 {
		remedies = append(remedies, "check out those that git left out (`git sparse-checkout disable`)")
	}
	return strings.Join(all, " and "), strings.Join(remedies, ", and ")
}

func shorten(files []string) string {
	if len(files) > mostShown {
		return fmt.Sprintf("%s and %d more", strings.Join(files[:mostShown], ", "), len(files)-mostShown)
	}
	return strings.Join(files, ", ")
}

// compare returns the files below dir that the index does not have, those that differ
// from it or are gone, and those that git itself left out. A directory without a tracked
// file is named instead of its files.
func compare(checkout fs.FS, dir string, index map[string]tracked) (untracked, changed, absent []string, err error) {
	seen := map[string]bool{}
	err = fs.WalkDir(checkout, dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if below(index, name) {
				return nil
			}
			untracked = append(untracked, name+"/")
			return fs.SkipDir
		}
		entry, known := index[name]
		seen[name] = true
		switch {
		case !d.Type().IsRegular(): // not part of the hash
		case !known:
			untracked = append(untracked, name)
		default:
			same, err := entry.has(checkout, name)
			if err != nil {
				return err
			}
			if !same {
				changed = append(changed, name)
			}
		}
		return nil
	})
	for name, entry := range index {
		switch {
		case !strings.HasPrefix(name, dir+"/") || seen[name]:
		case entry.absent:
			absent = append(absent, name)
		default:
			changed = append(changed, name)
		}
	}
	slices.Sort(changed)
	slices.Sort(absent)
	return untracked, changed, absent, err
}

// below reports whether the index has a file in a directory.
func below(index map[string]tracked, dir string) bool {
	for name := range index {
		if strings.HasPrefix(name, dir+"/") {
			return true
		}
	}
	return false
}

// has reports whether a file has the content in the index.
func (t tracked) has(checkout fs.FS, name string) (same bool, err error) {
	f, err := checkout.Open(name)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil || uint32(info.Size()) != t.size { // the index has the lower 32 bits
		return false, err
	}
	h := sha1.New() //nolint:gosec // see above
	_, _ = fmt.Fprintf(h, "blob %d\x00", info.Size())
	if _, err := io.Copy(h, f); err != nil {
		return false, err
	}
	return bytes.Equal(h.Sum(nil), t.sum[:]), nil
}

// errIndex is the error of an index that git would not have written.
var errIndex = errors.New("it is not an index of git that is understood")

// readIndex reads an index of version 2, 3 or 4 with SHA-1 names, which gitformat-index(5)
// describes.
func readIndex(text []byte) (map[string]tracked, error) {
	const header, fixed = 12, 62 // bytes: of the file, and of an entry before its name
	if len(text) < header || string(text[:4]) != "DIRC" {
		return nil, errIndex
	}
	version, count := binary.BigEndian.Uint32(text[4:]), binary.BigEndian.Uint32(text[8:])
	if version < 2 || version > 4 || uint64(count)*fixed > uint64(len(text)) {
		return nil, errIndex
	}
	all, previous, rest := make(map[string]tracked, count), "", text[header:]
	for ; count > 0; count-- {
		if len(rest) < fixed {
			return nil, errIndex
		}
		entry := tracked{size: binary.BigEndian.Uint32(rest[36:])}
		copy(entry.sum[:], rest[40:])
		at := fixed
		if rest[60]&0x40 != 0 && len(rest) > fixed { // further flags
			entry.absent = rest[fixed]&0x40 != 0
			at += 2
		}
		kept := 0 // bytes of the previous name
		if version == 4 && at < len(rest) {
			cut, n := offset(rest[at:])
			if n == 0 || cut > uint64(len(previous)) {
				return nil, errIndex
			}
			at += n
			kept = len(previous) - int(cut)
		}
		if at > len(rest) {
			return nil, errIndex
		}
		end := bytes.IndexByte(rest[at:], 0)
		if end < 0 {
			return nil, errIndex
		}
		name := previous[:kept] + string(rest[at:at+end])
		if !fs.ValidPath(name) || path.Clean(name) != name {
			return nil, errIndex
		}
		next := at + end + 1
		if version < 4 {
			next = (at + end + 8) &^ 7 // entries end with one to eight zeros
		}
		if next > len(rest) {
			return nil, errIndex
		}
		all[name], previous, rest = entry, name, rest[next:]
	}
	return all, checkExtensions(rest)
}

// checkExtensions refuses what follows the entries of an index if it changes their
// meaning, as a split index does: git calls that by a name which does not begin with a
// capital letter.
func checkExtensions(rest []byte) error {
	const head = 8 // bytes: a name and a length
	for len(rest) > sha1.Size {
		if len(rest) < head+sha1.Size || rest[0] < 'A' || rest[0] > 'Z' {
			return errIndex
		}
		length := uint64(binary.BigEndian.Uint32(rest[4:]))
		if length > uint64(len(rest)-head-sha1.Size) {
			return errIndex
		}
		rest = rest[head+length:]
	}
	if len(rest) < sha1.Size { // of the checksum
		return errIndex
	}
	return nil
}

// offset reads one of git's variable-width numbers and returns how many bytes it has,
// 0 if it does not end.
func offset(b []byte) (value uint64, n int) {
	for n < len(b) && n < 8 {
		value = value<<7 | uint64(b[n]&0x7f)
		n++
		if b[n-1]&0x80 == 0 {
			return value, n
		}
		value++
	}
	return 0, 0
}
