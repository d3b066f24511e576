package oci

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"hookbuild/internal/fault"
	"hookbuild/internal/web"
)

// parseReference parses a reference as docker pull does: the default registry
// is Docker Hub, the default tag "latest".
func (n *network) parseReference(text string) (name.Reference, error) {
	ref, err := name.ParseReference(text)
	if err != nil {
		return nil, fault.Mark(badName(text), fault.Invalid)
	}
	if n.isInsecure(ref.Context().RegistryStr()) {
		ref, err = name.ParseReference(text, name.Insecure)
	}
	return ref, fault.Mark(err, fault.Invalid)
}

// IsRegistry reports whether the first part of a reference, before a slash, is a
// registry. Otherwise the reference is one of Docker Hub.
func IsRegistry(host string) bool {
	return host == "localhost" || strings.ContainsAny(host, ".:")
}

// CheckRegistry returns a usage error for a reference or repository that does not name
// its registry. To Docker it is one of Docker Hub, which nobody should push to, or pull
// a HookOS from, by an oversight.
func CheckRegistry(ref string) error {
	host, _, ok := strings.Cut(ref, "/")
	switch {
	case !ok:
		return fault.Usagef("%q has no registry; write registry.example/%s, or docker.io/USER/%[2]s for Docker Hub", ref, ref)
	case !IsRegistry(host):
		return fault.Usagef("%q has no registry; write registry.example/%s, or docker.io/%[2]s for Docker Hub", ref, ref)
	}
	return nil
}

// badName says what is wrong with text, which is not the name of an image. The
// library's words repeat the name or advise how to call the library.
func badName(text string) error {
	if web.IsURL(text) {
		return errors.New("it is a URL, and images have names without a scheme; leave it out, and for plain HTTP add --insecure-registry HOST")
	}
	const digits = 64
	if _, hex, ok := strings.Cut(text, "@sha256:"); ok && len(hex) != digits {
		return fmt.Errorf("its digest has %d characters after sha256:, not %d; copy the whole digest", len(hex), digits)
	}
	return errors.New("it is not the name of an image; write it as HOST/NAME:TAG, with the NAME in lower case")
}

// tagBesideDigest returns the tag of "repo:tag@sha256:...", "" where there is no
// tag or no digest.
func tagBesideDigest(text string) string {
	repository, _, digested := strings.Cut(text, "@")
	_, tag, _ := strings.Cut(repository[strings.LastIndex(repository, "/")+1:], ":")
	if !digested {
		return ""
	}
	return tag
}

func (n *network) parseRepository(text string) (name.Repository, error) {
	repo, err := name.NewRepository(text)
	if err != nil {
		return name.Repository{}, fault.Mark(err, fault.Invalid)
	}
	if n.isInsecure(repo.RegistryStr()) {
		repo, err = name.NewRepository(text, name.Insecure)
	}
	return repo, fault.Mark(err, fault.Invalid)
}

// places returns where to look for a repository's content, in order: its
// mirror, if it has one, and itself.
func (c *Client) places(repo name.Repository) ([]name.Repository, error) {
	fitting := slices.DeleteFunc(slices.Clone(c.mirrors), func(m Mirror) bool {
		_, ok := m.rewrite(repo)
		return !ok
	})
	if len(fitting) == 0 {
		return []name.Repository{repo}, nil
	}
	longest := slices.MaxFunc(fitting, func(a, b Mirror) int { return len(a.prefix()) - len(b.prefix()) })
	rewritten, _ := longest.rewrite(repo)
	mirror, err := c.net.parseRepository(rewritten)
	if err != nil {
		return nil, invalid("using the mirror %s=%s: %w", longest.From, longest.To, err)
	}
	return []name.Repository{mirror, repo}, nil
}

// prefix returns From in the form of repositories' full names.
func (m Mirror) prefix() string {
	from := strings.TrimSuffix(m.From, "/")
	host, rest, _ := strings.Cut(from, "/")
	if host != "docker.io" {
		return from
	}
	return strings.TrimSuffix(name.DefaultRegistry+"/"+rest, "/")
}

// rewrite returns the name of repo at the mirror, if the mirror applies to it.
func (m Mirror) rewrite(repo name.Repository) (string, bool) {
	rest, ok := strings.CutPrefix(repo.Name(), m.prefix())
	if !ok || rest != "" && rest[0] != '/' {
		return "", false
	}
	return strings.TrimSuffix(m.To, "/") + rest, true
}
