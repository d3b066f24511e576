package bundles

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"hookbuild/internal/progress"
	"hookbuild/internal/web"
)

// ReleasesURL is where AWS publishes the list of releases.
const ReleasesURL = "https://anywhere-assets.eks.amazonaws.com/releases/eks-a/manifest.yaml"

// Ref says which bundle is wanted. The first field that is set counts; with
// none it is the bundle of the latest release.
type Ref struct {
	// Bundle is the manifest itself: a file or an https:// or http:// URL,
	// which may carry its checksum (URL#sha256=HEX).
	Bundle string
	// EKSAVersion is a release, "v0.26.1".
	EKSAVersion string
	// Eksctl is the standard output of "eksctl anywhere version".
	Eksctl string
}

// Resolver finds bundles. The zero value asks AWS.
type Resolver struct {
	// Web is the client; nil is one with the default limits.
	Web *web.Client
	// ReleasesURL is a file or URL with the list of releases; "" is
	// [ReleasesURL]. It wins over what eksctl says.
	ReleasesURL string
	// Mirrors rewrite the beginning of every URL before it is asked for, the
	// first that fits: sites copy https://anywhere-assets.eks.amazonaws.com.
	Mirrors []Mirror
	// Offline refuses URLs.
	Offline bool
	// Progress receives what is being fetched; nil = nothing is reported.
	Progress progress.Sink
}

// Load finds, reads and checks the wanted bundle.
func (r *Resolver) Load(ctx context.Context, ref Ref) (*Bundle, error) {
	location, err := r.locate(ctx, ref)
	if err != nil {
		return nil, err
	}
	data, err := r.read(ctx, location)
	if err != nil {
		return nil, fmt.Errorf("reading bundle manifest %q: %w", web.Show(location), err)
	}
	return Parse(data, web.Show(location))
}

// releases reads a list of releases.
func (r *Resolver) releases(ctx context.Context, location string) (*Releases, error) {
	data, err := r.read(ctx, location)
	if err != nil {
		return nil, fmt.Errorf("reading the list of releases %q: %w", web.Show(location), err)
	}
	return ParseReleases(data, web.Show(location))
}

// locate gives the file or URL of the wanted bundle.
func (r *Resolver) locate(ctx context.Context, ref Ref) (string, error) {
	switch {
	case ref.Bundle != "":
		return r.mirrored(ref.Bundle), nil
	case ref.EKSAVersion != "":
		return r.locateVersion(ctx, ref.EKSAVersion, r.releasesURL(""))
	case ref.Eksctl != "":
		v, err := ParseEksctl(ref.Eksctl)
		if err != nil {
			return "", err
		}
		if v.BundleManifestURL != "" && r.ReleasesURL == "" {
			return r.mirrored(v.BundleManifestURL), nil
		}
		return r.locateVersion(ctx, v.Version, r.releasesURL(v.ReleaseManifestURL))
	}
	return r.locateVersion(ctx, "", r.releasesURL(""))
}

// locateVersion looks a version up in the list of releases; "" is the latest.
func (r *Resolver) locateVersion(ctx context.Context, version, list string) (string, error) {
	all, err := r.releases(ctx, list)
	if err != nil {
		return "", err
	}
	find := func() (Release, error) { return all.Find(version) }
	if version == "" {
		find = all.Latest
	}
	rel, err := find()
	if err != nil {
		return "", err
	}
	return r.mirrored(beside(list, rel.BundleManifestURL)), nil
}

// releasesURL chooses the list of releases; said is what eksctl names.
func (r *Resolver) releasesURL(said string) string {
	for _, location := range []string{r.ReleasesURL, said} {
		if location != "" {
			return r.mirrored(location)
		}
	}
	return r.mirrored(ReleasesURL)
}

// mirrored is where a URL is to be asked for.
func (r *Resolver) mirrored(location string) string {
	for _, m := range r.Mirrors {
		if to, ok := m.apply(location); ok {
			return to
		}
	}
	return location
}

// beside resolves a location that a list names: relative ones are next to it.
func beside(list, location string) string {
	switch {
	case strings.Contains(location, "://"), filepath.IsAbs(location):
		return location
	case !strings.Contains(list, "://"):
		return filepath.Join(filepath.Dir(list), location)
	}
	base, err := url.Parse(list)
	if err != nil {
		return location
	}
	return base.ResolveReference(&url.URL{Path: location}).String()
}
