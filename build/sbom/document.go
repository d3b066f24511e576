package sbom

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"hookbuild/build/artifact"
	"hookbuild/internal/bounded"
	"hookbuild/internal/digest"
	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
)

// Document is an SPDX 2.3 document.
type Document struct {
	Version       string         `json:"spdxVersion"`
	DataLicense   string         `json:"dataLicense"`
	ID            string         `json:"SPDXID"`
	Name          string         `json:"name"`
	Namespace     string         `json:"documentNamespace"`
	Creation      Creation       `json:"creationInfo"`
	Packages      []Package      `json:"packages"`
	Relationships []Relationship `json:"relationships"`

	listed map[string]bool // the identifiers of Packages, while a HookOS is read
}

// Creation says what made a document. Its time is that of every generated file, so
// that equal inputs make equal documents.
type Creation struct {
	Created  string   `json:"created"`
	Creators []string `json:"creators"`
}

// Package is something that a HookOS has.
type Package struct {
	ID            string      `json:"SPDXID"`
	Name          string      `json:"name"`
	Version       string      `json:"versionInfo,omitempty"`
	FileName      string      `json:"packageFileName,omitempty"`
	Location      string      `json:"downloadLocation"`
	FilesAnalyzed bool        `json:"filesAnalyzed"`
	Checksums     []Checksum  `json:"checksums,omitempty"`
	References    []Reference `json:"externalRefs,omitempty"`
	Comment       string      `json:"comment,omitempty"`
}

// Checksum is a digest of a package.
type Checksum struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"checksumValue"`
}

// Reference is a package's name elsewhere.
type Reference struct {
	Category string `json:"referenceCategory"`
	Type     string `json:"referenceType"`
	Locator  string `json:"referenceLocator"`
}

// Relationship says that one element describes or contains another.
type Relationship struct {
	From string `json:"spdxElementId"`
	Type string `json:"relationshipType"`
	To   string `json:"relatedSpdxElement"`
}

const (
	root     = "SPDXRef-DOCUMENT"
	contains = "CONTAINS"
)

func sha256sum(of string) []Checksum {
	if digest.Hex(of) == of || of == "" { // not a SHA-256 digest
		return nil
	}
	return []Checksum{{"SHA256", digest.Hex(of)}}
}

// add adds a package to what contains it, and returns its identifier.
func (d *Document) add(relation, parent string, p Package) string {
	p.ID = "SPDXRef-" + digest.Hex(digest.OfStrings(parent, p.Name, p.Version, p.FileName, p.Comment))[:32]
	p.Location = "NOASSERTION"
	if !d.listed[p.ID] {
		d.listed[p.ID] = true
		d.Packages = append(d.Packages, p)
		d.Relationships = append(d.Relationships, Relationship{parent, relation, p.ID})
	}
	return p.ID
}

// finish sorts the document of the builds of m, and names it after its content.
func (d *Document) finish(m artifact.Manifest) error {
	var creators []string
	for _, b := range m.Builds {
		creators = append(creators, "Tool: hookbuild-"+b.Hookbuild)
	}
	slices.Sort(creators)
	creators = slices.Compact(creators)
	slices.SortFunc(d.Packages, func(a, b Package) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	slices.SortFunc(d.Relationships, func(a, b Relationship) int { return cmp.Compare(a.From+a.To, b.From+b.To) })
	d.Version, d.DataLicense, d.ID, d.Name = "SPDX-2.3", "CC0-1.0", root, "HookOS"
	d.Creation = Creation{initramfs.Epoch().UTC().Format(time.RFC3339), creators}
	content, err := json.Marshal(d.Packages)
	if err != nil {
		return err
	}
	d.Namespace = "urn:hookbuild:sbom:" + digest.Hex(digest.OfBytes(content))
	return nil
}

// Write writes the document as JSON.
func (d *Document) Write(w io.Writer) error { return writeJSON(w, d) }

func writeJSON(w io.Writer, v any) error {
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	return out.Encode(v)
}

// mostDocument bounds a document, which has some hundred bytes for each package.
const mostDocument = 64 << 20

// Read reads a document that Write wrote.
func Read(path string) (*Document, error) {
	text, err := bounded.ReadFile(path, mostDocument)
	if err != nil {
		return nil, fault.Invalidf("reading the SBOM: %w", err)
	}
	return Parse(text)
}

// Parse parses a document that Write wrote.
func Parse(text []byte) (*Document, error) {
	var d Document
	err := json.Unmarshal(text, &d)
	if err == nil && d.Version != "SPDX-2.3" {
		err = fmt.Errorf("it is of version %q, not SPDX-2.3", d.Version)
	}
	if err != nil {
		return nil, fault.Invalidf("reading the SBOM: %w; write it again with `hookbuild sbom`", err)
	}
	return &d, nil
}

// Part returns the document of some of the builds, those of m, as [Make] makes it.
func (d *Document) Part(m artifact.Manifest) (*Document, error) {
	inside := map[string][]string{}
	for _, r := range d.Relationships {
		inside[r.From] = append(inside[r.From], r.To)
	}
	kept := map[string]bool{root: true}
	var keep func(id string)
	keep = func(id string) {
		if !kept[id] {
			kept[id] = true
			for _, to := range inside[id] {
				keep(to)
			}
		}
	}
	part := &Document{}
	for _, p := range d.Packages {
		if slices.Contains(inside[root], p.ID) && slices.ContainsFunc(m.Builds, func(b artifact.Build) bool { return p.Name == nameOf(b) && p.Comment == b.Arch }) {
			keep(p.ID)
		}
	}
	for _, p := range d.Packages {
		if kept[p.ID] {
			part.Packages = append(part.Packages, p)
		}
	}
	for _, r := range d.Relationships {
		if kept[r.From] && kept[r.To] {
			part.Relationships = append(part.Relationships, r)
		}
	}
	return part, part.finish(m)
}

// nameOf returns the name of the package that a build is.
func nameOf(b artifact.Build) string { return "HookOS " + b.ID }

// Compare returns what is only in the document and what is only in the bytes, as
// another document has them.
func (d *Document) Compare(bytes *Document) (only, lacking []string) {
	lines := func(d *Document) map[string]bool {
		all := map[string]bool{}
		for _, p := range d.Packages {
			var sums []string
			for _, c := range p.Checksums {
				sums = append(sums, c.Value)
			}
			all[strings.TrimSpace(p.Name+" "+p.Version)+"\x00"+p.ID+strings.Join(sums, " ")] = true
		}
		return all
	}
	without := func(a, b map[string]bool) (names []string) {
		for line := range a {
			if !b[line] {
				name, _, _ := strings.Cut(line, "\x00")
				names = append(names, name)
			}
		}
		slices.Sort(names)
		return names
	}
	return without(lines(d), lines(bytes)), without(lines(bytes), lines(d))
}
