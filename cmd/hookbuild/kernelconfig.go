package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"hookbuild/kernel/container"
	"hookbuild/kernel/kconfig"
	"hookbuild/kernel/plan"
)

func newKernelConfigCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:      "kernel-config",
		Aliases:   []string{"config", "config-kernel"},
		Usage:     "change a flavor's kernel configuration, in a menu or by option",
		ArgsUsage: "[FLAVOR]",
		Flags: concat(sourceFlags(), optionFlags(), builderFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "shell", Usage: "open a shell in the kernel's source instead of the menu"},
			&cli.StringFlag{Name: "diff", Usage: "only compare with the configuration of `FILE|FLAVOR`"},
		}),
		Action: func(c *cli.Context) error { return a.kernelConfig(c, c.Bool("shell")) },
	}
}

func newKernelConfigShellCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:      "kernel-config-shell",
		Aliases:   []string{"config-shell-kernel"},
		Usage:     "open a shell in the kernel's source, as kernel-config --shell does",
		ArgsUsage: "[FLAVOR]",
		Hidden:    true,
		Flags:     concat(sourceFlags(), builderFlags()),
		Action:    func(c *cli.Context) error { return a.kernelConfig(c, true) },
	}
}

func (a *app) kernelConfig(c *cli.Context, shell bool) error {
	f, err := a.kernelFlavorOf(c)
	if err != nil {
		return err
	}
	request, err := a.kernelRequest(c, f)
	if err != nil {
		return err
	}
	if other := c.String("diff"); other != "" {
		flavors, err := a.flavors(c)
		if err != nil {
			return err
		}
		changes, err := plan.Diff(request, other, flavors)
		if err != nil {
			return err
		}
		return a.printChanges(changes)
	}
	if a.isFetched(c) {
		return usagef("kernel-config changes the checkout, and %s has one fetched; set options below kernel.options there, or give --hook-dir DIR", a.site.Path)
	}
	if _, err := plan.Configured(request); err != nil {
		return err
	}
	terminal, err := a.configTerminal(request, shell)
	if err != nil {
		return err
	}
	p, err := plan.Resolve(c.Context, request)
	if err != nil {
		return err
	}
	if len(f.Fragments) > 0 {
		a.note("editing only %s; builds then merge the flavor's fragments: %s", f.ConfigPath(), strings.Join(f.Fragments, ", "))
	}
	edit, err := a.edit(c, p, shell, terminal)
	if err != nil {
		return err
	}
	return a.reportEdit(edit)
}

// configTerminal returns the user's terminal if one is needed. It fails without
// one, before anything is fetched.
func (a *app) configTerminal(r plan.Request, shell bool) (*container.Terminal, error) {
	asked := len(r.Sets)+len(r.Fragments) > 0
	switch {
	case asked && shell:
		return nil, usagef("--shell cannot be used with --set or --fragment; leave out one of them")
	case asked:
		return nil, nil
	}
	terminal, err := a.terminal()
	if err != nil && shell {
		return nil, fmt.Errorf("opening a shell in the kernel's source: %w; run it on one (ssh -t, docker run -it), or change options with `hookbuild kernel-config --set CONFIG_NAME=VALUE`", err)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the kernel's menu: %w; use --set CONFIG_NAME=VALUE or --fragment FILE instead", err)
	}
	return terminal, nil
}

// terminal returns the terminal that hookbuild runs on.
func (a *app) terminal() (*container.Terminal, error) {
	in, isIn := a.stdin.(*os.File)
	out, isOut := a.stdout.(*os.File)
	if !isIn || !isOut {
		return nil, usagef("there is no terminal")
	}
	return container.NewTerminal(in, out, a.getenv("TERM"))
}

func (a *app) edit(c *cli.Context, p *plan.Plan, shell bool, terminal *container.Terminal) (_ *plan.Edit, err error) {
	o, err := a.containerOptions(c, p.Request.Flavor.Arch)
	if err != nil {
		return nil, err
	}
	b, err := container.Open(c.Context, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	if terminal == nil {
		return p.Set(c.Context, b)
	}
	terminal.Before = func() { a.results() } // clears the tasks; the container now owns the terminal
	defer func() {
		if err != nil { // no program read what was typed in the meantime
			err = errors.Join(err, terminal.Discard())
		}
	}()
	if shell {
		return p.Edit(c.Context, b, b.Shell, terminal)
	}
	return p.Edit(c.Context, b, b.Menuconfig, terminal)
}

// reportEdit prints what changed.
func (a *app) reportEdit(e *plan.Edit) error {
	if !e.Written {
		a.note("nothing changed in %s", e.File)
		return nil
	}
	for _, lost := range e.Lost {
		a.note("lost: %s", lost)
	}
	a.note("%s has %d changes", e.File, len(e.Changes))
	return a.printChanges(e.Changes)
}

func (a *app) printChanges(changes []kconfig.Change) error {
	for _, change := range changes {
		if _, err := fmt.Fprintln(a.results(), change); err != nil {
			return err
		}
	}
	return nil
}
