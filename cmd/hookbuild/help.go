package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"hookbuild/internal/nearest"
	"hookbuild/kernel/flavor"
)

// helpWidth is the number of columns that help fits into.
const helpWidth = 80

// optionsTopic is what help explains beside the commands: the options that all have.
const optionsTopic = "options"

func newHelpCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:      "help",
		Usage:     "show help for hookbuild or for one of its commands",
		ArgsUsage: "[COMMAND]",
		Action: func(c *cli.Context) error {
			return writeHelp(a.results(), c.App, c.Args().Slice())
		},
	}
}

// writeHelp writes the help of the command that names lead to, or of the program
// if names is empty.
func writeHelp(w io.Writer, root *cli.App, names []string) error {
	if len(names) == 0 {
		return writeText(w, rootHelp(root))
	}
	if slices.Equal(names, []string{optionsTopic}) {
		return writeText(w, optionsHelp(root))
	}
	command, path, err := findCommand(root, names)
	if err != nil {
		return err
	}
	return writeText(w, commandHelp(root, command, path))
}

func writeText(w io.Writer, text string) error {
	_, err := io.WriteString(w, text)
	return err
}

// findCommand returns the command that names lead to, and its full name without
// aliases, such as "dhcp check".
func findCommand(root *cli.App, names []string) (*cli.Command, string, error) {
	commands, path := root.Commands, ""
	var found *cli.Command
	for _, name := range names {
		i := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(name) })
		if i < 0 {
			return nil, "", unknownCommand(commands, path, name)
		}
		found = commands[i]
		path = strings.TrimSpace(path + " " + found.Name)
		commands = found.Subcommands
	}
	return found, path, nil
}

// unknownCommand returns the error for a name that none of the commands has. Path
// is the command that they belong to, or empty for the program.
func unknownCommand(commands []*cli.Command, path, name string) error {
	var names []string
	for _, c := range commands {
		names = append(names, c.Names()...)
	}
	program := strings.TrimSpace("hookbuild " + path)
	if path == "" && slices.Contains([]string{"bootable-media", "bootable", "media"}, name) { // of build.sh
		return usagef("%s is not supported; use ./build.sh %s. For machines with UEFI, `hookbuild all --iso` writes an ISO image", name, name)
	}
	if path == "" && slices.Contains([]string{"shellcheck", "shellfmt", "lint"}, name) {
		return usagef("there is no command %q; build.sh checks its own scripts with it: ./build.sh %s", name, name)
	}
	if _, err := flavor.Upstream().Find(name); err == nil && path == "" {
		return usagef("there is no command %q; it is a flavor: hookbuild all %s", name, name)
	}
	if near := nearest.Word(name, names); near != "" {
		return usagef("there is no command %q; did you mean `%s %s`?", strings.TrimSpace(path+" "+name), program, near)
	}
	if path != "" {
		return usagef("%s has no command %q; it has %s", program, name, strings.Join(names, ", "))
	}
	return usagef("there is no command %q; `%s --help` lists them", name, program)
}

// lacksCommand returns the error for a line that says how to do something, and not what.
func lacksCommand(commands []*cli.Command, path string, variables map[string]string) error {
	if path == "" && len(variables) > 0 {
		if err := checkVariables("build", variables); err != nil {
			return err
		}
		var set []string
		for _, name := range slices.Sorted(maps.Keys(variables)) {
			set = append(set, name+"="+variables[name])
		}
		return usagef("no command is named; build.sh without one builds, as `hookbuild build %s` does", strings.Join(set, " "))
	}
	if path == "" {
		return usagef("no command is named; `hookbuild all` builds, and `hookbuild --help` lists the others")
	}
	var names []string
	for _, c := range commands {
		names = append(names, c.Name)
	}
	return usagef("hookbuild %s needs one of its commands: %s", path, strings.Join(names, ", "))
}

// unknownFlag returns the error for an option that the command does not have.
func unknownFlag(path, flag string, known map[string]bool) error {
	var names []string
	for name := range known {
		names = append(names, name)
	}
	slices.Sort(names)
	program := strings.TrimSpace("hookbuild " + path)
	lacks := path + " has no option " + flag // a message begins with the program's name
	if path == "" {
		lacks = "there is no option " + flag + " without a command"
	}
	if name := strings.TrimLeft(flag, "-"); (path == "linuxkit" || path == "build") && slices.Contains(namesOf(allFlags()), name) {
		return usagef("%s, because it embeds no images; `hookbuild all %s` does", lacks, flag)
	}
	if near := nearest.Word(strings.TrimLeft(flag, "-"), names); len(near) > 1 {
		return usagef("%s; did you mean --%s?", lacks, near)
	}
	return usagef("%s; `%s --help` lists the options", lacks, program)
}

func rootHelp(root *cli.App) string {
	var b strings.Builder
	fmt.Fprintf(&b, "hookbuild %s\n%s\nUsage: hookbuild COMMAND [options]\n", root.Version, wrap(capitalized(root.Usage)+".", "", helpWidth))
	writeExamples(&b, "")
	shown := map[string]bool{}
	for _, group := range commandGroups() {
		var rows []helpRow
		for _, name := range group.names {
			if c := root.Command(name); c != nil && !c.Hidden {
				rows = append(rows, helpRow{c.Name, c.Usage})
				shown[c.Name] = true
			}
		}
		writeRows(&b, group.title, rows)
	}
	var rest []helpRow
	for _, c := range root.Commands {
		if !c.Hidden && !shown[c.Name] {
			rest = append(rest, helpRow{c.Name, c.Usage})
		}
	}
	writeRows(&b, "Other commands", rest)
	writeOptionNames(&b, root)
	b.WriteString("\n`hookbuild help COMMAND` explains a command, and `hookbuild man | man -l -` all.\n" +
		"build.sh's words work too: `hookbuild build FLAVOR HOOK_VERSION=0.11.1`.\n")
	return b.String()
}

// optionsHelp explains the options that every command has.
func optionsHelp(root *cli.App) string {
	var b strings.Builder
	b.WriteString("The options that every command has.\n")
	writeRows(&b, "Options of every command", flagRows(sharedFlags(root)))
	return b.String()
}

// sharedFlags returns the options that every command has. The library adds --version,
// which is for a line without a command.
func sharedFlags(root *cli.App) []cli.Flag {
	return slices.DeleteFunc(slices.Clone(root.Flags), func(f cli.Flag) bool { return f == cli.VersionFlag })
}

// writeOptionNames writes the names of the options that every command has.
func writeOptionNames(b *strings.Builder, root *cli.App) {
	var names []string
	for _, f := range sharedFlags(root) {
		names = append(names, "--"+f.Names()[0])
	}
	b.WriteString("\nOptions of every command (`hookbuild help " + optionsTopic + "` explains them):\n" + wrap(strings.Join(names, " "), "  ", helpWidth) + "\n")
}

func commandHelp(root *cli.App, c *cli.Command, path string) string {
	var b strings.Builder
	b.WriteString(wrap(capitalized(c.Usage)+".", "", helpWidth))
	if c.Description != "" {
		b.WriteString("\n\n" + wrap(c.Description, "", helpWidth))
	}
	usage := "hookbuild " + path
	if len(c.Subcommands) > 0 {
		usage += " COMMAND"
	}
	if len(c.Flags) > 0 || len(c.Subcommands) > 0 {
		usage += " [options]"
	}
	fmt.Fprintf(&b, "\n\nUsage:\n  %s\n", strings.TrimSpace(usage+" "+c.ArgsUsage))
	if len(c.Aliases) > 0 {
		fmt.Fprintf(&b, "\nAlso called: %s\n", strings.Join(c.Aliases, ", "))
	}
	writeExamples(&b, path)
	var subs []helpRow
	for _, sub := range c.Subcommands {
		if !sub.Hidden {
			subs = append(subs, helpRow{sub.Name, sub.Usage})
		}
	}
	writeRows(&b, "Commands", subs)
	for _, group := range groupFlags(c.Flags) {
		writeRows(&b, group.title, flagRows(group.flags))
	}
	writeOptionNames(&b, root)
	return b.String()
}

func writeExamples(b *strings.Builder, path string) {
	lines := examples()[path]
	if len(lines) == 0 {
		return
	}
	b.WriteString("\nExamples:\n")
	for i, e := range lines {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(b, "%s\n%s\n", wrap(e.what, "  # ", helpWidth), foldCommand(e.line, "  ", helpWidth))
	}
}

// foldCommand breaks a command line into lines of at most width columns, each
// indented and continued with a backslash.
func foldCommand(command, indent string, width int) string {
	const fold, joint = " \\", "\x00"
	lines := strings.Split(wrap(joinOptions(command, joint), indent, width-len(fold)-len(indent)), "\n")
	return strings.ReplaceAll(strings.Join(lines, fold+"\n"+indent), joint, " ")
}

// joinOptions puts joint between each option and the word after it, which may be its
// value, so that they stay on one line.
func joinOptions(command, joint string) string {
	const longest = 60 // a longer pair may not fit into a line
	words := strings.Fields(command)
	var b strings.Builder
	for i, word := range words {
		b.WriteString(word)
		switch {
		case i == len(words)-1:
		case strings.HasPrefix(word, "-") && !strings.HasPrefix(words[i+1], "-") && len(word)+len(words[i+1]) <= longest:
			b.WriteString(joint)
		default:
			b.WriteString(" ")
		}
	}
	return b.String()
}

type flagGroup struct {
	title string
	flags []cli.Flag
}

// groupFlags sorts flags into the groups of [optionGroups]. Flags in no group, and
// flags that would be alone in a group, come first, as the command's own.
func groupFlags(flags []cli.Flag) []flagGroup {
	groups := []flagGroup{{title: "Options"}}
	for _, g := range optionGroups() {
		groups = append(groups, flagGroup{title: g.title})
	}
	members := map[int]int{}
	groupOf := func(f cli.Flag) int {
		return slices.IndexFunc(optionGroups(), func(g nameGroup) bool { return slices.Contains(g.names, f.Names()[0]) })
	}
	for _, f := range flags {
		members[groupOf(f)]++
	}
	for _, f := range flags {
		i := groupOf(f)
		if members[i] == 1 {
			i = -1
		}
		groups[i+1].flags = append(groups[i+1].flags, f)
	}
	for i, g := range optionGroups() {
		slices.SortStableFunc(groups[i+1].flags, func(x, y cli.Flag) int {
			return slices.Index(g.names, x.Names()[0]) - slices.Index(g.names, y.Names()[0])
		})
	}
	return slices.DeleteFunc(groups, func(g flagGroup) bool { return len(g.flags) == 0 })
}

// helpRow is a name and what it is for.
type helpRow struct{ name, text string }

func flagRows(flags []cli.Flag) []helpRow {
	var rows []helpRow
	for _, f := range flags {
		if v, ok := f.(cli.VisibleFlag); ok && !v.IsVisible() {
			continue
		}
		rows = append(rows, flagRow(f))
	}
	return rows
}

func flagRow(f cli.Flag) helpRow {
	var short, long []string
	for _, name := range f.Names() {
		if len(name) == 1 {
			short = append(short, "-"+name)
		} else {
			long = append(long, "--"+name)
		}
	}
	doc, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return helpRow{name: strings.Join(append(short, long...), ", ")}
	}
	placeholder, usage := unquoteUsage(doc.GetUsage())
	name := strings.Join(append(short, long...), ", ")
	if doc.TakesValue() {
		name += " " + placeholder
	}
	if value := defaultOf(f); value != "" && !strings.Contains(usage, "(default") && !strings.Contains(usage, "; default") {
		usage += " (default: " + value + ")"
	}
	return helpRow{name, usage}
}

// unquoteUsage returns the word in backquotes, which names a flag's value, and
// the usage without the backquotes.
func unquoteUsage(usage string) (placeholder, text string) {
	before, rest, found := strings.Cut(usage, "`")
	word, after, closed := strings.Cut(rest, "`")
	if !found || !closed {
		return "VALUE", usage
	}
	return word, before + word + after
}

// defaultOf returns the flag's default, or "" if that is the zero value.
func defaultOf(f cli.Flag) string {
	switch f := f.(type) {
	case *cli.StringFlag:
		return f.Value
	case *cli.IntFlag:
		if f.Value != 0 {
			return fmt.Sprint(f.Value)
		}
	case *cli.DurationFlag:
		if f.Value != 0 {
			return f.Value.String()
		}
	}
	return ""
}

// writeRows writes rows under a title, with the names on the left and the wrapped
// texts on the right, or below the name if it is long.
func writeRows(b *strings.Builder, title string, rows []helpRow) {
	if len(rows) == 0 {
		return
	}
	const widest = 24
	left := 0
	for _, r := range rows {
		if n := len(r.name); n <= widest {
			left = max(left, n)
		}
	}
	indent := strings.Repeat(" ", left+4)
	fmt.Fprintf(b, "\n%s:\n", title)
	for _, r := range rows {
		text := wrap(r.text, indent, helpWidth)
		if len(r.name) > left {
			fmt.Fprintf(b, "  %s\n%s\n", r.name, text)
			continue
		}
		fmt.Fprintf(b, "  %-*s  %s\n", left, r.name, strings.TrimPrefix(text, indent))
	}
}

// wrap breaks text into lines of at most width columns, each preceded by indent.
func wrap(text, indent string, width int) string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(indent)+len(line)+1+len(word) > width {
			lines = append(lines, indent+line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return strings.Join(append(lines, indent+line), "\n")
}

func capitalized(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
