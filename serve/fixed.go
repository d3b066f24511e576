package serve

import (
	"io"
	"maps"
	"slices"
)

// Content is a file that does not change.
type Content struct {
	io.ReaderAt
	Name string
	Size int64 // bytes
	// Digest is what distinguishes the content, in letters and digits. It becomes
	// the ETag.
	Digest string
}

// fixed holds files that do not change, by name.
type fixed map[string]*file

// take implements [source].
func (f fixed) take(_, name string, _ bool) (*file, func(), error) { return f[name], func() {}, nil }

// names implements [source].
func (f fixed) names() []string { return slices.Collect(maps.Keys(f)) }

// check implements [source].
func (f fixed) check() error { return nil }

var _ source = fixed(nil)
