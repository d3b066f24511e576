package main

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

var variableArgument = regexp.MustCompile(`^[A-Z][A-Z0-9_]*=`)

// commandLine is a parsed command line.
type commandLine struct {
	// sorted is the line in the order that the cli library reads: global
	// options, the command's names, its options, "--", its arguments.
	sorted    []string
	names     []string          // of the command and its subcommand
	spelled   []string          // these names as they were typed
	words     []string          // its arguments
	variables map[string]string // the KEY=VALUE words
	options   []string          // the names of its options, without dashes
	lowered   string            // the first KEY=VALUE word that would be a variable in capitals
	help      bool              // whether --help or -h is among the options
	// lacksValue reports that the last option needs a value, which is an error.
	lacksValue bool
}

// arrange parses a command line. The cli library stops at the first word that is
// not an option, but people write `all FLAVOR --out DIR`, and build.sh accepts
// KEY=VALUE anywhere. Words after "--" are left alone. In the place of a flavor, an
// empty word is the value of a variable that a script's environment lacks, and is left
// out.
func arrange(root *cli.App, args []string) (commandLine, error) {
	line := commandLine{variables: map[string]string{}}
	global := flagValues(root.Flags)
	for _, name := range cli.VersionFlag.Names() {
		global[name] = false
	}
	known := maps.Clone(global)
	local := map[string]bool{}
	sub := root.Commands
	takesFlavor := false
	var globals, flags []string
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--":
			line.words = append(line.words, args...)
			args = nil
		case strings.HasPrefix(arg, "-") && arg != "-":
			name, _, joined := strings.Cut(strings.TrimLeft(arg, "-"), "=")
			line.options = append(line.options, name)
			taken := []string{arg}
			takesValue, isLocal := local[name]
			if !isLocal {
				takesValue = global[name]
			}
			if takesValue && !joined {
				if line.lacksValue = len(args) == 0; line.lacksValue {
					break
				}
				taken = append(taken, args[0])
				args = args[1:]
			}
			switch _, isGlobal := global[name]; {
			case name == "help" || name == "h":
				line.help = true
			case isGlobal && !isLocal:
				globals = append(globals, taken...)
			default:
				flags = append(flags, taken...)
			}
		case variableArgument.MatchString(arg):
			key, value, _ := strings.Cut(arg, "=")
			line.variables[key] = value
		default:
			if key, _, found := strings.Cut(arg, "="); found && line.lowered == "" && slices.Contains(knownVariables(), strings.ToUpper(key)) {
				line.lowered = arg
			}
			i := slices.IndexFunc(sub, func(c *cli.Command) bool { return c.HasName(arg) })
			if i < 0 || len(line.words) > 0 {
				line.words = append(line.words, arg)
				continue
			}
			line.names = append(line.names, sub[i].Name)
			line.spelled = append(line.spelled, arg)
			maps.Copy(local, flagValues(sub[i].Flags))
			maps.DeleteFunc(known, func(name string, _ bool) bool { return isVersion(name) })
			maps.Copy(known, local)
			takesFlavor = strings.HasPrefix(sub[i].ArgsUsage, "[FLAVOR")
			sub = sub[i].Subcommands
		}
	}
	if takesFlavor {
		line.words = slices.DeleteFunc(line.words, func(word string) bool { return word == "" })
	}
	line.sorted = slices.Concat(globals, line.names, flags)
	if len(line.words) > 0 {
		line.sorted = append(append(line.sorted, "--"), line.words...)
	}
	if line.lacksValue {
		return line, usagef("%s needs a value", dashed(line.options[len(line.options)-1]))
	}
	return line, line.check(sub, known)
}

// typed returns the names of the command and its subcommand as they were typed.
func (l commandLine) typed() string { return strings.Join(l.spelled, " ") }

// check rejects commands and options that do not exist. If sub is not empty, the
// first argument was meant to be one of these commands. Known are the names of the
// options that exist.
func (l commandLine) check(sub []*cli.Command, known map[string]bool) error {
	path := l.typed()
	if key, value, found := strings.Cut(l.lowered, "="); found {
		return usagef("%s is not a variable; did you mean %s=%s?", l.lowered, strings.ToUpper(key), value)
	}
	if len(sub) > 0 && len(l.words) > 0 {
		return unknownCommand(sub, path, l.words[0])
	}
	for _, name := range l.options {
		if _, ok := known[name]; !ok {
			return unknownFlag(path, dashed(name), known)
		}
	}
	if len(sub) > 0 && !l.asksOnly() {
		return lacksCommand(sub, path, l.variables)
	}
	return nil
}

// dashed returns an option as people type it.
func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// asksOnly reports whether a line without a command is one that has help or the
// version as its answer.
func (l commandLine) asksOnly() bool {
	return l.help || len(l.variables) == 0 && len(l.options) == 0 || slices.ContainsFunc(l.options, isVersion)
}

// isVersion reports whether an option is the one that prints the version, without a
// command.
func isVersion(name string) bool { return slices.Contains(cli.VersionFlag.Names(), name) }

// flagValues maps each name of the flags to whether the flag takes a value.
func flagValues(flags []cli.Flag) map[string]bool {
	takes := map[string]bool{"help": false, "h": false}
	for _, f := range flags {
		_, isBool := f.(*cli.BoolFlag)
		for _, name := range f.Names() {
			takes[name] = !isBool
		}
	}
	return takes
}
