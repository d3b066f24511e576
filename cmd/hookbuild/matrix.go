package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"hookbuild/build/matrix"
	"hookbuild/kernel/flavor"
)

func newMatrixCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:    "matrix",
		Aliases: []string{"gha-matrix"},
		Usage:   "print the jobs of a GitHub Actions matrix as JSON; CI_TAGS chooses the flavors",
		Action: func(c *cli.Context) error {
			if c.NArg() > 0 {
				return usagef("%q: the command takes no arguments; choose flavors with CI_TAGS=%q", c.Args().First(), "standard lts")
			}
			flavors, err := a.flavors(c)
			if err != nil {
				return err
			}
			m, err := matrix.Make(matrix.Inventory{Flavors: flavors.All(), Bootables: flavor.Bootables()}, a.variable)
			if err != nil {
				return err
			}
			if err := m.Write(a.results()); err != nil {
				return err
			}
			return appendOutputs(a.getenv("GITHUB_OUTPUT"), m)
		},
	}
}

// appendOutputs passes the matrix to the later jobs of a workflow, if it runs in
// one.
func appendOutputs(path string, m matrix.Matrix) error {
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("writing the step's outputs (GITHUB_OUTPUT): %w", err)
	}
	if err := errors.Join(m.Write(f), f.Close()); err != nil {
		return fmt.Errorf("writing the step's outputs to %q: %w", path, err)
	}
	return nil
}
