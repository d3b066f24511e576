package bundles

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"hookbuild/internal/progress"
	"hookbuild/internal/web"
)

// ReleasesURL is the URL of AWS's list of releases.
const ReleasesURL = "https://anywhere-assets.eks.amazonaws.com/releases/eks-a/manifest.yaml"

// Latest is the version that stands for the latest release of a list.
const Latest = "latest"

// Ref names a bundle. The first field that is set counts. If none is set, it is the
// bundle of the latest release.
type Ref struct {
	// Bundle is the manifest: a file, or an https:// or http:// URL, which may have
	// a checksum (URL#sha256=HEX).
	Bundle string
	// EKSAVersion is [latest] or a release, such as "v0.26.1".
	EKSAVersion string
	// Eksctl is the standard output of "eksctl anywhere version".
	Eksctl string
}

// Resolver finds bundles. The zero value asks AWS.
type Resolver struct {
	// Web is the client. Nil means one with the default limits.
	Web *web.Client
	// ReleasesURL is a file or URL with the list of releases. It takes precedence
	// over the one that eksctl names. Empty means [ReleasesURL].
	ReleasesURL string
	// Mirrors replace the beginning of every URL, for sites with a copy of
	// https://anywhere-assets.eks.amazonaws.com. The first that matches counts.
	Mirrors []Mirror
	// Offline forbids URLs.
	Offline bool
	// Progress receives reports of downloads. It may be nil.
	Progress progress.Sink
}

// Load finds, reads and checks the bundle that ref names.
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
func (r *Resolver) releases(ctx context.Context, location string) (*releases, error) {
	data, err := r.read(ctx, location)
	if err != nil {
		return nil, fmt.Errorf("reading the list of releases %q: %w", web.Show(location), err)
	}
	return parseReleases(data, web.Show(location))
}

// Date returns the day on which a release was made, such as 2026-01-31, by the list of
// releases; "" if the list does not say it.
func (r *Resolver) Date(ctx context.Context, version string) (string, error) {
	all, err := r.releases(ctx, r.releasesURL(""))
	if err != nil {
		return "", err
	}
	rel, known := all.doc.find(version)
	day, _, _ := strings.Cut(rel.Date, " ")
	if _, err := time.Parse(time.DateOnly, day); !known || err != nil {
		return "", nil //nolint:nilerr // it does not say a date
	}
	return day, nil
}

// locate returns the file or URL of the bundle that ref names.
func (r *Resolver) locate(ctx context.Context, ref Ref) (string, error) {
	switch {
	case ref.Bundle != "":
		return r.mirrored(ref.Bundle), nil
	case ref.EKSAVersion == Latest:
		return r.locateVersion(ctx, "", r.releasesURL(""))
	case ref.EKSAVersion != "":
		return r.locateVersion(ctx, ref.EKSAVersion, r.releasesURL(""))
	case ref.Eksctl != "":
		v, err := readEksctl(ref.Eksctl)
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

// locateVersion returns the file or URL of a version's bundle, from the list of
// releases. The version "" means the latest.
func (r *Resolver) locateVersion(ctx context.Context, version, list string) (string, error) {
	all, err := r.releases(ctx, list)
	if err != nil {
		return "", err
	}
	find := func() (release, error) { return all.find(version) }
	if version == "" {
		find = all.latest
	}
	rel, err := find()
	if err != nil {
		return "", err
	}
	return r.mirrored(beside(list, rel.BundleManifestURL)), nil
}

// releasesURL returns the location of the list of releases. Said is the one that
// eksctl names, or "".
func (r *Resolver) releasesURL(said string) string {
	for _, location := range []string{r.ReleasesURL, said} {
		if location != "" {
			return r.mirrored(location)
		}
	}
	return r.mirrored(ReleasesURL)
}

// mirrored returns the location in the mirrors.
func (r *Resolver) mirrored(location string) string {
	for _, m := range r.Mirrors {
		if to, ok := m.apply(location); ok {
			return to
		}
	}
	return location
}

// beside returns a location that a list names. Relative ones are relative to the list.
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
