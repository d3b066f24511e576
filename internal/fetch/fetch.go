// Package fetch opens what a user names as FILE or URL. What comes from a web
// server goes through the cache, and is fetched again when the server says that
// it has changed.
package fetch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strings"

	"hookbuild/internal/cache"
	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
)

// most bounds a download: a distribution's kernel with debugging symbols has 1 GB.
const most = 4 << 30

// kind is the cache's name for downloads.
const kind = "downloads"

// File is an opened file.
type File interface {
	io.ReaderAt
	io.Closer
	// Size is the file's length in bytes.
	Size() int64
}

// Options are what fetching needs.
type Options struct {
	Cache *cache.Cache
	// HTTP is the client; nil means [http.DefaultClient], which follows
	// HTTP_PROXY, HTTPS_PROXY and NO_PROXY.
	HTTP *http.Client
	// Offline forbids asking a server; what was fetched before still opens.
	Offline  bool
	Progress progress.Sink
}

// IsURL tells whether source is an http(s) URL and no path.
func IsURL(source string) bool {
	return strings.HasPrefix(source, "http://") || strings.HasPrefix(source, "https://")
}

// Open opens a path or a URL. Errors name it; those of a web server are marked
// [fault.Outside], those of a path [fault.Invalid].
func Open(ctx context.Context, source string, o Options) (File, error) {
	if IsURL(source) {
		return download(ctx, source, o)
	}
	f, err := os.Open(source)
	if err != nil {
		return nil, fault.Mark(err, fault.Invalid)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fault.Invalidf("opening %q: it is not a file", source)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return local{f, info.Size()}, nil
}

type local struct {
	*os.File
	size int64
}

// Size implements [File].
func (f local) Size() int64 { return f.size }

func download(ctx context.Context, url string, o Options) (File, error) {
	f, err := fromCache(ctx, url, o)
	if err != nil {
		return nil, fault.Outsidef("fetching %q: %w", url, err)
	}
	return f, nil
}

var errOffline = errors.New("it is not in the cache, and --offline forbids asking for it")

// fromCache gives what the server has now. The name of a version is kept by
// URL for the time without a server.
func fromCache(ctx context.Context, url string, o Options) (*cache.File, error) {
	var version string
	var err error
	if o.Offline {
		version, err = o.Cache.Note(kind, keyOf(url))
		if errors.Is(err, fs.ErrNotExist) {
			err = errOffline
		}
	} else {
		version, err = currentVersion(ctx, url, o)
	}
	if err != nil {
		return nil, err
	}
	f, _, err := o.Cache.Derived(ctx, kind, keyOf(url, version), func(w io.Writer) error {
		if o.Offline {
			return errOffline
		}
		return get(ctx, w, url, o)
	})
	if err == nil && !o.Offline {
		err = o.Cache.SetNote(kind, keyOf(url), version)
	}
	return f, err
}

// currentVersion is what the server says that changes with the content: its
// ETag, time and length; the same for ever where it says nothing.
func currentVersion(ctx context.Context, url string, o Options) (string, error) {
	response, err := ask(ctx, http.MethodHead, url, o)
	if err != nil {
		return "", err
	}
	if err := response.Body.Close(); err != nil {
		return "", err
	}
	switch response.StatusCode {
	case http.StatusOK:
		h := response.Header
		return fmt.Sprintf("%s %s %d", h.Get("ETag"), h.Get("Last-Modified"), response.ContentLength), nil
	case http.StatusMethodNotAllowed, http.StatusNotImplemented, http.StatusForbidden:
		return "unversioned", nil // signed URLs allow one method; GET will tell
	}
	return "", fmt.Errorf("the server answers %s", response.Status)
}

func ask(ctx context.Context, method, url string, o Options) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return nil, err
	}
	client := o.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	return client.Do(request)
}

func get(ctx context.Context, w io.Writer, url string, o Options) error {
	response, err := ask(ctx, http.MethodGet, url, o)
	if err != nil {
		return err
	}
	defer response.Body.Close() // what counts is whether all was read
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the server answers %s", response.Status)
	}
	task := progress.Start(o.Progress, max(response.ContentLength, 0), "fetch %s", url)
	n, err := io.Copy(w, io.LimitReader(task.Reader(response.Body), most+1))
	switch {
	case err == nil && n > most:
		err = fmt.Errorf("it has more than %d bytes", int64(most))
	case err == nil && response.ContentLength >= 0 && n != response.ContentLength:
		err = fmt.Errorf("the transfer ended after %d of %d bytes", n, response.ContentLength)
	}
	return task.End(err, "")
}

// Digest hashes a whole file: "sha256:...".
func Digest(f File) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, f.Size())); err != nil {
		return "", fmt.Errorf("hashing a file: %w", err)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

func keyOf(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:])
}
