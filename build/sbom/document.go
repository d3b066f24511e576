package sbom

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

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
	if !slices.ContainsFunc(d.Packages, func(o Package) bool { return o.ID == p.ID }) {
		d.Packages = append(d.Packages, p)
		d.Relationships = append(d.Relationships, Relationship{parent, relation, p.ID})
	}
	return p.ID
}

// finish sorts the document and names it after its content.
func (d *Document) finish(creators []string) error {
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

// Read reads a document that Write wrote.
func Read(path string) (*Document, error) {
	text, err := os.ReadFile(path)
	var d Document
	if err == nil {
		err = json.Unmarshal(text, &d)
	}
	if err == nil && d.Version != "SPDX-2.3" {
		err = fmt.Errorf("it is of version %q, not SPDX-2.3", d.Version)
	}
	if err != nil {
		return nil, fault.Invalidf("reading the SBOM: %w; write it again with `hookbuild sbom`", err)
	}
	return &d, nil
}

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
