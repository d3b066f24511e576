package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v2"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// strayDefault matches a default that says nothing, and two of one option.
var strayDefault = regexp.MustCompile(`default: (false|0|""|\[\])\)|default: [^()]*\) \([^()]*default: `)

// TestHelp compares the help of every command with testdata/help. It shows no default
// that says nothing or is there twice.
func TestHelp(t *testing.T) {
	root := newRootCommand(&app{})
	root.Version = "VERSION"
	seen := []string{"hookbuild"}
	for _, path := range append([]string{"", optionsTopic}, commandPaths(root.Commands, "")...) {
		t.Run(path, func(t *testing.T) {
			var got bytes.Buffer
			if err := writeHelp(&got, root, strings.Fields(path)); err != nil {
				t.Fatal(err)
			}
			for _, line := range strings.Split(got.String(), "\n") {
				if len(line) > helpWidth {
					t.Errorf("%d columns: %q", len(line), line)
				}
			}
			if twice := strayDefault.FindString(strings.Join(strings.Fields(got.String()), " ")); twice != "" {
				t.Errorf("the help has %q", twice)
			}
			name := strings.ReplaceAll(strings.TrimSpace("hookbuild "+path), " ", "-")
			seen = append(seen, name)
			checkGolden(t, filepath.Join("testdata", "help", name+".txt"), got.Bytes())
		})
	}
	files, err := filepath.Glob("testdata/help/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !slices.Contains(seen, strings.TrimSuffix(filepath.Base(f), ".txt")) {
			t.Errorf("%s is the help of no command", f)
		}
	}
}

// TestRootHelpFits checks that the program's help is one page, with one line for each
// command.
func TestRootHelpFits(t *testing.T) {
	const most = 60
	help := rootHelp(newRootCommand(&app{}))
	if lines := strings.Count(help, "\n"); lines > most {
		t.Errorf("the help has %d lines, want at most %d", lines, most)
	}
	for _, path := range commandPaths(newRootCommand(&app{}).Commands, "") {
		if !strings.Contains(path, " ") && !strings.Contains(help, "\n  "+path+" ") {
			t.Errorf("the help does not list %s", path)
		}
	}
	if strings.Contains(help, "\n     ") {
		t.Error("a command takes more than a line")
	}
}

func checkGolden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; run the test with -update", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("differs from %s; if that is intended, run the test with -update:\n%s", file, diff)
	}
}

// commandPaths returns the full names of the commands that help shows.
func commandPaths(commands []*cli.Command, above string) []string {
	var paths []string
	for _, c := range commands {
		if c.Hidden {
			continue
		}
		path := strings.TrimSpace(above + " " + c.Name)
		paths = append(paths, path)
		paths = append(paths, commandPaths(c.Subcommands, path)...)
	}
	return paths
}

// TestExamples checks that every command has two examples at least, and that each is a
// valid command line.
func TestExamples(t *testing.T) {
	root := newRootCommand(&app{})
	paths := append([]string{""}, commandPaths(root.Commands, "")...)
	all := examples()
	for _, path := range paths {
		if n := len(all[path]); n < 2 {
			t.Errorf("%q has %d examples, want two", path, n)
		}
	}
	for path, list := range all {
		if !slices.Contains(paths, path) {
			t.Errorf("there are examples of %q, which is not a command", path)
		}
		for _, e := range list {
			line := strings.ReplaceAll(e.line, "\\\n", " ")
			_, line, found := strings.Cut(line, "hookbuild ")
			line, _, _ = strings.Cut(line, " |")
			line, _, _ = strings.Cut(line, " >")
			line = strings.TrimSuffix(line, ")")
			if !found {
				t.Errorf("%q runs no hookbuild", e.line)
			}
			parsed, err := arrange(root, strings.Fields(line))
			if err != nil {
				t.Errorf("%q: %v", e.line, err)
			}
			if name := strings.Join(parsed.names, " "); path != "" && !strings.HasPrefix(name, path) {
				t.Errorf("%q is an example of %q, not of %q", e.line, name, path)
			}
		}
	}
}

// TestHelpGroups checks that the groups name only commands and options that exist.
func TestHelpGroups(t *testing.T) {
	root := newRootCommand(&app{})
	flags := map[string]bool{}
	collectFlags(root.Commands, flags)
	for _, g := range optionGroups() {
		for _, name := range g.names {
			if !flags[name] {
				t.Errorf("the group %q has --%s, which no command takes", g.title, name)
			}
		}
	}
	for _, g := range commandGroups() {
		for _, name := range g.names {
			if root.Command(name) == nil {
				t.Errorf("the group %q has %q, which is not a command", g.title, name)
			}
		}
	}
}

func collectFlags(commands []*cli.Command, names map[string]bool) {
	for _, c := range commands {
		for _, f := range c.Flags {
			names[f.Names()[0]] = true
		}
		collectFlags(c.Subcommands, names)
	}
}

// TestFoldedExamplesCanBePasted checks that no option is on another line than its
// value, and that every line of a comment is one.
func TestFoldedExamplesCanBePasted(t *testing.T) {
	folded := foldCommand("hookbuild embed --initramfs initramfs-x86_64 --image one -o new --keep-embedded", "  ", 30)
	for line := range strings.Lines(folded) {
		if words := strings.Fields(strings.TrimSuffix(strings.TrimSpace(line), "\\")); words[len(words)-1] == "-o" {
			t.Errorf("-o is separated from its value:\n%s", folded)
		}
	}
	var b strings.Builder
	writeExamples(&b, "all")
	for line := range strings.Lines(b.String()) {
		line = strings.TrimSpace(line)
		known := line == "" || line == "Examples:" || strings.HasPrefix(line, "#") || strings.HasPrefix(line, "hookbuild") || strings.HasPrefix(line, "-")
		if !known && !strings.Contains(b.String(), "\\\n  "+"  "+line) {
			t.Errorf("the line %q is neither a command nor a comment", line)
		}
	}
}
