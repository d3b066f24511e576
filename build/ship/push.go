package ship

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"hookbuild/internal/fault"
	"hookbuild/internal/oci"
	"hookbuild/internal/progress"
)

// PushOptions say how a HookOS is pushed.
type PushOptions struct {
	Remote oci.Remote
	// Arch is the only architecture to push, in Go's terms; "" means all.
	Arch string
	// Annotations are added to the index and to each manifest.
	Annotations map[string]string
	Progress    progress.Sink
}

// Pushed is what a push left in the registry.
type Pushed struct {
	// References are the index by digest or, in a registry that takes no index,
	// the manifest of each architecture.
	References []string
	// Attached are the names of the files that refer to them.
	Attached []string

	subjects []v1.Descriptor
}

// pusher pushes one HookOS.
type pusher struct {
	PushOptions
	ref     name.Reference
	images  []*image
	options []remote.Option
	// plain leaves out the artifact types, which some registries refuse.
	plain bool
}

// Push pushes the HookOS to the tag ref. Files that are not those that manifest.json
// lists are an error, before anything is sent.
func (h *HookOS) Push(ctx context.Context, ref string, o PushOptions) (Pushed, error) {
	parsed, err := o.Remote.Parse(ref)
	if err != nil {
		return Pushed{}, err
	}
	if _, tagged := parsed.(name.Tag); !tagged {
		return Pushed{}, fault.Usagef("pushing to %q: name a tag, not a digest; the digest is known when everything is pushed", ref)
	}
	all, err := archs(h.manifest, o.Arch)
	if err != nil {
		return Pushed{}, err
	}
	p := &pusher{PushOptions: o, ref: parsed, options: o.Remote.Options(ctx)}
	for _, arch := range all {
		im, err := h.image(ctx, o.Progress, arch)
		if err != nil {
			return Pushed{}, err
		}
		p.images = append(p.images, im)
	}
	papers, err := h.papers(o)
	if err != nil {
		return Pushed{}, err
	}
	done, err := p.push()
	if err != nil {
		return done, err
	}
	return done, p.attach(&done, papers)
}

// push pushes the images, in a simpler form where the registry refuses a better one.
func (p *pusher) push() (Pushed, error) {
	done, err := p.pushIndex()
	if oci.Refused(err) {
		progress.Warnf(p.Progress, "%s refuses manifests with an artifact type (%v); pushing them as plain images", p.ref.Context().RegistryStr(), oci.Brief(err))
		p.plain = true
		done, err = p.pushIndex()
	}
	if oci.Refused(err) {
		progress.Warnf(p.Progress, "%s refuses an index (%v); pushing a tag for each architecture", p.ref.Context().RegistryStr(), oci.Brief(err))
		done, err = p.pushTags()
	}
	if err != nil {
		return Pushed{}, fault.Outsidef("pushing the HookOS to %q: %w (%s)", p.ref, err, oci.PushRemedy(err))
	}
	return done, nil
}

// pushIndex pushes the manifests by digest, and the index to the tag.
func (p *pusher) pushIndex() (Pushed, error) {
	made := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Annotations: p.annotations()}
	if !p.plain {
		made.ArtifactType = artifactType
	}
	for _, im := range p.images {
		if err := im.seal(!p.plain, p.annotations()); err != nil {
			return Pushed{}, err
		}
		d, err := im.descriptor()
		if err != nil {
			return Pushed{}, err
		}
		made.Manifests = append(made.Manifests, d)
		if err := p.write(p.ref.Context().Digest(d.Digest.String()), im); err != nil {
			return Pushed{}, err
		}
	}
	raw, err := json.Marshal(made)
	if err != nil {
		return Pushed{}, err
	}
	hash, _, err := v1.SHA256(bytes.NewReader(raw))
	if err != nil {
		return Pushed{}, err
	}
	if err := remote.Put(p.ref, index(raw), p.options...); err != nil {
		return Pushed{}, err
	}
	subject := v1.Descriptor{MediaType: types.OCIImageIndex, Digest: hash, Size: int64(len(raw))}
	return Pushed{References: []string{p.ref.Context().Digest(hash.String()).String()}, subjects: []v1.Descriptor{subject}}, nil
}

// pushTags pushes the manifest of each architecture to a tag of its own: TAG-amd64.
func (p *pusher) pushTags() (Pushed, error) {
	var done Pushed
	for _, im := range p.images {
		if err := im.seal(!p.plain, p.annotations()); err != nil {
			return done, err
		}
		d, err := im.descriptor()
		if err != nil {
			return done, err
		}
		tag := p.ref.Context().Tag(p.ref.Identifier() + "-" + im.arch)
		if err := p.write(tag, im); err != nil {
			return done, err
		}
		done.References = append(done.References, tag.String()+"@"+d.Digest.String())
		done.subjects = append(done.subjects, v1.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size})
	}
	return done, nil
}

// write pushes one image.
func (p *pusher) write(ref name.Reference, im *image) error {
	whole, err := partial.CompressedToImage(im)
	if err != nil {
		return err
	}
	var total int64
	for _, l := range im.layers {
		total += l.size
	}
	task := progress.Start(p.Progress, total, "push the HookOS for %s", im.arch)
	for _, l := range im.layers {
		l.task = task
	}
	err = remote.Write(ref, whole, p.options...)
	if oci.Refused(err) {
		_ = task.End(nil, "refused") // a simpler form is pushed next
		return err
	}
	return task.End(err, "")
}

func (p *pusher) annotations() map[string]string {
	all := map[string]string{"org.opencontainers.image.title": "HookOS"}
	maps.Copy(all, p.Annotations)
	return all
}
