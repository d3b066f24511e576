package oci

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/internal/fault"
)

// Pins fix what references stand for, so that no registry is asked for the
// digest behind a tag.
type Pins struct {
	// Only makes a reference that is not pinned an error, as well as a list of
	// tags. Otherwise it is asked for as ever.
	Only bool
	// Ask lets references be asked for that have no digest, because they were
	// of a Docker Engine.
	Ask bool

	digests map[string]v1.Hash // by the reference's full name
}

// Add pins a reference to the digest of its manifest or index ("sha256:..."). An
// empty digest is that of an image of a Docker Engine.
func (p *Pins) Add(reference, digest string) error {
	ref, err := name.ParseReference(reference)
	if err != nil {
		return fault.Invalidf("pinning the image %q: %w", reference, err)
	}
	var h v1.Hash
	if digest != "" {
		if h, err = v1.NewHash(digest); err != nil {
			return fault.Invalidf("pinning the image %q: %w", reference, err)
		}
	}
	if p.digests == nil {
		p.digests = map[string]v1.Hash{}
	}
	p.digests[ref.Name()] = h
	return nil
}

// unpinnedError reports a reference, or a list of tags, that a client with
// [Pins.Only] was asked for and that is not among its pins.
type unpinnedError struct {
	Name   string
	Engine bool // it is pinned to an image of a Docker Engine
}

func (e *unpinnedError) Error() string {
	if e.Engine {
		return fmt.Sprintf("%s was an image of the Docker Engine when it was locked, which no registry is asked for", e.Name)
	}
	return fmt.Sprintf("%s is not in the lock, and with --locked no registry is asked for a tag; add it with `hookbuild lock`", e.Name)
}

// find returns the digest that a reference is pinned to; zero if the registry
// is to be asked.
func (p *Pins) find(ref name.Reference) (v1.Hash, error) {
	if p == nil {
		return v1.Hash{}, nil
	}
	h, pinned := p.digests[ref.Name()]
	if p.Only && (!pinned || h == (v1.Hash{}) && !p.Ask) {
		return v1.Hash{}, fault.Mark(&unpinnedError{ref.Name(), pinned}, fault.Invalid)
	}
	return h, nil
}

// allowTags refuses to list tags where only pins count.
func (p *Pins) allowTags(repository string) error {
	if p == nil || !p.Only {
		return nil
	}
	return fault.Mark(&unpinnedError{Name: "the list of tags of " + repository}, fault.Invalid)
}

// WithPins returns a client that shares everything with c but its pins.
func (c *Client) WithPins(p *Pins) *Client {
	pinned := *c
	pinned.pins = p
	return &pinned
}

// IsLocal reports whether a source names a file or an engine of this machine, not
// an image in a registry.
func IsLocal(src string) bool {
	kind, _, ok := strings.Cut(src, ":")
	return ok && slices.Contains([]string{"oci", "oci-archive", "docker-archive", "daemon"}, kind)
}
