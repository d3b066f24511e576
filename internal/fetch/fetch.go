// Package fetch opens what a user names as FILE or URL. Downloads go through
// the cache. A URL with a checksum (URL#sha256=HEX) is fetched once; any other
// is fetched again when the server reports that it has changed.
package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"syscall"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/internal/cache"
	"hookbuild/internal/digest"
	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
	"hookbuild/internal/web"
)

// most is the largest download, in bytes: a distribution's kernel with
// debugging symbols is about 1 GB.
const most = 4 << 30

// kind is the cache's name for downloads.
const kind = "downloads"

// File is an opened file.
type File interface {
	io.ReaderAt
	io.Closer
	// Size returns the file's length in bytes.
	Size() int64
}

// Options configure [Open].
type Options struct {
	Cache *cache.Cache
	// Web is the client; nil means one with the default limits.
	Web *web.Client
	// Offline forbids network access; earlier downloads still open.
	Offline  bool
	Progress progress.Sink
}

func (o Options) client() *web.Client {
	if o.Web != nil {
		return o.Web
	}
	return web.New(web.Options{Progress: o.Progress})
}

// Open opens a path or a URL, which may carry its checksum in the form that
// [web.Split] reads. Errors name the source as far as it may be shown; those of
// a web server are marked [fault.Outside], those of a path [fault.Invalid].
func Open(ctx context.Context, source string, o Options) (File, error) {
	if web.IsURL(source) {
		return download(ctx, source, o)
	}
	// Without O_NONBLOCK, a FIFO without a writer would block.
	f, err := os.OpenFile(source, os.O_RDONLY|syscall.O_NONBLOCK, 0)
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

func download(ctx context.Context, source string, o Options) (File, error) {
	address, sum, err := web.Split(source)
	if err != nil {
		return nil, err
	}
	open := current
	if sum != "" {
		open = pinned
	}
	f, err := open(ctx, web.Request{URL: address, Most: most, Pinned: sum != ""}, sum, o)
	if err != nil {
		return nil, fault.Outsidef("fetching %q: %w", web.Show(address), err)
	}
	return f, nil
}

func noteUnchecked(url string, o Options) {
	progress.Notef(o.Progress, "%s is fetched over plain HTTP and not verified; add #sha256=HEX to the address", web.Show(url))
}

// ErrOffline is the reason why --offline forbids a download.
var ErrOffline = errors.New("it is not in the cache, and --offline forbids fetching it; `hookbuild kit load FILE` brings it there from a kit")

// pinned opens content by its checksum. The server is not asked for content
// that the cache has.
func pinned(ctx context.Context, r web.Request, sum string, o Options) (*cache.File, error) {
	return filled(ctx, sum, o, func(w io.Writer) error { return get(ctx, w, r, o) })
}

// filled opens content by its checksum; fill fetches it where the cache has none.
func filled(ctx context.Context, sum string, o Options, fill func(io.Writer) error) (*cache.File, error) {
	f, err := o.Cache.PutBlob(ctx, kind, v1.Hash{Algorithm: "sha256", Hex: sum}, fill)
	var wrong *cache.DigestError
	if errors.As(err, &wrong) {
		return nil, fault.Invalidf("its sha256 is %s, want %s; check the address and the checksum", wrong.Got.Hex, sum)
	}
	return f, err
}

// current opens what the server has now. It notes the version by URL for use
// when the server is unreachable or the client offline.
func current(ctx context.Context, r web.Request, _ string, o Options) (*cache.File, error) {
	if web.IsPlain(r.URL) && !o.Offline {
		noteUnchecked(r.URL, o)
	}
	var version string
	var err error
	if o.Offline {
		version, err = o.Cache.Note(kind, digest.OfStrings(r.URL))
		if errors.Is(err, fs.ErrNotExist) {
			err = ErrOffline
		}
	} else {
		version, err = currentVersion(ctx, r, o)
	}
	if err != nil {
		return nil, err
	}
	f, _, err := o.Cache.Derived(ctx, kind, digest.OfStrings(r.URL, version), func(w io.Writer) error { return get(ctx, w, r, o) })
	if err == nil && !o.Offline {
		err = o.Cache.SetNote(kind, digest.OfStrings(r.URL), version)
	}
	return f, err
}

// currentVersion returns a string that changes with the content: the server's
// ETag, time and length. It is constant if the server sends none of them.
func currentVersion(ctx context.Context, r web.Request, o Options) (string, error) {
	header, length, err := o.client().Head(ctx, r)
	var status *web.StatusError
	if errors.As(err, &status) {
		switch status.Code {
		case http.StatusMethodNotAllowed, http.StatusNotImplemented, http.StatusForbidden:
			return "unversioned", nil // signed URLs may allow only GET, which will report the fault
		}
	}
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s %s %d", header.Get("ETag"), header.Get("Last-Modified"), length), nil
}

func get(ctx context.Context, w io.Writer, r web.Request, o Options) error {
	if o.Offline {
		return ErrOffline
	}
	task := progress.Start(o.Progress, 0, "%s", o.client().Doing("fetch", web.Show(r.URL)))
	body, err := o.client().Open(ctx, r)
	if err != nil {
		return task.End(err, "")
	}
	defer body.Close()
	task.Expect(max(body.Size(), 0))
	_, err = io.Copy(w, task.Reader(body))
	return task.End(err, "")
}

// Keep puts content into the cache, where [Kept] finds it.
func Keep(ctx context.Context, content []byte, o Options) error {
	f, err := filled(ctx, digest.Hex(digest.OfBytes(content)), o, func(w io.Writer) error { _, err := w.Write(content); return err })
	if err != nil {
		return err
	}
	return f.Close()
}

// Kept opens content that the cache has by its digest, "sha256:...". The error about
// content that it does not have wraps [fs.ErrNotExist].
func Kept(ctx context.Context, digest string, o Options) (File, error) {
	h, err := v1.NewHash(digest)
	if err != nil {
		return nil, fault.Mark(err, fault.Invalid)
	}
	f, err := o.Cache.Blob(ctx, kind, h)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Digest returns the digest of a whole file, in the form "sha256:...". It refuses a
// file that is larger than what is downloaded.
func Digest(ctx context.Context, f File) (string, error) {
	if f.Size() > most {
		return "", fault.Invalidf("it has %d bytes, more than %d", f.Size(), int64(most))
	}
	sum, err := digest.OfReader(ctx, io.NewSectionReader(f, 0, f.Size()))
	if err != nil {
		return "", fmt.Errorf("hashing a file: %w", err)
	}
	return sum, nil
}
