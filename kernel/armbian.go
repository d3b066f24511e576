package kernel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"

	"hookbuild/internal/digest"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/oci"
	"hookbuild/internal/tarball"
	"hookbuild/kernel/deb"
	"hookbuild/kernel/modules"
)

// armbianBase is the default location of Armbian's kernels;
// ARMBIAN_BASE_ORAS_REF overrides it.
const armbianBase = "ghcr.io/armbian/os"

// Armbian selects where Armbian's kernels come from and which version is used.
type Armbian struct {
	// Base is the prefix of the artifacts' references (ARMBIAN_BASE_ORAS_REF);
	// empty means [armbianBase].
	Base string
	// Version is an artifact's tag (ARMBIAN_KERNEL_VERSION); empty means the
	// newest.
	Version string
}

// armbianRef returns the reference of the flavor's artifact.
func (o OpenOptions) armbianRef(ctx context.Context) (string, error) {
	base := o.Armbian.Base
	if base == "" {
		base = armbianBase
	}
	repository := base + "/" + o.Plan.Flavor.Artifact
	if o.Armbian.Version == "" {
		return latestArmbian(ctx, o.Client, repository)
	}
	return repository + ":" + o.Armbian.Version, nil
}

// armbianTag matches the tag of a kernel artifact: 6.1.84-S8e1d-D...
var armbianTag = regexp.MustCompile(`^(\d+)\.(\d+)\.(\d+)-S[0-9a-zA-Z-]+$`)

// latestArmbian returns the full reference of the newest tag of an artifact. A
// registry does not tell when a tag was pushed, so the newest tag is the one
// with the highest version and, among equal versions, the last in byte order.
func latestArmbian(ctx context.Context, tagger tagger, repository string) (string, error) {
	tags, err := tagger.Tags(ctx, repository)
	if err != nil {
		return "", err
	}
	tags = slices.DeleteFunc(tags, func(t string) bool { return !armbianTag.MatchString(t) })
	if len(tags) == 0 {
		return "", invalid("finding the newest Armbian kernel in %q: no tag has the form VERSION-S...; set ARMBIAN_KERNEL_VERSION to choose one", repository)
	}
	return repository + ":" + slices.MaxFunc(tags, compareArmbian), nil
}

func compareArmbian(a, b string) int { return compareVersions(armbianTag, a, b) }

// fromArmbian reads the kernel in an Armbian artifact: an OCI artifact whose
// single file is a tar archive of Debian packages. It leaves out the drivers
// that upstream's HookOS leaves out: sound, and panthor, which crashes without
// its firmware.
func fromArmbian(ctx context.Context, client *oci.Client, ref string, o Options) (*Image, error) {
	artifact, err := client.Artifact(ctx, ref)
	if err != nil {
		return nil, err
	}
	m := &Image{Modules: &initramfs.Tree{}, DTBs: &initramfs.Tree{}, Source: "armbian:" + ref, Digest: artifact.Digest.String()}
	err = m.fillFromArtifact(ctx, artifact, o)
	if err == nil {
		err = m.complete(ctx, o)
	}
	if err == nil {
		err = m.drop(ctx, o, "sound", "drivers/gpu/drm/panthor")
	}
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

func (m *Image) fillFromArtifact(ctx context.Context, artifact *oci.Artifact, o Options) error {
	for _, f := range artifact.Files {
		if !strings.Contains(f.Name, ".tar") {
			continue
		}
		archive, err := f.Open(ctx)
		if err != nil {
			return err
		}
		m.files = append(m.files, archive)
		key := digest.OfStrings("kernel archive v1", artifact.Digest.String(), f.Name)
		whole := initramfs.Entry{Path: f.Name, Size: archive.Size(), Open: func() (io.ReadCloser, error) {
			return io.NopCloser(io.NewSectionReader(archive, 0, archive.Size())), nil
		}}
		plain, err := plainTar(ctx, o.Cache, key, whole)
		if err != nil {
			return fmt.Errorf("unpacking %q of %q: %w", f.Name, artifact.Source, err)
		}
		m.files = append(m.files, plain)
		return m.fillFromDebTar(ctx, plain, plain.Size(), artifact.Source, o)
	}
	return invalid("reading the Armbian kernel %q: the artifact holds no .tar file, so it is not a kernel", artifact.Source)
}

// fillFromDebTar reads the only linux-image-*.deb package in the archive.
func (m *Image) fillFromDebTar(ctx context.Context, r io.ReaderAt, size int64, origin string, o Options) error {
	entries, err := tarball.Entries(r, size, origin)
	if err != nil {
		return err
	}
	for _, e := range entries {
		base := path.Base(e.Path)
		if strings.HasPrefix(base, "linux-image-") && strings.HasSuffix(base, ".deb") {
			return m.addInnerDeb(ctx, e, o)
		}
	}
	return invalid("reading the Armbian kernel %q: it holds no linux-image-*.deb package", origin)
}

func (m *Image) addInnerDeb(ctx context.Context, e initramfs.Entry, o Options) (err error) {
	content, err := openAt(e)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, content.Close()) }()
	p, err := deb.Open(content, e.Size, e.Path)
	if err != nil {
		return err
	}
	data, err := debData(ctx, p, m.Digest, o)
	if err != nil {
		return invalid("unpacking the package %q: %w", e.Path, err)
	}
	m.files = append(m.files, data)
	files, err := tarball.Entries(data, data.Size(), e.Path)
	if err != nil {
		return err
	}
	if err := m.addDebFiles(files); err != nil {
		return err
	}
	return m.checkDebs([]*deb.Package{p})
}

// drop removes the modules in those of the directories that exist.
func (m *Image) drop(ctx context.Context, o Options, dirs ...string) error {
	var there []string
	for _, dir := range dirs {
		if _, ok := m.Modules.Lookup(m.modulesDir() + "/kernel/" + dir); ok {
			there = append(there, dir)
		}
	}
	if len(there) == 0 {
		return nil
	}
	_, err := m.keepChosen(ctx, modules.Choice{Exclude: there}, nil, o)
	return err
}
