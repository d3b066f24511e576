package ship

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"hookbuild/build/artifact"
	"hookbuild/build/sbom"
	"hookbuild/internal/bounded"
	"hookbuild/internal/fault"
	"hookbuild/internal/oci"
	"hookbuild/internal/progress"
)

// paper is a file about a HookOS that is attached to it.
type paper struct {
	name    string
	kind    types.MediaType
	content []byte
}

// emptyType is the type of a configuration that says nothing.
const emptyType = "application/vnd.oci.empty.v1+json"

// kinds returns the papers that there are, without content.
func kinds() []paper {
	return []paper{{artifact.SBOMFile, "application/spdx+json", nil}, {artifact.ProvenanceFile, "application/vnd.in-toto+json", nil}}
}

// papers returns the SBOM and the provenance of what is pushed, if they are there. They
// must be about these files.
func (h *HookOS) papers(o PushOptions) ([]paper, error) {
	part := artifact.Manifest{Schema: h.manifest.Schema}
	pushed, err := archs(h.manifest, o.Arch)
	if err != nil {
		return nil, err
	}
	for _, arch := range pushed {
		part.Builds = append(part.Builds, ofArch(h.manifest, arch).Builds...)
	}
	var all []paper
	for _, p := range kinds() {
		text, err := bounded.ReadFile(filepath.Join(h.Dir, p.name), mostListing)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		p.content = text
		about, err := p.isAbout(h.manifest)
		if err != nil {
			return nil, err
		}
		if !about {
			return nil, fault.Invalidf("%s is about other files than these; write it again with `hookbuild sbom`", p.name)
		}
		if p, err = p.part(part); err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// isAbout reports whether the SBOM or the provenance is about the HookOS of a manifest
// and nothing else.
func (p paper) isAbout(m artifact.Manifest) (bool, error) {
	if p.name == artifact.ProvenanceFile {
		var made bytes.Buffer
		err := sbom.Prove(m).Write(&made)
		return bytes.Equal(made.Bytes(), p.content), err
	}
	d, err := sbom.Parse(p.content)
	if err != nil {
		return false, err
	}
	files, err := records(m)
	if err != nil {
		return false, err
	}
	listed := 0
	for _, one := range d.Packages {
		for _, c := range one.Checksums {
			if c.Algorithm != "SHA512" {
				continue
			}
			if listed++; !strings.EqualFold(files[one.Name].SHA512, c.Value) {
				return false, nil
			}
		}
	}
	return listed == len(files), nil
}

// part returns what the paper says of the builds of m. Provenance says of each build
// what its manifest says.
func (p paper) part(m artifact.Manifest) (paper, error) {
	var made bytes.Buffer
	if p.name == artifact.ProvenanceFile {
		err := sbom.Prove(m).Write(&made)
		p.content = made.Bytes()
		return p, err
	}
	d, err := sbom.Parse(p.content)
	if err != nil {
		return p, err
	}
	if d, err = d.Part(m); err != nil {
		return p, err
	}
	err = d.Write(&made)
	p.content = made.Bytes()
	return p, err
}

// attached fetches the papers that are attached to what the reference names, cut to
// the builds of m. What is about something else is left out with a warning.
func attached(ctx context.Context, ref string, subject v1.Hash, m artifact.Manifest, o PullOptions) ([]paper, error) {
	list, err := o.Client.Referrers(ctx, ref, subject)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b v1.Descriptor) int { return strings.Compare(a.Digest.String(), b.Digest.String()) })
	parsed, err := name.ParseReference(ref)
	if err != nil {
		return nil, fault.Mark(err, fault.Invalid)
	}
	var all []paper
	for _, p := range kinds() {
		found := false
		for _, d := range list {
			// Some registries list the type of the configuration.
			if found || d.ArtifactType != string(p.kind) && d.ArtifactType != emptyType && d.ArtifactType != "" {
				continue
			}
			a, err := o.Client.Artifact(ctx, parsed.Context().Digest(d.Digest.String()).String())
			if err != nil {
				return nil, err
			}
			if a.Type != string(p.kind) {
				continue
			}
			one, err := p.fetch(ctx, a)
			if err != nil {
				return nil, err
			}
			if found, err = one.covers(m); fault.KindOf(err) != fault.Invalid && err != nil {
				return nil, err
			}
			if !found {
				progress.Warnf(o.Progress, "%s of type %s is attached and is not about these files; it is not used", d.Digest, p.kind)
				continue
			}
			if one, err = one.part(m); err != nil {
				return nil, err
			}
			all = append(all, one)
		}
	}
	return all, nil
}

// covers reports whether the paper is about the builds of m, and perhaps more.
func (p paper) covers(m artifact.Manifest) (bool, error) {
	if p.name == artifact.SBOMFile {
		part, err := p.part(m)
		if err != nil {
			return false, err
		}
		return part.isAbout(m)
	}
	return sbom.Prove(m).In(p.content)
}

// fetch fetches the content of a paper.
func (p paper) fetch(ctx context.Context, a *oci.Artifact) (_ paper, err error) {
	if len(a.Files) != 1 || a.Files[0].Size > mostListing {
		return p, fault.Invalidf("reading %s, which is attached: it does not have one file of at most %d bytes; detach it", a.Source, mostListing)
	}
	f, err := a.Files[0].Open(ctx)
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	p.content, err = io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
	return p, err
}

// referrer is the image of a paper.
type referrer struct {
	paper
	config, raw []byte
}

// newReferrer makes the manifest that attaches a paper to the subject. An older
// registry takes the type only as that of a configuration.
func newReferrer(p paper, subject v1.Descriptor, older bool) (*referrer, error) {
	r := &referrer{paper: p, config: []byte("{}")}
	sum, size, err := v1.SHA256(bytes.NewReader(p.content))
	if err != nil {
		return nil, err
	}
	config, _, err := v1.SHA256(bytes.NewReader(r.config))
	if err != nil {
		return nil, err
	}
	m := v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, ArtifactType: string(p.kind), Subject: &subject,
		Config: v1.Descriptor{MediaType: emptyType, Digest: config, Size: int64(len(r.config))},
		Layers: []v1.Descriptor{{MediaType: p.kind, Digest: sum, Size: size, Annotations: map[string]string{"org.opencontainers.image.title": p.name}}},
	}
	if older {
		m.ArtifactType, m.Config.MediaType = "", p.kind
	}
	r.raw, err = json.Marshal(m)
	return r, err
}

// RawManifest implements [partial.CompressedImageCore].
func (r *referrer) RawManifest() ([]byte, error) { return r.raw, nil }

// RawConfigFile implements [partial.CompressedImageCore].
func (r *referrer) RawConfigFile() ([]byte, error) { return r.config, nil }

// MediaType implements [partial.CompressedImageCore].
func (r *referrer) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }

// LayerByDigest implements [partial.CompressedImageCore].
func (r *referrer) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	l := static.NewLayer(r.content, r.kind)
	if d, err := l.Digest(); err != nil || d != h {
		return nil, fs.ErrNotExist
	}
	return l, nil
}

// attach pushes the papers as referrers of what was pushed.
func (p *pusher) attach(done *Pushed, papers []paper) error {
	for _, one := range papers {
		for _, subject := range done.subjects {
			err := p.refer(one, subject, false)
			if oci.Refused(err) {
				err = p.refer(one, subject, true)
			}
			if oci.Refused(err) {
				progress.Warnf(p.Progress, "%s refuses manifests with a subject (%s); %s is not attached", p.ref.Context().RegistryStr(), oci.Brief(err), one.name)
				continue
			}
			if err != nil {
				return fault.Outsidef("attaching %s to %q: %w", one.name, p.ref, err)
			}
			if !slices.Contains(done.Attached, one.name) {
				done.Attached = append(done.Attached, one.name)
			}
		}
	}
	for _, subject := range done.subjects {
		tag := p.ref.Context().Tag(subject.Digest.Algorithm + "-" + subject.Digest.Hex)
		if len(done.Attached) == 0 {
			break
		}
		if _, err := remote.Head(tag, p.options...); err == nil {
			progress.Notef(p.Progress, "%s has no referrers API; the SBOM and provenance are listed under the tag %s", tag.RegistryStr(), tag.TagStr())
		}
	}
	return nil
}

// refer pushes one paper.
func (p *pusher) refer(one paper, subject v1.Descriptor, older bool) error {
	r, err := newReferrer(one, subject, older)
	if err != nil {
		return err
	}
	image, err := partial.CompressedToImage(r)
	if err != nil {
		return err
	}
	digest, err := image.Digest()
	if err != nil {
		return err
	}
	task := progress.Start(p.Progress, 0, "attach %s", one.name)
	err = remote.Write(p.ref.Context().Digest(digest.String()), image, p.options...)
	if oci.Refused(err) {
		_ = task.End(nil, "refused") // another form follows, or a warning
		return err
	}
	return task.End(err, "")
}

var _ partial.CompressedImageCore = (*referrer)(nil)
