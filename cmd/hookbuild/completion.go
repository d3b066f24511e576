package main

import (
	"context"
	_ "embed"
	"io"

	"github.com/urfave/cli/v2"

	"hookbuild/internal/fault"
)

// completionFlag is the last word of a command line that a shell asks to complete.
// The cli library handles it.
const completionFlag = "--generate-bash-completion"

//go:embed completion/hookbuild.bash
var bashCompletion string

//go:embed completion/_hookbuild
var zshCompletion string

func newCompletionCommand(a *app) *cli.Command {
	script := func(shell, usage string, text func(*cli.App) (string, error)) *cli.Command {
		return &cli.Command{
			Name: shell, Usage: usage,
			Action: func(c *cli.Context) error {
				if c.NArg() > 0 {
					return usagef("completion %s takes no arguments, but was given %q", shell, c.Args().First())
				}
				s, err := text(c.App)
				if err != nil {
					return err
				}
				_, err = io.WriteString(a.results(), s)
				return err
			},
		}
	}
	return &cli.Command{
		Name:  "completion",
		Usage: "print a shell's completion script",
		Subcommands: []*cli.Command{
			script("bash", "print the completion script for bash", func(*cli.App) (string, error) { return bashCompletion, nil }),
			script("zsh", "print the completion script for zsh, to be sourced after compinit", func(*cli.App) (string, error) { return zshCompletion, nil }),
			script("fish", "print the completion script for fish", func(*cli.App) (string, error) { return newRootCommand(a).ToFishCompletion() }),
		},
		Action: func(c *cli.Context) error {
			if name := c.Args().First(); name != "" {
				return usagef("completion does not support the shell %q; name bash, zsh or fish", name)
			}
			return usagef("completion needs the name of a shell: bash, zsh or fish")
		},
	}
}

// complete prints the words that may follow args, one a line. A shell shows no
// error, so only the exit code reports one.
func (a *app) complete(ctx context.Context, root *cli.App, args []string) int {
	root.EnableBashCompletion = true
	if err := root.RunContext(ctx, append([]string{"hookbuild"}, args...)); err != nil {
		return int(fault.KindOf(err))
	}
	return 0
}

// wantsCompletion reports whether a shell asks for completions of args.
func wantsCompletion(args []string) bool {
	return len(args) > 0 && args[len(args)-1] == completionFlag
}
