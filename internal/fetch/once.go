package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"hookbuild/internal/cache"
	"hookbuild/internal/fault"
	"hookbuild/internal/web"
)

// Once opens a URL whose content never changes, such as a file of a release. Key,
// a sha256 in hex, names it in the cache: what is there is not asked for again.
// An interrupted process leaves what it fetched, and the next one goes on there.
// A web page is refused.
// A checksum in the URL is compared as by [Open]. A path opens as by [Open].
func Once(ctx context.Context, source, key string, o Options) (File, error) {
	if !web.IsURL(source) {
		return Open(ctx, source, o)
	}
	address, sum, err := web.Split(source)
	if err != nil {
		return nil, err
	}
	r := web.Request{URL: address, Most: most, Pinned: sum != ""}
	fill := func(w io.Writer) error { return resume(ctx, w, r, key, o) }
	var f *cache.File
	if sum != "" {
		f, err = filled(ctx, sum, o, fill)
	} else {
		f, _, err = o.Cache.Derived(ctx, kind, key, fill)
	}
	if err != nil {
		return nil, fault.Outsidef("fetching %q: %w", web.Show(address), err)
	}
	return f, nil
}

// resume fetches content by way of a file beside the cache's, which stays when
// the process is interrupted. While another process writes that file, the
// content is fetched without it.
func resume(ctx context.Context, w io.Writer, r web.Request, key string, o Options) (err error) {
	if o.Offline {
		return ErrOffline
	}
	if web.IsPlain(r.URL) && !r.Pinned {
		noteUnchecked(r.URL, o)
	}
	dir := filepath.Join(o.Cache.Dir(), kind)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock-"+key), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("keeping a download: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		return get(ctx, w, r, o)
	}
	file := filepath.Join(dir, "unfinished-"+key)
	if err := o.client().Download(ctx, r, file); err != nil {
		return err
	}
	done, err := os.Open(file)
	if err != nil {
		return err
	}
	if err = refusePage(done); err == nil {
		_, err = io.Copy(w, done)
	}
	return errors.Join(err, done.Close(), os.Remove(file))
}

// refusePage refuses a web page: kept, it would be taken for the file for good.
func refusePage(f io.ReaderAt) error {
	var begin [64]byte
	n, err := f.ReadAt(begin[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if bytes.HasPrefix(bytes.TrimSpace(begin[:n]), []byte("<")) {
		return errors.New("the response is a web page; it may come from a proxy or a login page")
	}
	return nil
}
