package main

import (
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

var variableArgument = regexp.MustCompile(`^[A-Z][A-Z0-9_]*=`)

// arrange puts a command line into the order that the cli library reads: it
// stops at the first word that is no flag, whereas people write
// `all FLAVOR --out DIR` and build.sh takes KEY=VALUE anywhere. Global flags go
// first, then the command's names, its flags, its arguments. The KEY=VALUE
// words come back as variables; all after "--" stays as it is.
func arrange(root *cli.App, args []string) (sorted []string, variables map[string]string, err error) {
	variables = map[string]string{}
	global := flagValues(root.Flags)
	local := map[string]bool{}
	sub := root.Commands
	var globals, names, flags, words []string
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--":
			words = append(words, args...)
			args = nil
		case strings.HasPrefix(arg, "-") && arg != "-":
			name, _, joined := strings.Cut(strings.TrimLeft(arg, "-"), "=")
			taken := []string{arg}
			takesValue, isLocal := local[name]
			if !isLocal {
				takesValue = global[name]
			}
			if takesValue && !joined {
				if len(args) == 0 {
					return nil, nil, usagef("%s needs a value", arg)
				}
				taken = append(taken, args[0])
				args = args[1:]
			}
			if _, isGlobal := global[name]; isGlobal && !isLocal {
				globals = append(globals, taken...)
			} else {
				flags = append(flags, taken...)
			}
		case variableArgument.MatchString(arg):
			key, value, _ := strings.Cut(arg, "=")
			variables[key] = value
		default:
			i := slices.IndexFunc(sub, func(c *cli.Command) bool { return c.HasName(arg) })
			if i < 0 || len(words) > 0 {
				words = append(words, arg)
				continue
			}
			names = append(names, arg)
			for name, value := range flagValues(sub[i].Flags) {
				local[name] = value
			}
			sub = sub[i].Subcommands
		}
	}
	sorted = slices.Concat(globals, names, flags)
	if len(words) > 0 {
		sorted = append(append(sorted, "--"), words...)
	}
	return sorted, variables, nil
}

// flagValues maps each name of the flags to whether it takes a value.
func flagValues(flags []cli.Flag) map[string]bool {
	takes := map[string]bool{"help": false, "h": false, "version": false, "v": false}
	for _, f := range flags {
		_, isBool := f.(*cli.BoolFlag)
		for _, name := range f.Names() {
			takes[name] = !isBool
		}
	}
	return takes
}
