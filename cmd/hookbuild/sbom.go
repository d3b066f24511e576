package main

import (
	"errors"
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
		Description: "Sbom reads the artifacts and writes sbom.spdx.json (SPDX 2.3) and provenance.json (SLSA) beside them.",
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
	dir, err := filepath.Abs(hookos.Dir)
	if err != nil {
		return err
	}
	document, err := sbom.Make(c.Context, b.Editor(), dir, hookos.Manifest(), nil)
	if err != nil {
		return err
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
	return nil
}
