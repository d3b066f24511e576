package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

func newManCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:  "man",
		Usage: "print the manual page, for man(1)",
		Action: func(c *cli.Context) error {
			if c.NArg() > 0 {
				return usagef("%q: %s takes no arguments", c.Args().First(), a.command())
			}
			return writeText(a.results(), manPage(newRootCommand(a)))
		},
	}
}

// manPage returns the manual page, with the groups and texts of help.
func manPage(root *cli.App) string {
	var m manual
	fmt.Fprintf(&m, ".TH HOOKBUILD 1 \"\" %q \"User Commands\"\n", "hookbuild "+root.Version)
	m.section("NAME")
	m.text("hookbuild - " + root.Usage)
	m.section("SYNOPSIS")
	m.text("hookbuild COMMAND [options]")
	m.examples("")
	m.section("COMMANDS")
	for _, group := range commandGroups() {
		m.subsection(group.title)
		for _, name := range group.names {
			if c := root.Command(name); c != nil && !c.Hidden {
				m.item(c.Name, c.Usage)
			}
		}
	}
	m.section("OPTIONS OF EVERY COMMAND")
	m.rows(flagRows(sharedFlags(root)))
	for _, c := range root.Commands {
		m.command(c, c.Name)
	}
	m.section("EXIT STATUS")
	m.rows([]helpRow{
		{"0", "Done."}, {"1", "Failed."}, {"2", "The command line is wrong."}, {"3", "An input is invalid."},
		{"4", "Something outside failed: a registry, Docker, a server."}, {"130", "Interrupted."},
	})
	m.section("ENVIRONMENT")
	m.rows([]helpRow{
		{"CACHE_DIR", "The cache's directory, without --cache-dir."},
		{"DOCKER_HOST, DOCKER_CONTEXT", "The Docker Engine that compiles kernels and containers."},
		{"DOCKER_CONFIG", "The directory of what docker login left."},
		{"HTTPS_PROXY, HTTP_PROXY, NO_PROXY", "Proxies."},
		{"SOURCE_DATE_EPOCH", "The time of generated files, and the latest of all files."},
		{"NO_COLOR", "Show no colors."},
	})
	m.text("The variables of build.sh, such as HOOK_VERSION, count as well, here or as KEY=VALUE arguments.")
	m.section("FILES")
	m.rows([]helpRow{
		{"hookbuild.yaml", "What the command line does not say; see --config."},
		{"hookbuild.lock", "Everything that went into a build, by digest."},
		{"out/hook/", "The artifacts; see --out."},
		{"~/.cache/hookbuild/", "The cache; see --cache-dir."},
	})
	return m.String()
}

// manual is a manual page under construction, in the macros of man(7).
type manual struct{ strings.Builder }

func (m *manual) section(title string) { fmt.Fprintf(m, ".SH %s\n", roff(title)) }

func (m *manual) subsection(title string) { fmt.Fprintf(m, ".SS %s\n", roff(title)) }

func (m *manual) text(text string) { fmt.Fprintf(m, ".PP\n%s\n", roff(text)) }

func (m *manual) item(name, text string) { fmt.Fprintf(m, ".TP\n.B %s\n%s\n", roff(name), roff(text)) }

func (m *manual) rows(rows []helpRow) {
	for _, r := range rows {
		m.item(r.name, r.text)
	}
}

// command writes a section about a command and one about each of its subcommands.
func (m *manual) command(c *cli.Command, path string) {
	if c.Hidden {
		return
	}
	m.section("hookbuild " + path)
	m.text(capitalized(c.Usage) + ".")
	if c.Description != "" {
		m.text(c.Description)
	}
	if c.ArgsUsage != "" {
		m.text("Arguments: " + c.ArgsUsage)
	}
	m.examples(path)
	for _, group := range groupFlags(c.Flags) {
		m.subsection(group.title)
		m.rows(flagRows(group.flags))
	}
	for _, sub := range c.Subcommands {
		m.command(sub, path+" "+sub.Name)
	}
}

func (m *manual) examples(path string) {
	for _, e := range examples()[path] {
		fmt.Fprintf(m, ".PP\n%s\n.PP\n.nf\n.RS\n%s\n.RE\n.fi\n", roff(e.what), roff(e.line))
	}
}

// roff escapes a line of text.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		text = `\&` + text
	}
	return text
}
