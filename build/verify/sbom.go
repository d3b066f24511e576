package verify

import (
	"bytes"
	"context"
	"os"
	"slices"
	"strings"

	"hookbuild/build/artifact"
	"hookbuild/build/remaster"
	"hookbuild/build/sbom"
	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
	"hookbuild/internal/words"
)

// checkSBOM compares the SBOM with what the files have, and the provenance with the
// manifest, where they are there. Problems of the files are in the report already.
func (v *verifier) checkSBOM(ctx context.Context) error {
	m := artifact.Manifest{Schema: 1, Builds: v.listing.builds}
	for _, name := range []string{artifact.SBOMFile, artifact.ProvenanceFile} {
		if v.request.SBOM && !slices.Contains(v.files, name) {
			v.wrong(name, "it is not there; write it with `hookbuild sbom %s`", v.dir)
		}
	}
	if len(v.report.Faults) > 0 {
		if slices.Contains(v.files, artifact.SBOMFile) {
			progress.Notef(v.editor.Progress, "%s was not compared with the files, because of the problems found so far", artifact.SBOMFile)
		}
		return nil
	}
	if slices.Contains(v.files, artifact.ProvenanceFile) {
		if err := v.take(ctx, artifact.ProvenanceFile, v.checkProvenance(m)); err != nil {
			return err
		}
	}
	if !slices.Contains(v.files, artifact.SBOMFile) {
		return nil
	}
	return v.during(v.start(0, "compare %s with the files", artifact.SBOMFile), func() error {
		return v.take(ctx, artifact.SBOMFile, v.compareSBOM(ctx, m))
	})
}

// listSystem lists what is in a system while its initramfs is open, for the comparison
// with the SBOM. One with problems is not compared.
func (v *verifier) listSystem(ctx context.Context, x *remaster.Existing, name string) error {
	if len(v.report.Faults) > 0 || !slices.Contains(v.files, artifact.SBOMFile) {
		return nil
	}
	for _, b := range v.listing.builds {
		if !slices.ContainsFunc(b.Artifacts, func(f artifact.File) bool { return f.Name == name && f.Link == "" }) {
			continue
		}
		listed, err := sbom.List(ctx, x, v.dir, b)
		if err != nil {
			return err
		}
		v.listed[b.ID] = listed
	}
	return nil
}

func (v *verifier) compareSBOM(ctx context.Context, m artifact.Manifest) error {
	written, err := sbom.Read(v.path(artifact.SBOMFile))
	if err != nil {
		return err
	}
	made, err := sbom.Make(ctx, v.editor, v.dir, m, v.listed)
	if err != nil {
		return err
	}
	only, lacking := written.Compare(made)
	again := "write it again with `hookbuild sbom " + v.dir + "`"
	if len(only) > 0 {
		v.wrong(artifact.SBOMFile, "it lists %s that the files do not have as listed: %s; %s", words.Count(len(only), "package"), first(only), again)
	}
	if len(lacking) > 0 {
		v.wrong(artifact.SBOMFile, "it lacks %s that the files have: %s; %s", words.Count(len(lacking), "package"), first(lacking), again)
	}
	return nil
}

// first returns the first few names.
func first(names []string) string {
	const most = 5
	if len(names) > most {
		names = append(slices.Clone(names[:most]), "...")
	}
	return strings.Join(names, ", ")
}

func (v *verifier) checkProvenance(m artifact.Manifest) error {
	if err := v.checkListing(artifact.ProvenanceFile); err != nil {
		return err
	}
	written, err := os.ReadFile(v.path(artifact.ProvenanceFile))
	if err != nil {
		return fault.Mark(err, fault.Invalid)
	}
	var made bytes.Buffer
	if err := sbom.Prove(m).Write(&made); err != nil {
		return err
	}
	if !bytes.Equal(written, made.Bytes()) {
		v.wrong(artifact.ProvenanceFile, "it does not say what %s says; write it again with `hookbuild sbom %s`", artifact.ManifestFile, v.dir)
	}
	return nil
}
