package corpus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Registry serves a corpus, and takes other images too.
type Registry struct {
	*Corpus
	// Handler answers the registry's requests; a test may put it behind one of
	// its own.
	Handler http.Handler
	server  *http.Server
	addr    string
	served  chan error
	digests map[string]v1.Hash
}

// Start makes the corpus below dir and serves it on a free port of 127.0.0.1.
func Start(ctx context.Context, dir string, o Options) (*Registry, error) {
	return startAt(ctx, "127.0.0.1:0", dir, o)
}

// startAt is [Start] on a given address.
func startAt(ctx context.Context, addr, dir string, o Options) (*Registry, error) {
	c, err := build(ctx, dir, o)
	if err != nil {
		return nil, err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("starting a registry: %w", err)
	}
	if o.Listener != nil {
		listener = o.Listener(listener)
	}
	handler := registry.New(registry.WithBlobHandler(c.store), registry.Logger(log.New(io.Discard, "", 0)))
	r := &Registry{
		Corpus: c, Handler: handler, addr: listener.Addr().String(), served: make(chan error, 1), digests: map[string]v1.Hash{},
		server: &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute},
	}
	go func() { r.served <- r.server.Serve(listener) }()
	for _, n := range Names() {
		if err := r.publish(ctx, n); err != nil {
			return nil, errors.Join(fmt.Errorf("publishing %q: %w", n, err), r.Close())
		}
	}
	return r, nil
}

// Addr is the registry's host and port.
func (r *Registry) Addr() string { return r.addr }

// Close stops the registry; what it served stays on disk.
func (r *Registry) Close() error {
	err := r.server.Close()
	if served := <-r.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// publish pushes an image under its names in all layouts. Its layers are with
// the registry already.
func (r *Registry) publish(ctx context.Context, image string) error {
	index, err := r.index(image)
	if err != nil {
		return err
	}
	if r.digests[image], err = index.Digest(); err != nil {
		return err
	}
	for _, l := range layouts() {
		ref, err := name.ParseReference(r.Reference(image, l))
		if err != nil {
			return err
		}
		if err := remote.WriteIndex(ref, index, remote.WithContext(ctx)); err != nil {
			return err
		}
	}
	return nil
}

// Digest is that of an image's index.
func (r *Registry) Digest(image string) v1.Hash { return r.digests[image] }
