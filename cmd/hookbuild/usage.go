package main

import (
	"regexp"
	"slices"

	"github.com/urfave/cli/v2"

	"hookbuild/internal/fault"
)

func usageError(c *cli.Context, err error, _ bool) error {
	if parts := invalidValue.FindStringSubmatch(err.Error()); parts != nil {
		value, name := parts[1], parts[2]
		flags := c.App.Flags
		if c.Command != nil {
			flags = concat(c.Command.Flags, flags)
		}
		return usagef("--%s %s %s; add --help for the command's usage", name, value, expected(flags, name))
	}
	return usagef("%v; add --help for the command's usage", err)
}

// invalidValue matches the errors of package flag about an option's value.
var invalidValue = regexp.MustCompile(`^invalid (?:boolean )?value (".*") for (?:flag )?-+([^:]+): `)

// expected says in a sentence's end that a value is not one of the option.
func expected(flags []cli.Flag, name string) string {
	i := slices.IndexFunc(flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), name) })
	if i < 0 {
		return "is not a value of it"
	}
	switch flags[i].(type) {
	case *cli.DurationFlag:
		return "is not a duration such as 90s or 10m"
	case *cli.IntFlag:
		if slices.Contains(flags[i].Names(), "memory") {
			return "is not a whole number of MiB, such as 2048"
		}
		return "is not a whole number"
	case *cli.BoolFlag:
		return "is neither true nor false; give the option without a value, or leave it out"
	}
	return "is not a value of it"
}

func usagef(format string, args ...any) error {
	return fault.Usagef(format, args...)
}
