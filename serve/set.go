package serve

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// set holds the files of a directory at one moment. They are open, so they do not
// change when a build replaces them.
type set struct {
	files map[string]*file
	// mark changes when any file is replaced.
	mark string
	// users is the number of clients that are pinned to the set or read from it.
	users int
}

// file is one artifact.
type file struct {
	io.ReaderAt
	io.Closer
	size int64
	// modified is the zero time where it is not known.
	modified time.Time
	etag     string
}

// mostFiles limits the files of a set, which stay open.
const mostFiles = 500

// open opens the regular files directly in dir.
func open(dir string) (*set, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	s := &set{files: map[string]*file{}}
	var mark strings.Builder
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || len(s.files) == mostFiles {
			continue // hidden files are a build's temporary ones
		}
		f, err := openFile(filepath.Join(dir, e.Name()))
		if errors.Is(err, os.ErrNotExist) || f == nil && err == nil {
			continue
		}
		if err != nil {
			s.close()
			return nil, err
		}
		s.files[e.Name()] = f
		fmt.Fprintf(&mark, "%s %s\n", e.Name(), f.etag)
	}
	s.mark = mark.String()
	return s, nil
}

// openFile opens a regular file, and returns nil for anything else.
func openFile(name string) (*file, error) {
	info, err := os.Stat(name) // before opening: opening a FIFO blocks
	if err != nil || !info.Mode().IsRegular() {
		return nil, err
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	if info, err = f.Stat(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	etag := fmt.Sprintf(`"%x-%x-%s"`, info.Size(), info.ModTime().UnixNano(), identity(info))
	return &file{f, f, info.Size(), info.ModTime(), etag}, nil
}

func (s *set) close() {
	for _, f := range s.files {
		_ = f.Close() // opened for reading
	}
}

// pin ties a client to the set of its kernel.
type pin struct {
	set  *set
	last time.Time
}

// pinned is how long a client keeps its set without a request.
const pinned = 10 * time.Minute

// sets holds the sets in use. A client that requests a kernel or an ISO image from its
// beginning gets the newest set. Its next requests get the same set, so that kernel and
// initramfs match, and so do the ranges of an image.
type sets struct {
	dir string
	mu  sync.Mutex
	now *set
	// pins are by client address.
	pins map[string]*pin
}

// mostPins limits the clients that are remembered.
const mostPins = 20_000

// take implements [source].
func (s *sets) take(client, name string, resumes bool) (*file, func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refresh(); err != nil {
		return nil, nil, err
	}
	from := s.now
	first := strings.HasPrefix(name, "vmlinuz") || path.Ext(name) == ".iso" // what a machine requests first
	if p := s.pins[client]; p != nil && p.set.files[name] != nil && (!first || resumes) {
		p.last, from = time.Now(), p.set
	} else if first {
		s.pin(client)
	}
	f := from.files[name]
	if f == nil {
		return nil, func() {}, nil
	}
	from.users++
	return f, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.release(from)
	}, nil
}

func (s *sets) pin(client string) {
	s.unpin(client)
	if len(s.pins) < mostPins {
		s.now.users++
		s.pins[client] = &pin{s.now, time.Now()}
	}
}

func (s *sets) unpin(client string) {
	if p := s.pins[client]; p != nil {
		delete(s.pins, client)
		s.release(p.set)
	}
}

// names implements [source].
func (s *sets) names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.now.files))
}

// check implements [source].
func (s *sets) check() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refresh()
}

// release closes a set that nobody uses and that is not the newest.
func (s *sets) release(old *set) {
	if old.users--; old.users == 0 && old != s.now {
		old.close()
	}
}

// refresh opens the directory again if it has changed, and forgets clients that are
// gone.
func (s *sets) refresh() error {
	for client, p := range s.pins {
		if time.Since(p.last) > pinned {
			s.unpin(client)
		}
	}
	mark, err := markOf(s.dir)
	if s.now != nil && (err != nil || mark == s.now.mark) {
		return nil //nolint:nilerr // while a build exchanges the directory, the old set is still valid
	}
	next, err := open(s.dir)
	if err != nil {
		return err
	}
	old := s.now
	s.now = next
	if old != nil && old.users == 0 {
		old.close()
	}
	return nil
}

// markOf returns the value of [set.mark] for the directory.
func markOf(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	var mark strings.Builder
	n := 0
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || n == mostFiles {
			continue
		}
		info, err := os.Stat(filepath.Join(dir, e.Name()))
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		n++
		fmt.Fprintf(&mark, "%s \"%x-%x-%s\"\n", e.Name(), info.Size(), info.ModTime().UnixNano(), identity(info))
	}
	return mark.String(), nil
}

var _ source = (*sets)(nil)
