// Package oci brings container images from wherever they are into the cache.
package oci

import (
	"context"
	"errors"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"hookbuild/internal/cache"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/progress"
)

var errUnfinished = errors.New("not implemented yet")

// Mirror sends what is asked of one registry, or part of one, to another.
type Mirror struct {
	From, To string // "public.ecr.aws", "registry.site:5000/mirror"
}

// Options say how images are fetched.
type Options struct {
	Cache    *cache.Cache
	Mirrors  []Mirror
	Insecure []string // hosts ("10.0.0.1:5000") spoken to over HTTP or untrusted TLS
	Offline  bool     // only what is in the cache
	Jobs     int      // layers at once; 0 = a sensible number
	Progress progress.Sink
	Keychain authn.Keychain // nil = docker's configuration and its helpers
}

// Client fetches images.
type Client struct{ o Options }

// NewClient makes a client.
func NewClient(o Options) *Client { return &Client{o} }

// Image finds the image that src names, for the platform p.
func (c *Client) Image(ctx context.Context, src string, p v1.Platform) (*Image, error) {
	return nil, errUnfinished
}

// Tags lists a repository's tags.
func (c *Client) Tags(ctx context.Context, repository string) ([]string, error) {
	return nil, errUnfinished
}

// Image is one image for one platform.
type Image struct {
	Source      string
	Reference   name.Reference // nil if it is not from a registry
	Digest      v1.Hash        // of the platform's manifest; zero if there is none
	IndexDigest v1.Hash        // what the reference resolved to; Digest if that was no index
	ID          v1.Hash        // of the configuration
	RawConfig   []byte
	Config      *v1.ConfigFile
	Layers      []*Layer
}

// Fetch brings all layers into the cache.
func (m *Image) Fetch(ctx context.Context) error { return errUnfinished }

// Tree gives the image's file system.
func (m *Image) Tree(ctx context.Context) (*initramfs.Tree, error) { return nil, errUnfinished }

// Layer is one layer of an image.
type Layer struct {
	Digest, DiffID v1.Hash
	Size           int64 // of the blob as it is stored at the source
	MediaType      types.MediaType
}

// Tar opens the uncompressed layer.
func (l *Layer) Tar(ctx context.Context) (*cache.File, error) { return nil, errUnfinished }

// Entries lists the layer's files in order, whiteouts included.
func (l *Layer) Entries(ctx context.Context) ([]initramfs.Entry, error) { return nil, errUnfinished }
