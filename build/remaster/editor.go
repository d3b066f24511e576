// Package remaster works on an existing HookOS. It adds images to an initramfs,
// lists and extracts embedded images, and extracts the worker.
//
//	initramfs -> Existing (segments, files, store)
//	Existing + images -> job -> initramfs, or a whole result with its kernel
//
// It boots nothing and unpacks segments only if necessary: an embedding that was
// done before is repeated from the cache.
package remaster

import (
	"context"
	"errors"
	"io"

	"hookbuild/build/onboard"
	"hookbuild/embed"
	"hookbuild/internal/atomicfile"
	"hookbuild/internal/fault"
	"hookbuild/internal/fetch"
	"hookbuild/internal/web"
)

// Editor opens and rewrites an existing HookOS.
type Editor struct {
	*onboard.Packer
	// Offline forbids network access.
	Offline bool
	// Web fetches files. Nil means a client with the default limits.
	Web *web.Client
	// Version is the program's version, which manifest.json records.
	Version string
}

func (e *Editor) fetchOptions() fetch.Options {
	return fetch.Options{Cache: e.Cache, Web: e.Web, Offline: e.Offline, Progress: e.Progress}
}

// ExtractImage writes an embedded image as an archive that docker load reads.
// The result's Notes list what could not be restored exactly.
func (e *Editor) ExtractImage(ctx context.Context, source, name string, to atomicfile.Target) (_ *embed.Extracted, err error) {
	out, err := to.Create()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, out.Discard()) }()
	x, err := e.extract(ctx, source, name, out)
	if err != nil {
		return nil, err
	}
	return x, out.Commit()
}

func (e *Editor) extract(ctx context.Context, source, name string, w io.Writer) (x *embed.Extracted, err error) {
	in, err := e.Open(ctx, source)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	store, err := in.Store()
	if err != nil {
		return nil, err
	}
	if store == nil {
		return nil, fault.Invalidf("extracting %q from %q: it has no embedded images", name, source)
	}
	return store.Extract(ctx, name, w)
}
