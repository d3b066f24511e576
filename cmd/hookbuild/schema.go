package main

import (
	"github.com/urfave/cli/v2"

	"hookbuild/site"
)

func newSchemaCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:  "schema",
		Usage: "print the JSON schema of hookbuild.yaml, for editors",
		Action: func(c *cli.Context) error {
			if c.NArg() > 0 {
				return usagef("%q: %s takes no arguments", c.Args().First(), a.command())
			}
			text, err := site.Schema()
			if err != nil {
				return err
			}
			_, err = a.results().Write(text)
			return err
		},
	}
}
