package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"hookbuild/internal/fault"
)

// completeCommand is the first argument of a command line with which a completion
// script asks for what may take the place of the last argument. The arguments
// between them are the words before it, without the program's name.
//
// The answer has a line for each word, with a tab before its description if it
// has one. A last line ":file" or ":dir" asks the shell to add paths. A tab and
// the part of the word before the path follow it.
const completeCommand = "__complete"

// pathKind is the kind of paths that a shell adds to the answer.
type pathKind string

const (
	noPath pathKind = ""
	files  pathKind = ":file"
	dirs   pathKind = ":dir"
)

// completion finds what may take the place of word, the last of a command line.
type completion struct {
	a    *app
	c    *cli.Context // of the root command, with --offline
	line commandLine  // what is before word
	word string

	words  []helpRow // the answer: words and their descriptions
	paths  pathKind
	before string // what word has before a path
}

// complete answers a completion script and returns the exit code. Shells show no
// error, and a wrong hookbuild.yaml must not prevent completion, so it answers
// with what it can find.
func (a *app) complete(ctx context.Context, args []string) int {
	root := newRootCommand(a)
	before, word := args, ""
	if len(args) > 0 {
		before, word = args[:len(args)-1], args[len(args)-1]
	}
	line, _ := arrange(root, before) // the line is unfinished, so it may be wrong
	a.names = line.names
	found := &completion{a: a, line: line, word: word}
	root.Before = nil
	root.After = nil
	root.Action = func(c *cli.Context) error {
		found.c = c
		_ = a.readSite(c)
		_ = a.applyGlobal(c)
		found.find(root)
		return nil
	}
	err := root.RunContext(ctx, append([]string{"hookbuild", "--offline"}, line.placing()...))
	if err == nil {
		err = found.write(a.stdout)
	}
	if err != nil {
		return int(fault.KindOf(err))
	}
	return 0
}

// placing returns the options of the line that say where hookbuild.yaml, the
// checkout and the cache are.
func (l commandLine) placing() []string {
	var options []string
	for _, name := range []string{"config", "hook-dir", "cache-dir"} {
		if value, ok := l.valueOf(name); ok {
			options = append(options, "--"+name, value)
		}
	}
	return options
}

// valueOf returns the last value that the line has for an option.
func (l commandLine) valueOf(name string) (value string, ok bool) {
	for i, word := range l.sorted {
		given, joined, isJoined := strings.Cut(word, "=")
		switch {
		case strings.TrimLeft(given, "-") != name || !strings.HasPrefix(word, "-"):
		case isJoined:
			value, ok = joined, true
		case i+1 < len(l.sorted):
			value, ok = l.sorted[i+1], true
		}
	}
	if rest, isHome := strings.CutPrefix(value, "~/"); isHome { // scripts get words as they are typed
		if home, err := os.UserHomeDir(); err == nil {
			value = filepath.Join(home, rest)
		}
	}
	return value, ok
}

func (f *completion) write(w io.Writer) error {
	var b strings.Builder
	for _, row := range f.words {
		if !strings.HasPrefix(row.name, f.word) {
			continue
		}
		b.WriteString(row.name)
		if row.text != "" {
			b.WriteString("\t" + row.text)
		}
		b.WriteString("\n")
	}
	if f.paths != noPath {
		fmt.Fprintf(&b, "%s\t%s\n", f.paths, f.before)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// add adds words that follow what the word at hand begins with.
func (f *completion) add(before string, words ...string) {
	for _, word := range words {
		f.words = append(f.words, helpRow{name: before + word})
	}
}

// addPaths asks for paths that follow what the word at hand begins with.
func (f *completion) addPaths(before string, kind pathKind) {
	if f.paths != files { // which include the directories
		f.before, f.paths = before, kind
	}
}

// find fills the answer.
func (f *completion) find(root *cli.App) {
	command, _, err := findCommand(root, f.line.names)
	if len(f.line.names) == 0 {
		command, err = &cli.Command{Subcommands: root.Commands}, nil
	}
	if err != nil {
		return
	}
	flags := concat(command.Flags, sharedFlags(root))
	name, _, joined := strings.Cut(f.word, "=")
	switch {
	case f.line.lacksValue:
		f.value("", flags, f.line.options[len(f.line.options)-1])
	case strings.HasPrefix(f.word, "-") && joined:
		f.value(name+"=", flags, strings.TrimLeft(name, "-"))
	case strings.HasPrefix(f.word, "-"):
		f.options(flags)
	case len(command.Subcommands) > 0 && len(f.line.words) == 0:
		f.commands(command.Subcommands)
	default:
		for _, kind := range argumentKind.FindAllString(command.ArgsUsage, -1) {
			f.argument(root, kind)
		}
		f.variables()
	}
}

// commands adds the names of commands, and of their other names those that word
// begins, so that an empty word shows each command once.
func (f *completion) commands(all []*cli.Command) {
	for _, c := range all {
		for i, name := range c.Names() {
			if !c.Hidden && (i == 0 || f.word != "" && !strings.HasPrefix(c.Name, f.word)) {
				f.words = append(f.words, helpRow{name, c.Usage})
			}
		}
	}
}

func (f *completion) options(flags []cli.Flag) {
	for _, row := range flagRows(flags) {
		for name := range strings.FieldsFuncSeq(row.name, func(r rune) bool { return r == ' ' || r == ',' }) {
			if strings.HasPrefix(name, "--") {
				f.words = append(f.words, helpRow{name, row.text})
			}
		}
	}
	f.words = append(f.words, helpRow{"--help", "show help"})
}

// variables adds build.sh's variables once the word begins one, because they
// would hide what the argument itself may be.
func (f *completion) variables() {
	if f.word == "" {
		return
	}
	for _, name := range knownVariables() {
		f.add("", name+"=")
	}
}
