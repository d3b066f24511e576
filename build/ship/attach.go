package ship

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"hookbuild/build/artifact"
	"hookbuild/build/sbom"
	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
)

// paper is a file about a HookOS that is attached to it.
type paper struct {
	name    string
	kind    types.MediaType
	content []byte
}

// papers returns the SBOM and the provenance, if they are there. They must be about
// these files, and all of them must be pushed.
func (h *HookOS) papers(o PushOptions) ([]paper, error) {
	all := []paper{{artifact.SBOMFile, "application/spdx+json", nil}, {artifact.ProvenanceFile, "application/vnd.in-toto+json", nil}}
	all = slices.DeleteFunc(all, func(p paper) bool { return !exists(filepath.Join(h.Dir, p.name)) })
	if whole, err := archs(h.manifest, ""); err != nil || len(all) == 0 {
		return nil, err
	} else if o.Arch != "" && len(whole) > 1 {
		progress.Warnf(o.Progress, "%s is about all architectures and is not attached, because --arch pushes one of them", all[0].name)
		return nil, nil
	}
	for i := range all {
		var err error
		if all[i].content, err = os.ReadFile(filepath.Join(h.Dir, all[i].name)); err != nil {
			return nil, err
		}
		about, err := h.isAbout(all[i])
		if err != nil {
			return nil, err
		}
		if !about {
			return nil, fault.Invalidf("%s is about other files than these; write it again with `hookbuild sbom`", all[i].name)
		}
	}
	return all, nil
}

// isAbout reports whether the SBOM or the provenance is about the HookOS.
func (h *HookOS) isAbout(p paper) (bool, error) {
	if p.name == artifact.ProvenanceFile {
		var made bytes.Buffer
		err := sbom.Prove(h.manifest).Write(&made)
		return bytes.Equal(made.Bytes(), p.content), err
	}
	d, err := sbom.Read(filepath.Join(h.Dir, p.name))
	if err != nil {
		return false, err
	}
	files, err := records(h.manifest)
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
		Config: v1.Descriptor{MediaType: "application/vnd.oci.empty.v1+json", Digest: config, Size: int64(len(r.config))},
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
			if refused(err) {
				err = p.refer(one, subject, true)
			}
			if refused(err) {
				progress.Warnf(p.Progress, "%s refuses manifests with a subject (%s); %s is not attached", p.ref.Context().RegistryStr(), brief(err), one.name)
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
			progress.Notef(p.Progress, "%s does not list what refers to an image; the tag %s lists it", tag.RegistryStr(), tag.TagStr())
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
	if refused(err) {
		_ = task.End(nil, "refused") // another form follows, or a warning
		return err
	}
	return task.End(err, "")
}

var _ partial.CompressedImageCore = (*referrer)(nil)
