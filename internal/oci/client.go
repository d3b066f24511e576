// Package oci fetches container images into the cache and presents them as file
// trees.
//
// An image is named by its source ([Client.Image]): a registry reference, an
// OCI layout (oci:DIR, oci-archive:FILE), the output of docker save
// (docker-archive:FILE) or a Docker Engine (daemon:REF). Every source yields
// the same [Image]: the manifest of one platform, its configuration and its
// layers. Layers are fetched on first use and kept uncompressed under their
// diffID, checked in the same pass against the digests of both manifest and
// configuration. The compressed blob is not kept: nothing needs it again, and
// it would take a third more disk space.
//
// The format rules are those of the OCI image and distribution specifications
// 1.1 and of Docker's image manifest version 2, schema 2.
//
// Deliberately left out: pushing, schema 1 manifests (their digests protect no
// layer), foreign and encrypted layers, digests other than sha256.
package oci

import (
	"cmp"
	"context"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/internal/cache"
	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
	"hookbuild/internal/web"
)

// Mirror redirects requests for one registry, or a part of it, to another:
// {"public.ecr.aws", "10.0.0.1:5000/ecr"} fetches public.ecr.aws/a/b from
// 10.0.0.1:5000/ecr/a/b. The longest From that matches applies. The original is
// asked only if the mirror answers 404.
type Mirror struct {
	From, To string
}

// Options specify how images are fetched. Only Cache is required.
type Options struct {
	Cache   *cache.Cache
	Mirrors []Mirror
	// MirrorByTag takes a mirror's image of the tag of a reference whose digest
	// the mirror lacks, where nothing can prove that it is the same image; a
	// warning names both digests.
	MirrorByTag bool
	// Insecure lists hosts, with or without a port, that may use plain HTTP or
	// an untrusted certificate. Loopback addresses may use plain HTTP without
	// being listed.
	Insecure []string
	// Offline takes everything from the cache and never contacts a registry.
	Offline bool
	// MostUnpacked is the largest unpacked size of a layer, or of an archive of
	// images, in bytes; 0 means 1 GiB, or 250 times its compressed size if that
	// is more.
	MostUnpacked int64
	// Jobs is the number of layers fetched at once; 0 means 4.
	Jobs     int
	Progress progress.Sink
	// Pins fix the digests behind references; nil means none.
	Pins *Pins
	// Archives are shared with other clients; nil means with none.
	Archives *Archives
	// Keychain has the credentials; nil means [DockerKeychain].
	Keychain authn.Keychain
	// Web makes the requests; nil means a client with the default limits. It
	// must have the same Insecure hosts.
	Web *web.Client
}

// Client fetches images. It is safe for concurrent use.
type Client struct {
	cache   *cache.Cache
	net     *network
	mirrors []Mirror
	pins    *Pins
	byTag   bool // see Options.MirrorByTag
	// archives are the compressed ones that were opened.
	archives *Archives
	offline  bool
	// slots limits the layers being fetched, over all images.
	slots        chan struct{}
	sink         progress.Sink
	mostUnpacked int64
}

// NewClient returns a client with these options.
func NewClient(o Options) *Client {
	const defaultJobs = 4
	jobs := o.Jobs
	if jobs <= 0 {
		jobs = defaultJobs
	}
	return &Client{
		archives: cmp.Or(o.Archives, &Archives{}),
		cache:    o.Cache, net: newNetwork(o), mirrors: o.Mirrors, byTag: o.MirrorByTag, pins: o.Pins, offline: o.Offline,
		slots: make(chan struct{}, jobs), sink: progress.Or(o.Progress), mostUnpacked: o.MostUnpacked,
	}
}

// Image finds the image that src names for the platform p: its operating system
// (linux if empty), its architecture in Go's terms, and optionally the variant.
// It does not fetch any layer yet.
//
// Src is a registry reference with a tag, a digest, or both (the digest then
// counts), or one of
//
//	oci:DIR[:REF]             an OCI image layout
//	oci-archive:FILE[:REF]    an OCI image layout in a tar archive
//	docker-archive:FILE[:REF] the output of docker save
//	daemon:REF                an image of the Docker Engine
//
// where an archive may be compressed with gzip, zstd or xz. REF selects one of
// several images. Errors have a kind of [fault]: Invalid for invalid content,
// Outside for a registry or engine that fails to deliver it.
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

// checkPlatform compares the platform in the configuration, if any, with the
// requested one.
func checkPlatform(m *Image, want v1.Platform) error {
	is := v1.Platform{OS: m.Config.OS, Architecture: m.Config.Architecture}
	wrongOS := is.OS != "" && is.OS != want.OS
	wrongArch := is.Architecture != "" && want.Architecture != "" && is.Architecture != want.Architecture
	if !wrongOS && !wrongArch {
		return nil
	}
	return platformError{fault.Invalidf("choosing image %q: it is for %s, not for %s; name an image for that platform, or choose another flavor or --arch",
		m.Source, is.String(), v1.Platform{OS: want.OS, Architecture: want.Architecture}.String())}
}
