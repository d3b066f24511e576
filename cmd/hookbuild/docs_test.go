package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"hookbuild/test/lab/site"
)

// TestDocsCommands checks every hookbuild command line of README.md and docs:
// its command, options, variables and number of arguments must be ones that
// hookbuild has.
func TestDocsCommands(t *testing.T) {
	checked := 0
	for _, page := range docsPages(t) {
		for _, block := range docBlocks(t, page) {
			for _, c := range block.commands {
				checked++
				if err := checkCommandLine(c.args, !block.code); err != nil {
					t.Errorf("%s:%d: hookbuild %s: %v", page, c.line, strings.Join(c.args, " "), err)
				}
			}
		}
	}
	if checked < 180 {
		t.Errorf("only %d command lines were found", checked)
	}
}

// TestDocsCommandsRun runs the command lines in blocks of code, in the order of
// the page, in a checkout with a HookOS in out/hook and the files of
// testdata/docs. It leaves out the blocks below a comment that says what else
// they need:
//
//	<!-- needs: network, Docker -->
func TestDocsCommandsRun(t *testing.T) {
	ran := 0
	place := newDocsPlace(t)
	for _, page := range docsPages(t) {
		t.Run(filepath.Base(page), func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(place)); err != nil {
				t.Fatal(err)
			}
			for _, block := range docBlocks(t, page) {
				for _, c := range block.commands {
					if block.code && block.needs == "" {
						ran++
						runDocCommand(t, dir, page, c)
					}
				}
			}
		})
	}
	if ran < 25 {
		t.Errorf("only %d command lines were run", ran)
	}
}

func docsPages(t *testing.T) []string {
	t.Helper()
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	pages = append([]string{"../../README.md"}, pages...)
	for i := range pages {
		pages[i] = mustAbs(t, pages[i])
	}
	return pages
}

// docBlock is a block of code or, with code false, a paragraph's code spans.
type docBlock struct {
	code     bool
	needs    string
	commands []docCommand
}

// docCommand is a hookbuild command line: what follows the program's name.
type docCommand struct {
	line int // of the page
	args []string
	to   string // the file that standard output is redirected to
}

var (
	needsComment = regexp.MustCompile(`^<!-- needs: (.*) -->$`)
	codeSpan     = regexp.MustCompile("`(hookbuild [^`]+)`")
)

// knownNeeds are what a block of code may need.
func knownNeeds() []string {
	return []string{"network", "Docker", "QEMU", "root", "a terminal", "a server", "its own files"}
}

// docBlocks returns the blocks of a page that have hookbuild's command lines.
func docBlocks(t *testing.T, page string) []docBlock {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var blocks []docBlock
	needs, fenced := "", false
	lines := strings.Split(string(text), "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		indented := strings.HasPrefix(line, "    ") && (i == 0 || lines[i-1] == "")
		switch m := needsComment.FindStringSubmatch(strings.TrimSpace(line)); {
		case m != nil:
			needs = m[1]
			for _, n := range strings.Split(needs, ", ") {
				if !slices.Contains(knownNeeds(), n) {
					t.Errorf("%s:%d: a block needs %q, which is not one of %q", page, i+1, n, knownNeeds())
				}
			}
		case strings.HasPrefix(line, "```"):
			fenced = true
			fallthrough
		case indented:
			from, end := i, i+1
			for end < len(lines) && inBlock(lines, end, fenced) {
				end++
			}
			if fenced {
				from++
			}
			blocks = append(blocks, docBlock{true, needs, shellCommands(t, page, lines[from:end], from+1)})
			i, needs, fenced = end-1+boolInt(fenced), "", false
		case line != "":
			if needs != "" {
				t.Errorf("%s:%d: no block of code follows the comment with what it needs", page, i+1)
				needs = ""
			}
			var b docBlock
			for _, m := range codeSpan.FindAllStringSubmatch(line, -1) {
				b.commands = append(b.commands, shellCommands(t, page, []string{m[1]}, i+1)...)
			}
			blocks = append(blocks, b)
		}
	}
	return blocks
}

// inBlock reports whether a line continues a block of code. Empty lines within an
// indented block belong to it.
func inBlock(lines []string, i int, fenced bool) bool {
	if fenced {
		return !strings.HasPrefix(lines[i], "```")
	}
	for ; i < len(lines); i++ {
		if lines[i] != "" {
			return strings.HasPrefix(lines[i], "    ")
		}
	}
	return false
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// shellCommands returns the hookbuild commands among shell lines, the first of
// which has the given number. Lines that are not for a shell have none.
func shellCommands(t *testing.T, page string, lines []string, number int) []docCommand {
	t.Helper()
	var found []docCommand
	for i := 0; i < len(lines); i++ {
		first, line := number+i, lines[i]
		for strings.HasSuffix(line, "\\") && i+1 < len(lines) {
			i++
			line = strings.TrimSuffix(line, "\\") + " " + strings.TrimSpace(lines[i])
		}
		if !strings.Contains(line, "hookbuild ") {
			continue
		}
		for _, words := range simpleCommands(line) {
			for len(words) > 0 && (words[0] == "sudo" || variableArgument.MatchString(words[0])) {
				words = words[1:]
			}
			if len(words) == 0 || words[0] != "hookbuild" {
				continue
			}
			c := docCommand{line: first, args: words[1:]}
			if at := slices.Index(c.args, ">"); at >= 0 && at+1 < len(c.args) {
				c.to, c.args = c.args[at+1], slices.Delete(slices.Clone(c.args), at, at+2)
			}
			found = append(found, c)
		}
	}
	return found
}

// simpleCommands splits a shell line into commands, and these into words: quotes
// are removed, and a comment ends the line.
func simpleCommands(line string) [][]string {
	var commands [][]string
	var words []string
	var word strings.Builder
	inWord, quote := false, rune(0)
	endWord := func() {
		if inWord {
			words = append(words, word.String())
		}
		word.Reset()
		inWord = false
	}
	endCommand := func() {
		endWord()
		commands, words = append(commands, words), nil
	}
scan:
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, inWord = r, true
		case r == '#' && !inWord:
			break scan
		case r == ' ' || r == '\t':
			endWord()
		case strings.ContainsRune("|&;()<", r):
			endCommand()
		case r == '>':
			endWord()
			words = append(words, ">")
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	endCommand()
	return commands
}

// checkCommandLine parses a command line as hookbuild does, without running it. A
// mention, such as "`hookbuild dhcp check`" in a sentence, may lack arguments.
func checkCommandLine(args []string, mention bool) error {
	root := newRootCommand(&app{})
	line, err := arrange(root, args)
	if err != nil {
		return err
	}
	if err := checkVariables(line.typed(), line.variables); err != nil {
		return err
	}
	root.Before, root.After = nil, nil
	root.Action = func(*cli.Context) error {
		return fmt.Errorf("it names no command")
	}
	for _, c := range root.Commands {
		onlyCount(c, mention)
	}
	if line.help {
		return nil
	}
	return root.RunContext(context.Background(), append([]string{"hookbuild"}, line.sorted...))
}

// onlyCount makes a command check the number of its arguments and do nothing.
func onlyCount(c *cli.Command, mention bool) {
	c.Before = nil
	least, most := argumentCount(c.ArgsUsage)
	c.Action = func(ctx *cli.Context) error {
		if n := ctx.NArg(); n < least && (!mention || n != 0) || n > most {
			return fmt.Errorf("it has %d arguments, and the command takes %q", n, c.ArgsUsage)
		}
		return nil
	}
	for _, sub := range c.Subcommands {
		onlyCount(sub, mention)
	}
}

// argumentCount returns how many arguments a command takes, from the text of its
// help: "[FLAVOR]", "IN NAME", "FILE...", "[DIR | VMLINUZ INITRAMFS]".
func argumentCount(usage string) (least, most int) {
	for _, choice := range strings.Split(strings.Trim(usage, "[]"), " | ") {
		fields := strings.Fields(strings.ReplaceAll(choice, " ...", "..."))
		most = max(most, len(fields))
		least = len(fields)
	}
	if strings.Contains(usage, "...") {
		most = math.MaxInt
	}
	if strings.HasPrefix(usage, "[") {
		least = 0
	}
	return least, most
}

func TestArgumentCount(t *testing.T) {
	for usage, want := range map[string][2]int{
		"": {0, 0}, "[FLAVOR]": {0, 1}, "FILE": {1, 1}, "IN NAME": {2, 2}, "FILE...": {1, math.MaxInt},
		"[DIR | VMLINUZ INITRAMFS]": {0, 2}, "[FLAVOR... | NAME...]": {0, math.MaxInt}, "DIR|image:REF ...": {1, math.MaxInt},
	} {
		if least, most := argumentCount(usage); [2]int{least, most} != want {
			t.Errorf("%q: %d to %d arguments, want %d", usage, least, most, want)
		}
	}
}

func TestDocsCommandsAreRefused(t *testing.T) {
	for line, want := range map[string]string{
		"hookbuild verfy":                          "did you mean `hookbuild verify`",
		"hookbuild all --embed-from-bundel":        "did you mean --embed-from-bundle",
		"hookbuild run --ram 64MB":                 "--ram \"64MB\" is not a whole number of MiB, such as 2048",
		"hookbuild all --level much":               "--level \"much\" is not a whole number",
		"hookbuild verify --boot --timeout 5":      "--timeout \"5\" is not a duration such as 90s or 10m",
		"hookbuild all --embed-from-bundle=no":     "--embed-from-bundle \"no\" is neither true nor false",
		"hookbuild al":                             "did you mean `hookbuild all`",
		"hookbuild linuxkit --image a=b":           "`hookbuild all --image` does",
		"hookbuild all --kernel":                   "needs a value",
		"hookbuild extract-image initramfs-x86_64": "it has 1 arguments",
		"hookbuild flavors hook-default-amd64":     "it has 1 arguments",
		"hookbuild build HOOK_VERSOIN=1":           "did you mean HOOK_VERSION",
		"hookbuild --offline":                      "no command is named",
	} {
		commands := shellCommands(t, "", []string{"cd hook && " + line + " | less  # why"}, 1)
		if len(commands) != 1 {
			t.Fatalf("%s: %d commands found", line, len(commands))
		}
		if err := checkCommandLine(commands[0].args, false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", line, err, want)
		}
	}
}

// newDocsPlace returns a Hook checkout with a HookOS in out/hook and in old/hook,
// and the files of testdata/docs.
func newDocsPlace(t *testing.T) string {
	t.Helper()
	p := newSmallProof(t)
	p.run(0, "embed", "--layout", "directory", "--base", p.out, "--out", p.out, "--keep-embedded",
		"--image", p.site.Host+"/actions/cexec:v1=127.0.0.1/embedded/tink-worker")
	dir := t.TempDir()
	for _, c := range []struct{ from, to string }{
		{"../../testdata/hook", "."}, {"testdata/docs", "."}, {p.out, "out"}, {filepath.Join(p.out, "hook"), "old/hook"},
	} {
		if err := os.CopyFS(filepath.Join(dir, c.to), os.DirFS(c.from)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// runDocCommand runs a command in dir, with a cache of its own.
func runDocCommand(t *testing.T, dir, page string, c docCommand) {
	t.Helper()
	t.Chdir(dir)
	var stdout, stderr strings.Builder
	values := map[string]string{"HOME": dir, "CACHE_DIR": filepath.Join(dir, ".cache")}
	code := run(t.Context(), slices.Clone(c.args), environment{
		getenv: func(name string) string { return values[name] },
		stdin:  strings.NewReader(""), stdout: &stdout, stderr: &stderr,
	})
	if code != 0 {
		t.Errorf("%s:%d: hookbuild %s: exit code %d; a comment above the block may say what it needs, <!-- needs: ... -->\n%s",
			page, c.line, strings.Join(c.args, " "), code, stderr.String())
	}
	if c.to != "" {
		site.WriteFile(t, filepath.Join(dir, c.to), stdout.String())
	}
}

// TestSurplusArguments checks that every command refuses more arguments than its
// help names, so that none is ignored.
func TestSurplusArguments(t *testing.T) {
	root, refusal := newRootCommand(&app{}), regexp.MustCompile(`surplus|name (one|an)|takes (a|at most)|name it with --server`)
	dir := t.TempDir()
	for _, name := range commandPaths(root.Commands, "") {
		c, _, err := findCommand(root, strings.Fields(name))
		if err != nil {
			t.Fatal(err)
		}
		_, most := argumentCount(c.ArgsUsage)
		if most == math.MaxInt || len(c.Subcommands) > 0 {
			continue
		}
		args := append(strings.Fields(name), "--hook-dir", mustAbs(t, "../../testdata/hook"), "--cache-dir", dir, "--offline", "--out", dir)
		for range most + 1 {
			args = append(args, "surplus")
		}
		var stderr strings.Builder
		code := run(t.Context(), args, environment{
			getenv: func(string) string { return "" }, stdin: strings.NewReader(""), stdout: &stderr, stderr: &stderr,
		})
		if code != 2 || !refusal.MatchString(stderr.String()) {
			t.Errorf("%s with %d arguments: exit code %d, want 2\n%s", name, most+1, code, stderr.String())
		}
		if said := stderr.String(); strings.Contains(said, `["`) || strings.Contains(said, "no arguments") != strings.Contains(said, `"surplus": `+name+` takes no arguments`) {
			t.Errorf("%s does not say it as the other commands do: %s", name, said)
		}
	}
}
