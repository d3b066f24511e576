package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// memoryLimit is the largest permitted memory of hookbuild, whatever the
// images' size.
const memoryLimit = 200 * mib

// watchMemory embeds a large image, in each layout with a cold cache, and
// reports hookbuild's peak of resident memory. Exceeding the limit is an error,
// after the table.
func watchMemory(ctx context.Context, b *bench) (string, error) {
	p, err := openPlace(ctx, b)
	if err != nil {
		return "", err
	}
	b.say("making an image of %d MiB", b.mib)
	reference, err := serveSynthetic(ctx, b)
	if err != nil {
		return "", err
	}
	var s strings.Builder
	s.WriteString("| layout | wall | CPU | peak RSS | reached after | while | initramfs |\n|---|--:|--:|--:|--:|---|--:|\n")
	for _, layout := range layouts() {
		w := &watch{}
		o, err := embedWatched(ctx, p, reference, layout, w)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&s, "| %s | %s | %s | %.0f MiB | %s | %s | %s |\n", layout, seconds(o.wall), seconds(o.cpu),
			float64(o.peak)/mib, seconds(w.at), w.doing, megabytes(o.size))
		if o.peak > memoryLimit {
			err = fmt.Errorf("with the %s layout hookbuild had %.0f MiB resident, more than %d", layout, float64(o.peak)/mib, memoryLimit/mib)
			b.exceeded = errors.Join(b.exceeded, err)
		}
	}
	return s.String(), nil
}

// serveSynthetic serves the image from a new registry.
func serveSynthetic(ctx context.Context, b *bench) (reference string, err error) {
	blobs := filepath.Join(b.dir, "blobs")
	image, err := synthesize(ctx, blobs, runtime.GOARCH, int64(b.mib)*mib)
	if err != nil {
		return "", err
	}
	addr, err := serveRegistry(ctx, b, blobs)
	if err != nil {
		return "", err
	}
	return push(ctx, addr+"/large:1", image)
}

// serveRegistry starts a registry with blobs in a directory, until the end of the
// run, and returns its host and port.
func serveRegistry(ctx context.Context, b *bench, blobs string) (string, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("starting a registry: %w", err)
	}
	handler := registry.New(registry.WithBlobHandler(registry.NewDiskBlobHandler(blobs)), registry.Logger(log.New(io.Discard, "", 0)))
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- server.Serve(b.moved.wrap(listener)) }()
	b.atEnd(func() error {
		err := server.Close()
		if ended := <-served; !errors.Is(ended, http.ErrServerClosed) {
			err = errors.Join(err, ended)
		}
		return err
	})
	return listener.Addr().String(), nil
}

func push(ctx context.Context, reference string, image v1.Image) (string, error) {
	ref, err := name.ParseReference(reference)
	if err == nil {
		err = remote.Write(ref, image, remote.WithContext(ctx)) // the registry already has the layers
	}
	if err != nil {
		return "", fmt.Errorf("pushing %q: %w", reference, err)
	}
	return reference, nil
}

// embedWatched embeds the image with a cold cache.
func embedWatched(ctx context.Context, p *place, reference, layout string, w *watch) (o outcome, err error) {
	dir, err := p.sub("memory")
	if err != nil {
		return o, err
	}
	output := filepath.Join(dir, "out")
	host, _, _ := strings.Cut(reference, "/")
	c := p.command(filepath.Join(dir, "cache"), embedCommand, "--initramfs", p.initramfs, "-o", output,
		"--image", reference+"=127.0.0.1/embedded/large", "--layout", layout, "--insecure-registry", host, "--debug")
	ended := make(chan struct{})
	var watching sync.WaitGroup
	c.said, c.during = w, func(pid int) {
		watching.Go(func() { w.follow(pid, ended) })
	}
	settle()
	o.cost, err = c.run(ctx)
	close(ended)
	watching.Wait()
	if err = errors.Join(err, w.err); err != nil {
		return o, err
	}
	p.say("  hookbuild embed, %s: %.0f MiB at most", layout, float64(o.peak)/mib)
	if o.size, err = sizeOf(output); err != nil {
		return o, err
	}
	return o, p.discard(dir)
}
