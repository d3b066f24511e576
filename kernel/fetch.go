package kernel

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
)

// mostDownload bounds a package from the network: a distribution's kernel with
// debugging symbols has 1 GB.
const mostDownload = 4 << 30

// file is an opened local or downloaded file.
type file interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

type localFile struct {
	*os.File
	size int64
}

func (f localFile) Size() int64 { return f.size }

// openSource opens a path or an http(s) URL.
func openSource(ctx context.Context, source string, o Options) (file, error) {
	if strings.HasPrefix(source, "http://") || strings.HasPrefix(source, "https://") {
		return download(ctx, source, o)
	}
	f, err := os.Open(source)
	if err != nil {
		return nil, invalid("opening the package: %w", err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = invalid("opening the package %q: it is not a file", source)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return localFile{f, info.Size()}, nil
}

// download gives a URL's content from the cache, fetched on first use. The
// cache trusts a URL: package archives never change a file under its name.
func download(ctx context.Context, url string, o Options) (file, error) {
	f, _, err := o.Cache.Derived(ctx, "downloads", keyOf("download v1", url), func(w io.Writer) error {
		if o.Offline {
			return fault.Mark(errors.New("it is not in the cache, and --offline forbids fetching it"), fault.Outside)
		}
		return fault.Mark(get(ctx, w, url, o), fault.Outside)
	})
	if err != nil {
		return nil, fmt.Errorf("fetching %q: %w", url, err)
	}
	return f, nil
}

func get(ctx context.Context, w io.Writer, url string, o Options) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	client := o.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the server answers %s", response.Status)
	}
	task := progress.Start(o.Progress, max(response.ContentLength, 0), "fetch %s", url)
	n, err := io.Copy(w, io.LimitReader(task.Reader(response.Body), mostDownload+1))
	switch {
	case err == nil && n > mostDownload:
		err = fmt.Errorf("it has more than %d bytes", int64(mostDownload))
	case err == nil && response.ContentLength >= 0 && n != response.ContentLength:
		err = fmt.Errorf("the transfer ended after %d of %d bytes", n, response.ContentLength)
	}
	return task.End(err, "")
}

// digest hashes a whole file.
func digest(f file) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, f.Size())); err != nil {
		return "", err
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}
