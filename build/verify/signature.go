package verify

import (
	"context"
	"slices"

	"hookbuild/build/artifact"
	"hookbuild/build/signature"
	"hookbuild/internal/bounded"
	"hookbuild/internal/fault"
)

// checkSignature verifies that the key signed checksums.txt, which lists every other
// file. Of several signatures by different tools one must be the key's.
func (v *verifier) checkSignature(ctx context.Context) error {
	if v.request.Key == "" {
		return nil
	}
	text, err := bounded.ReadFile(v.path(artifact.ChecksumsFile), largestListing)
	if err != nil {
		return v.take(ctx, artifact.ChecksumsFile, fault.Mark(err, fault.Invalid))
	}
	names := signaturesFor(v.key)
	var problems []Fault
	for _, name := range names {
		if !slices.Contains(v.files, name) {
			continue
		}
		signed, err := bounded.ReadFile(v.path(name), largestListing)
		if err == nil {
			err = v.key.Verify(text, signed)
		}
		if err == nil {
			v.report.Signature = name
			return nil
		}
		problems = append(problems, Fault{File: name, Problem: err.Error()})
	}
	if len(problems) == 0 {
		v.wrong(artifact.ChecksumsFile, "there is no signature of it by such a key, neither %s nor %s; docs/publish.md has the commands that sign", names[0], names[1])
	}
	for _, p := range problems {
		v.wrong(p.File, "%s", p.Problem)
	}
	return nil
}

// signaturesFor returns the names of the files that may have a key's signature.
func signaturesFor(k signature.Key) []string {
	if k.IsPGP() {
		return []string{artifact.ChecksumsFile + ".asc", artifact.ChecksumsFile + ".sig"}
	}
	return []string{artifact.ChecksumsFile + ".sigstore.json", artifact.ChecksumsFile + ".sig"}
}
