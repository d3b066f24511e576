package main

import (
	_ "embed"
	"io"

	"github.com/urfave/cli/v2"
)

var (
	//go:embed completion/hookbuild.bash
	bashCompletion string
	//go:embed completion/_hookbuild
	zshCompletion string
	//go:embed completion/hookbuild.fish
	fishCompletion string
)

func newCompletionCommand(a *app) *cli.Command {
	script := func(shell, usage, text string) *cli.Command {
		return &cli.Command{
			Name: shell, Usage: usage,
			Action: func(c *cli.Context) error {
				if c.NArg() > 0 {
					return usagef("%q: %s takes no arguments", c.Args().First(), a.command())
				}
				_, err := io.WriteString(a.results(), text)
				return err
			},
		}
	}
	return &cli.Command{
		Name:  "completion",
		Usage: "print a shell's completion script",
		Description: "The script completes commands, options and their values, flavors, files, templates and images. Flavors are those of " +
			"the checkout too, images those that a bundle manifest on this machine, hookbuild.yaml, the lock and the cache name; no server is contacted.",
		Subcommands: []*cli.Command{
			script("bash", "print the completion script for bash", bashCompletion),
			script("zsh", "print the completion script for zsh, to be sourced after compinit", zshCompletion),
			script("fish", "print the completion script for fish", fishCompletion),
		},
	}
}
