package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"

	"hookbuild/internal/atomicfile"
	"hookbuild/internal/fault"
	"hookbuild/internal/fetch"
	"hookbuild/internal/web"
)

// mostArchive limits the size of an archive; that of Linux 6.12 is 150 MB.
const mostArchive = 2 << 30

// download fetches url into file. The partial content of an interrupted
// download stays next to it, and the next download resumes from there.
func download(ctx context.Context, o Options, url string, pinned bool, file string) error {
	if o.Offline {
		return fault.Outsidef("fetching %q: %w", web.Show(url), fetch.ErrOffline)
	}
	err := o.client().Download(ctx, web.Request{URL: url, Most: mostArchive, Pinned: pinned}, file)
	return fault.Mark(err, fault.Outside)
}

// small fetches a file that fits in memory.
func small(ctx context.Context, o Options, url string, most int64, check func([]byte) error) ([]byte, error) {
	if o.Offline {
		return nil, fmt.Errorf("fetching %q: %w", web.Show(url), fetch.ErrOffline)
	}
	content, err := o.client().Get(ctx, web.Request{URL: url, Most: most}, func(content []byte, _ http.Header) error {
		if bytes.HasPrefix(bytes.TrimSpace(content), []byte("<")) {
			return web.Final(errors.New("the response is a web page; it may come from a proxy or a login page"))
		}
		return check(content)
	})
	if err != nil {
		return nil, fmt.Errorf("fetching %q: %w", web.Show(url), err)
	}
	return content, nil
}

// anything accepts all content. It is for content that a later step verifies.
func anything([]byte) error { return nil }

// writeFile replaces a small file atomically.
func writeFile(name string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return atomicfile.Write(name, 0o600, func(w io.Writer) error { _, err := w.Write(content); return err })
}

func exists(name string) (bool, error) {
	_, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func sortVersions(list []string) {
	slices.SortFunc(list, func(a, b string) int {
		v, errV := ParseVersion(a)
		w, errW := ParseVersion(b)
		if errV != nil || errW != nil {
			return len(a) - len(b)
		}
		return v.Compare(w)
	})
}
