package main

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"
)

func newManCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:  "man",
		Usage: "print the manual page, for man(1)",
		Action: func(c *cli.Context) error {
			if c.NArg() > 0 {
				return usagef("man takes no arguments, but was given %q", c.Args().First())
			}
			page, err := newRootCommand(a).ToManWithSection(1)
			if err != nil {
				return fmt.Errorf("formatting the manual page: %w", err)
			}
			_, err = io.WriteString(a.results(), page)
			return err
		},
	}
}
