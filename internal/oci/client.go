// Package oci brings container images from where they are into the cache, and
// shows them as file trees.
//
// An image is named by its source ([Client.Image]): a registry reference, an
// OCI layout (oci:DIR, oci-archive:FILE), what docker save wrote
// (docker-archive:FILE) or a Docker Engine (daemon:REF). Every source gives
// the same [Image]: the manifest of one platform, its configuration, its
// layers. Layers are fetched on first use and kept uncompressed under their
// diffID, checked against the digests of both manifest and configuration in
// the same pass. The compressed blob is not kept: nothing needs it again, and
// it would cost the disk a third more.
//
// The format rules are those of the OCI image and distribution specifications
// 1.1 and of Docker's image manifest version 2, schema 2.
//
// What is left out on purpose: pushing, schema 1 manifests (their digests
// protect no layer), foreign and encrypted layers, digests other than sha256.
package oci

import (
	"context"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/internal/cache"
	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
	"hookbuild/internal/web"
)

// Mirror sends what is asked of one registry, or of a part of it, to another:
// {"public.ecr.aws", "10.0.0.1:5000/ecr"} takes public.ecr.aws/a/b from
// 10.0.0.1:5000/ecr/a/b. The longest From that fits counts. The original is
// asked only for what the mirror answers 404 to.
type Mirror struct {
	From, To string
}

// Options say how images are fetched. Only Cache must be set.
type Options struct {
	Cache   *cache.Cache
	Mirrors []Mirror
	// Insecure lists hosts, with or without a port, that may speak plain HTTP
	// or have a certificate that nobody vouches for. Loopback addresses may
	// speak plain HTTP without being listed.
	Insecure []string
	// Offline takes everything from the cache and asks no registry.
	Offline bool
	// MostUnpacked is how many bytes a layer, or an archive of images, may unpack
	// to; 0 is 1 GiB, or 250 times its compressed size where that is more.
	MostUnpacked int64
	// Jobs is how many layers are fetched at once; 0 means 4.
	Jobs     int
	Progress progress.Sink
	// Pins fix the digests behind references; nil fixes none.
	Pins *Pins
	// Keychain has the credentials; nil is [DockerKeychain].
	Keychain authn.Keychain
	// Web makes the requests; nil is a client with the default limits. It
	// must know the same Insecure hosts.
	Web *web.Client
}

// Client fetches images. It is safe for concurrent use.
type Client struct {
	cache   *cache.Cache
	net     *network
	mirrors []Mirror
	pins    *Pins
	offline bool
	// slots bounds the layers in work, over all images.
	slots        chan struct{}
	sink         progress.Sink
	mostUnpacked int64
}

// NewClient makes a client.
func NewClient(o Options) *Client {
	const defaultJobs = 4
	jobs := o.Jobs
	if jobs <= 0 {
		jobs = defaultJobs
	}
	return &Client{
		cache: o.Cache, net: newNetwork(o), mirrors: o.Mirrors, pins: o.Pins, offline: o.Offline,
		slots: make(chan struct{}, jobs), sink: progress.Or(o.Progress), mostUnpacked: o.MostUnpacked,
	}
}

// Image finds the image that src names, for the platform p: its operating
// system (linux when empty), its architecture in Go's words, and the variant
// if one is wanted. No layer is fetched yet.
//
// Src is a registry reference with a tag, a digest, or both (the digest then
// counts), or one of
//
//	oci:DIR[:REF]             an OCI image layout
//	oci-archive:FILE[:REF]    an OCI image layout in a tar archive
//	docker-archive:FILE[:REF] what docker save wrote
//	daemon:REF                an image of the Docker Engine
//
// where an archive may be compressed by gzip, zstd or xz. REF chooses among
// several images. Errors carry a kind of [fault]: Invalid for content that is
// wrong, Outside for a registry or engine that does not give it.
func (c *Client) Image(ctx context.Context, src string, p v1.Platform) (*Image, error) {
	if p.OS == "" {
		p.OS = "linux"
	}
	kind, rest, _ := strings.Cut(src, ":")
	find := c.registryImage
	switch kind {
	case "oci":
		find = c.layoutImage
	case "oci-archive":
		find = c.layoutArchiveImage
	case "docker-archive":
		find = c.dockerArchiveImage
	case "daemon":
		find = c.daemonImage
	default:
		rest = src
	}
	m, err := find(ctx, src, rest, p)
	if err != nil {
		return nil, err
	}
	if err := checkPlatform(m, p); err != nil {
		return nil, err
	}
	return m, nil
}

// checkPlatform compares what the configuration says, if it says so, with what
// was asked for.
func checkPlatform(m *Image, want v1.Platform) error {
	is := v1.Platform{OS: m.Config.OS, Architecture: m.Config.Architecture}
	wrongOS := is.OS != "" && is.OS != want.OS
	wrongArch := is.Architecture != "" && want.Architecture != "" && is.Architecture != want.Architecture
	if !wrongOS && !wrongArch {
		return nil
	}
	return platformError{fault.Invalidf("choosing image %q: it is for %s and not for %s: name an image that is, or change --arch",
		m.Source, is.String(), v1.Platform{OS: want.OS, Architecture: want.Architecture}.String())}
}
