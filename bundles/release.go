package bundles

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/mod/semver"

	"hookbuild/internal/fault"
)

// releases is a manifest of kind Release: the list of EKS Anywhere releases,
// each with the URL of its bundle.
type releases struct {
	// Origin is the manifest's file or URL, for messages.
	Origin string
	doc    releaseDocument
}

// release is one entry of [releases].
type release struct {
	// Version has a leading v: "v0.26.1", "v0.27.0-dev+build.12".
	Version string `yaml:"version"`
	Number  int    `yaml:"number"`
	// Date is in the form of Go's time.Time.String.
	Date string `yaml:"date"`
	// BundleManifestURL is the URL of the bundle, as written.
	BundleManifestURL string `yaml:"bundleManifestUrl"`
}

type releaseDocument struct {
	Spec struct {
		LatestVersion string    `yaml:"latestVersion"`
		Releases      []release `yaml:"releases"`
	} `yaml:"spec"`
}

// parseReleases reads a manifest of releases. Origin names it in errors.
func parseReleases(data []byte, origin string) (*releases, error) {
	r := &releases{Origin: origin}
	if err := r.parse(data); err != nil {
		return nil, fault.Invalidf("reading the list of releases %q: %w", origin, err)
	}
	return r, nil
}

func (r *releases) parse(data []byte) error {
	root, err := readYAML(data)
	if err != nil {
		return err
	}
	if err := checkKind(root, kindRelease); err != nil {
		return err
	}
	return decode(root, &r.doc)
}

// latest returns the release that the manifest calls the latest. It may not be the
// last one, because older lines get releases too.
func (r *releases) latest() (release, error) {
	latest := r.doc.Spec.LatestVersion
	if latest == "" {
		return release{}, r.invalid(errors.New("it does not say which release is the latest (spec.latestVersion is empty); use --eksa-version"))
	}
	return r.find(latest)
}

// find returns the release of a version, whose leading v is optional. As in EKS
// Anywhere, the version must match exactly, except that "vX.Y.Z-dev+latest" is the
// newest build of vX.Y.Z-dev.
func (r *releases) find(version string) (release, error) {
	want := "v" + strings.TrimPrefix(version, "v")
	if !semver.IsValid(want) {
		return release{}, fault.Usagef("EKS Anywhere version %q is not of the form vX.Y.Z; use one such as %q", version, r.example())
	}
	rel, ok := r.doc.find(want)
	if !ok {
		return release{}, r.invalid(fmt.Errorf("it has no version %q; %s", want, r.near(want)))
	}
	if rel.BundleManifestURL == "" {
		return release{}, r.invalid(fmt.Errorf("version %q has no bundleManifestUrl; name its bundle manifest with --bundle", want))
	}
	return rel, nil
}

func (r *releases) invalid(err error) error {
	return fault.Invalidf("finding a release in the list %q: %w", r.Origin, err)
}

func (r *releases) example() string {
	if r.doc.Spec.LatestVersion != "" {
		return r.doc.Spec.LatestVersion
	}
	return "v0.26.1"
}

// near returns a message with versions that may have been meant.
func (r *releases) near(want string) string {
	var same []string
	for _, rel := range r.doc.Spec.Releases {
		if semver.MajorMinor(rel.Version) == semver.MajorMinor(want) {
			same = append(same, rel.Version)
		}
	}
	slices.SortFunc(same, compareVersions)
	switch {
	case len(same) > 0:
		return fmt.Sprintf("the releases of %s are %s", semver.MajorMinor(want), strings.Join(same, ", "))
	case r.doc.Spec.LatestVersion != "":
		return "the latest is " + r.doc.Spec.LatestVersion
	}
	return fmt.Sprintf("it lists %d others", len(r.doc.Spec.Releases))
}

func (d *releaseDocument) find(want string) (release, bool) {
	for _, rel := range d.Spec.Releases {
		if rel.Version == want {
			return rel, true
		}
	}
	if semver.Build(want) != "+latest" {
		return release{}, false
	}
	var builds []release
	for _, rel := range d.Spec.Releases {
		if semver.IsValid(rel.Version) && semver.Compare(rel.Version, want) == 0 {
			builds = append(builds, rel)
		}
	}
	if len(builds) == 0 {
		return release{}, false
	}
	return slices.MaxFunc(builds, func(a, b release) int { return compareVersions(a.Version, b.Version) }), true
}

// compareVersions compares versions, and builds of one version by their build
// metadata, in which numbers compare by value: build.9 is before build.10.
func compareVersions(a, b string) int {
	if c := semver.Compare(a, b); c != 0 {
		return c
	}
	return slices.CompareFunc(strings.Split(semver.Build(a), "."), strings.Split(semver.Build(b), "."), compareIdentifiers)
}

// compareIdentifiers compares identifiers as semver does in pre-releases: numbers by
// value, and before words.
func compareIdentifiers(a, b string) int {
	aNum, bNum := isNumber(a), isNumber(b)
	switch {
	case aNum && bNum:
		a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
		if len(a) != len(b) {
			return len(a) - len(b)
		}
	case aNum:
		return -1
	case bNum:
		return 1
	}
	return strings.Compare(a, b)
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
