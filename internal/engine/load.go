package engine

import (
	"context"
	"errors"
	"io"

	"hookbuild/internal/fault"

	"github.com/docker/docker/client"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Load copies an image into an engine under a name, which keeps its ID.
func Load(ctx context.Context, to client.APIClient, ref name.Reference, image v1.Image) error {
	reader, writer := io.Pipe()
	defer reader.Close() // ends the writer
	go func() { writer.CloseWithError(tarball.Write(ref, image, writer)) }()
	loaded, err := to.ImageLoad(ctx, reader)
	if err != nil {
		return fault.Mark(err, fault.Outside)
	}
	// An engine that cannot load the image says so in its report; the status of
	// its answer is 200 all the same.
	err = follow(loaded.Body, func(string) {})
	return errors.Join(err, loaded.Body.Close())
}
