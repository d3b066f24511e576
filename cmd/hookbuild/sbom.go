package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"hookbuild/build/artifact"
	"hookbuild/build/sbom"
	"hookbuild/build/ship"
	"hookbuild/internal/words"
)

func newSBOMCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:        "sbom",
		Usage:       "list what is in a HookOS, as SPDX and SLSA documents",
		Description: "Sbom reads the artifacts and writes sbom.spdx.json (SPDX 2.3) and provenance.json (SLSA) beside them. It writes manifest.json and checksums.txt anew and prints the paths of all four. A signature of the checksums before is removed.",
		ArgsUsage:   "[DIR]",
		Action:      a.sbom,
	}
}

func (a *app) sbom(c *cli.Context) (err error) {
	if c.NArg() > 1 {
		return usagef("sbom takes at most one directory")
	}
	hookos, err := ship.Open(orDefault(c.Args().First(), c.String("out")))
	if err != nil {
		return err
	}
	b, err := a.newBuilder(c)
	if err != nil {
		return err
	}
	document, err := sbom.Make(c.Context, b.Editor(), hookos.Dir, hookos.Manifest(), nil)
	if err != nil {
		return err
	}
	dir := filepath.Clean(hookos.Dir)
	if base := filepath.Base(dir); base == "." || base == ".." { // the stage needs its name
		if dir, err = filepath.Abs(dir); err != nil {
			return fmt.Errorf("finding the directory %q: %w", hookos.Dir, err)
		}
	}
	signatures, err := fs.Glob(os.DirFS(hookos.Dir), artifact.ChecksumsFile+".*")
	if err != nil {
		return fmt.Errorf("looking for signatures in %q: %w", hookos.Dir, err)
	}
	stage, err := artifact.NewStage(filepath.Dir(dir), filepath.Base(dir))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.Discard()) }()
	if err := stage.Write(artifact.SBOMFile, document.Write); err != nil {
		return err
	}
	if err := stage.Write(artifact.ProvenanceFile, sbom.Prove(hookos.Manifest()).Write); err != nil {
		return err
	}
	if err := stage.Add(c.Context, hookos.Manifest()); err != nil {
		return err
	}
	a.note("%s lists %s; %s says what they were made of", artifact.SBOMFile, words.Count(len(document.Packages), "package"), artifact.ProvenanceFile)
	a.note("%s and %s were written anew; the latter lists all files", artifact.ManifestFile, artifact.ChecksumsFile)
	for _, name := range signatures {
		a.note("removed %s, a signature of the checksums before; sign %s again", name, artifact.ChecksumsFile)
	}
	for _, name := range []string{artifact.SBOMFile, artifact.ProvenanceFile, artifact.ManifestFile, artifact.ChecksumsFile} {
		if _, err := fmt.Fprintln(a.results(), filepath.Join(hookos.Dir, name)); err != nil {
			return err
		}
	}
	return nil
}
