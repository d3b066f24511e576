package embed

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/distribution/reference"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/internal/fault"
	"hookbuild/internal/oci"
)

// nameTable is the content of dockerd's repositories.json: which image each
// name means. Names are in the familiar form, the one that "docker images"
// prints, because dockerd looks them up literally.
type nameTable struct {
	// Repositories maps repository to reference ("alpine:3", "alpine@sha256:...") to image ID.
	Repositories map[string]map[string]string
	// givenBy maps each reference to the source that it came with.
	givenBy map[string]string
}

func newNameTable() *nameTable {
	return &nameTable{Repositories: map[string]map[string]string{}, givenBy: map[string]string{}}
}

// Name returns the form in which dockerd stores and prints a name: without the
// default registry, and with the tag :latest if it has none. A name that
// dockerd would refuse is an error.
func Name(name string) (string, error) {
	ref, err := parseName(name)
	if err != nil {
		return "", err
	}
	return reference.FamiliarString(reference.TagNameOnly(ref)), nil
}

func parseName(name string) (reference.Named, error) {
	ref, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return nil, fault.Invalidf("naming an image %q: %w; a name looks like 127.0.0.1/embedded/cexec:latest", name, err)
	}
	if reference.FamiliarName(ref) == "sha256" {
		return nil, fault.Invalidf("naming an image %q: Docker takes sha256:... for a digest; choose another name", name)
	}
	return ref, nil
}

// add records a name of the image, and the digest for that name if the image
// was pulled under it.
func (t *nameTable) add(im *oci.Image, name string) error {
	ref, err := parseName(name)
	if err != nil {
		return err
	}
	digest, err := digestOf(im, name, ref)
	if err != nil {
		return err
	}
	repository := reference.FamiliarName(ref)
	if digest != "" {
		if err := t.set(repository, repository+"@"+digest, im); err != nil {
			return err
		}
	}
	if _, onlyDigest := ref.(reference.Digested); onlyDigest {
		tagged, ok := ref.(reference.Tagged)
		if !ok {
			return nil
		}
		return t.set(repository, repository+":"+tagged.Tag(), im)
	}
	return t.set(repository, reference.FamiliarString(reference.TagNameOnly(ref)), im)
}

// addDigest records a digest of the image that cannot be compared with its own.
func (t *nameTable) addDigest(im *oci.Image, name string) error {
	ref, err := parseName(name)
	if err != nil {
		return err
	}
	digested, ok := ref.(reference.Digested)
	if !ok {
		return fault.Invalidf("naming the image %q %q: it has no digest", im.Source, name)
	}
	repository := reference.FamiliarName(ref)
	return t.set(repository, repository+"@"+digested.Digest().String(), im)
}

// digestOf returns the digest that dockerd would keep with the name: the one
// that the image's own reference resolved to, if the name is of the repository
// that the image came from. A digest in the name itself must be the image's.
func digestOf(im *oci.Image, name string, ref reference.Named) (string, error) {
	given, hasDigest := ref.(reference.Digested)
	if !hasDigest {
		if sourceRepository(im) == reference.TrimNamed(ref).Name() {
			return im.IndexDigest.String(), nil
		}
		return "", nil
	}
	digest := given.Digest().String()
	if digest != im.IndexDigest.String() && digest != im.Digest.String() {
		return "", fault.Invalidf("naming the image %q %q: its digest is %s; leave the digest out of the name", im.Source, name, im.IndexDigest)
	}
	return digest, nil
}

// sourceRepository returns the full name ("docker.io/library/alpine") of the
// repository that the image came from, or "" if it came from a file.
func sourceRepository(im *oci.Image) string {
	if im.Reference == nil {
		return ""
	}
	ref, err := reference.ParseNormalizedNamed(im.Reference.Context().Name())
	if err != nil {
		return "" // a registry that dockerd could not name has no digests to keep
	}
	return ref.Name()
}

func (t *nameTable) set(repository, ref string, im *oci.Image) error {
	refs := t.Repositories[repository]
	if refs == nil {
		refs = map[string]string{}
		t.Repositories[repository] = refs
	}
	id := im.ID.String()
	if old, taken := refs[ref]; taken && old != id {
		return fault.Invalidf("naming the image %q %q: the image %q has that name; give one of them another", im.Source, ref, t.givenBy[ref])
	}
	refs[ref] = id
	t.givenBy[ref] = im.Source
	return nil
}

// of returns the image's names and digests, sorted.
func (t *nameTable) of(id v1.Hash) (names, digests []string) {
	for _, refs := range t.Repositories {
		for ref, has := range refs {
			if has != id.String() {
				continue
			}
			if isDigest(ref) {
				digests = append(digests, ref)
			} else {
				names = append(names, ref)
			}
		}
	}
	slices.Sort(names)
	slices.Sort(digests)
	return names, digests
}

func isDigest(ref string) bool {
	parsed, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return false
	}
	_, ok := parsed.(reference.Digested)
	return ok
}

// encode returns the content of repositories.json.
func (t *nameTable) encode() ([]byte, error) {
	body, err := json.Marshal(struct{ Repositories map[string]map[string]string }{t.Repositories})
	if err != nil {
		return nil, fmt.Errorf("writing the names of the images %q: %w", slices.Sorted(maps.Keys(t.Repositories)), err)
	}
	return body, nil
}
