package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/module"
)

// The types below are the part of SPDX 2.3 that is needed to say what a
// program is made of; see https://spdx.github.io/spdx-spec/v2.3/.
type (
	spdxDocument struct {
		Version       string             `json:"spdxVersion"`
		DataLicense   string             `json:"dataLicense"`
		ID            string             `json:"SPDXID"`
		Name          string             `json:"name"`
		Namespace     string             `json:"documentNamespace"`
		Creation      spdxCreation       `json:"creationInfo"`
		Packages      []spdxPackage      `json:"packages"`
		Relationships []spdxRelationship `json:"relationships"`
	}
	spdxCreation struct {
		Created  string   `json:"created"`
		Creators []string `json:"creators"`
	}
	spdxPackage struct {
		ID               string         `json:"SPDXID"`
		Name             string         `json:"name"`
		Version          string         `json:"versionInfo"`
		Download         string         `json:"downloadLocation"`
		FilesAnalyzed    bool           `json:"filesAnalyzed"`
		LicenseConcluded string         `json:"licenseConcluded"`
		LicenseDeclared  string         `json:"licenseDeclared"`
		Copyright        string         `json:"copyrightText"`
		Purpose          string         `json:"primaryPackagePurpose"`
		SourceInfo       string         `json:"sourceInfo,omitempty"`
		Checksums        []spdxChecksum `json:"checksums,omitempty"`
		References       []spdxRef      `json:"externalRefs,omitempty"`
	}
	spdxChecksum struct {
		Algorithm string `json:"algorithm"`
		Value     string `json:"checksumValue"`
	}
	spdxRef struct {
		Category string `json:"referenceCategory"`
		Type     string `json:"referenceType"`
		Locator  string `json:"referenceLocator"`
	}
	spdxRelationship struct {
		Element string `json:"spdxElementId"`
		Type    string `json:"relationshipType"`
		Related string `json:"relatedSpdxElement"`
	}
)

const noAssertion = "NOASSERTION"

// writeBill writes the bill of materials of a program.
func writeBill(path string, p *program, all []component, binary []byte, stamp time.Time) error {
	sum := sha256.Sum256(binary)
	digest := hex.EncodeToString(sum[:])
	const root, main = "SPDXRef-DOCUMENT", "SPDXRef-hookbuild"
	d := spdxDocument{
		Version: "SPDX-2.3", DataLicense: "CC0-1.0", ID: root,
		Name:      fmt.Sprintf("hookbuild %s %s/%s", p.version(), p.goos, p.arch),
		Namespace: "https://spdx.org/spdxdocs/hookbuild-" + p.version() + "-" + digest,
		Creation:  spdxCreation{stamp.UTC().Format(time.RFC3339), []string{"Tool: hookbuild-dist"}},
		Packages: []spdxPackage{{
			ID: main, Name: "hookbuild", Version: p.version(), Download: noAssertion,
			LicenseConcluded: "Apache-2.0", LicenseDeclared: "Apache-2.0", Copyright: noAssertion, Purpose: "APPLICATION",
			SourceInfo: sourceOf(p), Checksums: []spdxChecksum{{"SHA256", digest}},
		}},
		Relationships: []spdxRelationship{{root, "DESCRIBES", main}},
	}
	for i, c := range all {
		id := "SPDXRef-component-" + strconv.Itoa(i+1)
		one := spdxPackage{
			ID: id, Name: c.path, Version: c.version, Download: noAssertion,
			LicenseConcluded: c.licence, LicenseDeclared: c.licence, Copyright: noAssertion, Purpose: "LIBRARY",
			References: []spdxRef{{"PACKAGE-MANAGER", "purl", "pkg:golang/" + c.path + "@" + strings.ReplaceAll(c.version, "+", "%2B")}},
		}
		if c.sum != "" {
			one.Download = moduleZip(c)
			one.SourceInfo = "go.sum " + c.sum
		}
		d.Packages = append(d.Packages, one)
		d.Relationships = append(d.Relationships, spdxRelationship{main, "CONTAINS", id})
	}
	text, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the bill of materials: %w", err)
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

func sourceOf(p *program) string {
	if commit := p.setting("vcs.revision"); commit != "" {
		return "git commit " + commit
	}
	return "built without git"
}

// moduleZip returns the address of a module's sources at Go's module proxy.
func moduleZip(c component) string {
	path, err := module.EscapePath(c.path)
	if err != nil {
		return noAssertion
	}
	version, err := module.EscapeVersion(c.version)
	if err != nil {
		return noAssertion
	}
	return "https://proxy.golang.org/" + path + "/@v/" + version + ".zip"
}
