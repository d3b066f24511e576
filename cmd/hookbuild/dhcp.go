package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"hookbuild/internal/atomicfile"
	"hookbuild/internal/fault"
	"hookbuild/netboot"
	"hookbuild/netboot/dhcpd"
	"hookbuild/netboot/dnsmasq"
	"hookbuild/netboot/kea"
	"hookbuild/netboot/windows"
)

// dhcpServers returns the kinds of DHCP servers. Each has its own package.
func dhcpServers() []netboot.Server {
	return []netboot.Server{dnsmasq.Server{}, kea.Server{}, dhcpd.Server{}, windows.Server{}}
}

func newDHCPCommand(a *app) *cli.Command {
	c := &cli.Command{Name: "dhcp", Usage: "configure and check network boot on a site's DHCP server"}
	for _, s := range dhcpServers() {
		c.Subcommands = append(c.Subcommands, newRenderCommand(a, s))
	}
	c.Subcommands = append(c.Subcommands, newSwitchCommand(a), newCheckCommand(a))
	return c
}

func newRenderCommand(a *app, s netboot.Server) *cli.Command {
	return &cli.Command{
		Name:  s.Name(),
		Usage: "write a configuration for " + s.Name() + " from hardware.csv",
		Flags: concat(planFlags(), modeFlags(s.Modes()), []cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write to `FILE|DIR` (default: standard output)"},
		}),
		Action: func(c *cli.Context) error { return a.renderDHCP(c, s) },
	}
}

func newSwitchCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:      "switch",
		Usage:     "print the changes for Tinkerbell's move from the bootstrap to the management cluster",
		ArgsUsage: "[FILE]",
		Flags:     concat([]cli.Flag{serverFlag()}, planFlags(), modeFlags(allModes())),
		Action:    a.switchDHCP,
	}
}

func newCheckCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:      "check",
		Usage:     "report what a DHCP server's configuration lacks for network boot",
		ArgsUsage: "FILE",
		Flags: concat([]cli.Flag{serverFlag()}, planFlags(), []cli.Flag{
			&cli.StringSliceFlag{Name: "firmware", Usage: "require answers for the firmware `KINDS`, a comma-separated list of bios, uefi-x86_64, uefi-arm64, http-x86_64 and http-arm64; others only get remarks (default: uefi-x86_64, which hardware.csv's machines are registered as)"},
			&cli.BoolFlag{Name: "proxy", Usage: "check a proxy that runs next to another server (dnsmasq)"},
		}),
		Action: a.checkDHCP,
	}
}

func serverFlag() cli.Flag {
	return &cli.StringFlag{Name: "server", Usage: "the DHCP server's `KIND`: " + serverNames()}
}

func serverNames() string {
	var names []string
	for _, s := range dhcpServers() {
		names = append(names, s.Name())
	}
	return strings.Join(names, ", ")
}

// modeFlags returns the flags that choose one of the modes.
func modeFlags(modes []netboot.Mode) []cli.Flag {
	if len(modes) < 2 {
		return nil
	}
	usage := map[netboot.Mode]string{
		netboot.Full:     "write a complete configuration for a dedicated server (the default)",
		netboot.Fragment: "write only what an existing configuration includes",
		netboot.Proxy:    "write a proxy's configuration, for use next to a server that cannot be changed: it assigns no addresses and only tells what to boot (dnsmasq)",
	}
	var flags []cli.Flag
	for _, m := range modes {
		flags = append(flags, &cli.BoolFlag{Name: m.String(), Usage: usage[m]})
	}
	return flags
}

// allModes returns the modes of all servers.
func allModes() []netboot.Mode {
	var modes []netboot.Mode
	for _, s := range dhcpServers() {
		for _, m := range s.Modes() {
			if !slices.Contains(modes, m) {
				modes = append(modes, m)
			}
		}
	}
	return modes
}

// mode returns the mode that the flags choose. It returns an error if the server
// does not support it.
func mode(c *cli.Context, s netboot.Server) (netboot.Mode, error) {
	chosen, n := s.Modes()[0], 0
	for _, m := range allModes() {
		if c.Bool(m.String()) {
			chosen, n = m, n+1
		}
	}
	if n > 1 {
		return chosen, usagef("--full, --fragment and --proxy are mutually exclusive; use one of them")
	}
	return chosen, fault.Mark(netboot.Refuse(s, chosen), fault.Usage)
}

func (a *app) renderDHCP(c *cli.Context, s netboot.Server) error {
	if c.NArg() > 0 {
		return usagef("%q: %s takes no arguments; name the file to write with -o", c.Args().First(), a.command())
	}
	m, err := mode(c, s)
	if err != nil {
		return err
	}
	plan, err := a.loadPlan(c)
	if err != nil {
		return err
	}
	files, err := s.Render(plan.Plan, m)
	if err != nil {
		return fault.Mark(err, fault.Invalid)
	}
	return a.writeConfig(c, files)
}

// writeConfig writes one file to the output of -o, which is standard output by
// default, or several files into that directory, which must exist.
func (a *app) writeConfig(c *cli.Context, files []netboot.File) error {
	to := a.output(c)
	if to.Path == "" {
		to.Path = atomicfile.Stdout
	}
	info, err := os.Stat(to.Path)
	isDir := err == nil && info.IsDir() || strings.HasSuffix(to.Path, string(filepath.Separator))
	switch {
	case len(files) > 1 && (to.IsStdout() || err == nil && !isDir):
		return usagef("the configuration has %d files; name a directory for them with -o DIR", len(files))
	case len(files) > 1 || isDir && !to.IsStdout():
		if err != nil {
			return usagef("writing the configuration: the directory %q does not exist; make it first", to.Path)
		}
		for _, f := range files {
			if err := a.writeOutput(atomicfile.Target{Path: filepath.Join(to.Path, f.Name)}, f.Content); err != nil {
				return err
			}
			if f.Use != "" {
				a.note("%s: %s", f.Name, f.Use)
			}
		}
		return nil
	}
	return a.writeOutput(to, files[0].Content)
}

// writeOutput writes content to an output. A file appears whole, so that a
// server that starts meanwhile never reads part of it.
func (a *app) writeOutput(to atomicfile.Target, content []byte) (err error) {
	if to.IsStdout() {
		to.Stdout = a.results()
	}
	out, err := to.Create()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Discard()) }()
	if _, err := out.Write(content); err != nil {
		return fmt.Errorf("writing %q: %w", to.Path, err)
	}
	if err := out.Commit(); err != nil {
		return err
	}
	if out.Replaces() {
		a.note("wrote %s", to.Path)
	}
	return nil
}
