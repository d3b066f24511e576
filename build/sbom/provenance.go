package sbom

import (
	"cmp"
	"encoding/json"
	"io"
	"reflect"
	"slices"
	"strings"

	"hookbuild/build/artifact"
	"hookbuild/internal/digest"
	"hookbuild/internal/fault"
)

// Statement is an in-toto statement with SLSA's provenance, version 1. It says what
// manifest.json says, in the form that checkers of provenance read.
type Statement struct {
	Type          string     `json:"_type"`
	Subject       []Resource `json:"subject"`
	PredicateType string     `json:"predicateType"`
	Predicate     Provenance `json:"predicate"`
}

// Resource is something by digest.
type Resource struct {
	Name   string            `json:"name,omitempty"`
	URI    string            `json:"uri,omitempty"`
	Digest map[string]string `json:"digest,omitempty"`
}

// Provenance is SLSA's predicate.
type Provenance struct {
	Definition Definition `json:"buildDefinition"`
	Details    Details    `json:"runDetails"`
}

// Definition says what was built.
type Definition struct {
	Type         string     `json:"buildType"`
	Parameters   Parameters `json:"externalParameters"`
	Dependencies []Resource `json:"resolvedDependencies"`
}

// Parameters are the builds that were asked for.
type Parameters struct {
	Builds []Asked `json:"builds"`
}

// Asked is one build and its options.
type Asked struct {
	ID      string            `json:"id"`
	Arch    string            `json:"arch"`
	Flavor  string            `json:"flavor,omitempty"`
	Options map[string]string `json:"options"`
}

// Details say what built it.
type Details struct {
	Builder Builder `json:"builder"`
}

// Builder is hookbuild, with its version.
type Builder struct {
	ID      string            `json:"id"`
	Version map[string]string `json:"version"`
}

// Prove makes the statement about the HookOS of a manifest. Like the manifest, it has
// no time, path or secret of the machine that built it.
func Prove(m artifact.Manifest) Statement {
	s := Statement{Type: "https://in-toto.io/Statement/v1", PredicateType: "https://slsa.dev/provenance/v1"}
	p := &s.Predicate
	p.Definition.Type = "urn:hookbuild:hookos:v1"
	p.Details.Builder = Builder{ID: "urn:hookbuild", Version: map[string]string{}}
	for _, b := range m.Builds {
		for _, f := range b.Artifacts {
			s.Subject = append(s.Subject, Resource{Name: f.Name, Digest: map[string]string{"sha512": strings.ToLower(f.SHA512)}})
		}
		p.Definition.Parameters.Builds = append(p.Definition.Parameters.Builds, Asked{b.ID, b.Arch, b.Flavor, b.Options})
		p.Definition.Dependencies = append(p.Definition.Dependencies, dependencies(b)...)
		p.Details.Builder.Version["hookbuild"] = b.Hookbuild
	}
	return s
}

// In reports whether a text is a statement that has all of the builds, files and
// dependencies of s.
func (s Statement) In(text []byte) (bool, error) {
	var whole Statement
	if err := json.Unmarshal(text, &whole); err != nil {
		return false, fault.Invalidf("reading a provenance statement: %w", err)
	}
	equal := s.Type == whole.Type && s.PredicateType == whole.PredicateType && s.Predicate.Definition.Type == whole.Predicate.Definition.Type
	return equal && within(s.Subject, whole.Subject) &&
		within(s.Predicate.Definition.Parameters.Builds, whole.Predicate.Definition.Parameters.Builds) &&
		within(s.Predicate.Definition.Dependencies, whole.Predicate.Definition.Dependencies), nil
}

// within reports whether whole has every element of part.
func within[E any](part, whole []E) bool {
	return !slices.ContainsFunc(part, func(e E) bool {
		return !slices.ContainsFunc(whole, func(w E) bool { return reflect.DeepEqual(e, w) })
	})
}

// Write writes the statement as JSON.
func (s Statement) Write(w io.Writer) error { return writeJSON(w, s) }

// dependencies returns the inputs of a build.
func dependencies(b artifact.Build) []Resource {
	all := []Resource{}
	add := func(name, of string) {
		r := Resource{Name: name}
		if sums := sha256sum(of); sums != nil {
			r.Digest = map[string]string{"sha256": digest.Hex(of)}
		}
		all = append(all, r)
	}
	if k := b.Kernel; k != nil {
		add(k.Source, k.Digest)
		for _, in := range []*artifact.Input{k.Archive, k.Config, k.Builder} {
			if in != nil {
				add(in.Name, in.Digest)
			}
		}
	}
	if base := b.Base; base != nil {
		add(base.Kernel.Name, base.Kernel.Digest)
		add(base.Initramfs.Name, base.Initramfs.Digest)
	}
	if b.Template != nil {
		add(b.Template.Name, b.Template.Digest)
	}
	for _, o := range b.Overlays {
		add(o.Name, o.Digest)
	}
	for _, f := range b.Files {
		add(f.Name, f.Digest)
	}
	for _, i := range b.Images {
		add(i.Reference, i.Digest)
		if i.Index != "" {
			add(i.Reference, i.Index)
		}
	}
	if b.Loader != nil {
		add(b.Loader.Name, b.Loader.Digest)
	}
	if b.Bundle != nil {
		add(b.Bundle.Location, b.Bundle.Digest)
	}
	for _, i := range b.Embedded {
		add(i.Source, cmp.Or(i.Digest, i.ID)) // one without a manifest has only an ID
		if i.Manifest != "" {
			add(i.Source, i.Manifest)
		}
	}
	// The HookOS that a worker was taken out of is not among the images.
	if w := b.Worker; w != nil && !slices.ContainsFunc(b.Embedded, func(i artifact.OnBoard) bool { return i.Digest == w.Digest }) {
		add(w.Source, w.Digest)
	}
	return all
}
