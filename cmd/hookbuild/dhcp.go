package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/urfave/cli/v2"

	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
	"hookbuild/netboot"
	"hookbuild/netboot/check"
	"hookbuild/netboot/dhcpd"
	"hookbuild/netboot/dnsmasq"
	"hookbuild/netboot/hardware"
	"hookbuild/netboot/kea"
	"hookbuild/netboot/windows"
)

// dhcpServers are the kinds of DHCP servers, each in a package of its own.
func dhcpServers() []netboot.Server {
	return []netboot.Server{dnsmasq.Server{}, kea.Server{}, dhcpd.Server{}, windows.Server{}}
}

func newDHCPCommand(a *app) *cli.Command {
	c := &cli.Command{
		Name:  "dhcp",
		Usage: "network boot from the DHCP server that a site has",
		Action: func(c *cli.Context) error {
			return usagef("dhcp %s: name a server (%s), or switch or check", c.Args().First(), serverNames())
		},
	}
	for _, s := range dhcpServers() {
		c.Subcommands = append(c.Subcommands, newRenderCommand(a, s))
	}
	c.Subcommands = append(c.Subcommands, newSwitchCommand(a), newCheckCommand(a))
	return c
}

func newRenderCommand(a *app, s netboot.Server) *cli.Command {
	return &cli.Command{
		Name:  s.Name(),
		Usage: "write the configuration for " + s.Name() + " from hardware.csv",
		Flags: concat(planFlags(), modeFlags(s.Name()), []cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "the `FILE|DIR` to write (default: standard output)"},
		}),
		Action: func(c *cli.Context) error { return a.renderDHCP(c, s) },
	}
}

func newSwitchCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:      "switch",
		Usage:     "print what to change when Tinkerbell moves from the bootstrap cluster to the management cluster",
		ArgsUsage: "[FILE]",
		Flags:     concat([]cli.Flag{serverFlag()}, planFlags(), modeFlags("dnsmasq")),
		Action:    a.switchDHCP,
	}
}

func newCheckCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:      "check",
		Usage:     "say what a DHCP server's configuration lacks for network boot",
		ArgsUsage: "FILE",
		Flags: concat([]cli.Flag{serverFlag()}, planFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "proxy", Usage: "the server is a proxy beside another one (dnsmasq)"},
		}),
		Action: a.checkDHCP,
	}
}

func serverFlag() cli.Flag {
	return &cli.StringFlag{Name: "server", Usage: "the `KIND` of DHCP server: " + serverNames()}
}

func serverNames() string {
	var names []string
	for _, s := range dhcpServers() {
		names = append(names, s.Name())
	}
	return strings.Join(names, ", ")
}

// modeFlags say how much of a configuration is meant.
func modeFlags(server string) []cli.Flag {
	if server == "windows" {
		return nil
	}
	flags := []cli.Flag{
		&cli.BoolFlag{Name: "full", Usage: "a whole file, for a server of its own (the default)"},
		&cli.BoolFlag{Name: "fragment", Usage: "what an existing configuration includes"},
	}
	if server == "dnsmasq" {
		flags = append(flags, &cli.BoolFlag{Name: "proxy", Usage: "a proxy beside a server that cannot be changed: no addresses, only what to boot (dnsmasq)"})
	}
	return flags
}

// planFlags say what the machines are to be told.
func planFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "hardware", Usage: "EKS Anywhere's hardware.csv, a `FILE`"},
		&cli.StringFlag{Name: "tinkerbell-ip", Usage: "the `IP` that the cluster's Tinkerbell answers at (spec.tinkerbellIP)"},
		&cli.StringFlag{Name: "bootstrap-ip", Usage: "the `IP` that Tinkerbell answers at while the management cluster is created"},
		&cli.StringFlag{Name: "phase", Usage: "bootstrap or cluster (default: bootstrap with a --bootstrap-ip)"},
		&cli.StringFlag{Name: "eksa-version", Value: netboot.LatestRelease, Usage: "the EKS Anywhere release, which chooses port, paths and file names"},
		&cli.StringSliceFlag{Name: "subnet", Usage: "a `CIDR` that machines may be in (repeatable; default: what they need)"},
		&cli.StringFlag{Name: "domain", Usage: "the DNS domain to tell"},
		&cli.DurationFlag{Name: "lease", Usage: "how long addresses are leased (default: 24h)"},
		&cli.StringFlag{Name: "tag", Value: "eksa", Usage: "what the generated names begin with, where several clusters share a server"},
		&cli.StringSliceFlag{Name: "user-class", Usage: "the iPXE user class that gets the script (repeatable; default: Tinkerbell)"},
		&cli.StringFlag{Name: "interface", Usage: "the one network interface that the server answers on"},
		&cli.BoolFlag{Name: "no-vlan-option", Usage: "do not tell iPXE the VLAN: the firmware boots without one although vlan_id is set"},
		&cli.StringFlag{Name: "script-url", Usage: "the whole `URL` of auto.ipxe"},
		&cli.StringFlag{Name: "binary-url", Usage: "the `URL` of the directory of iPXE programs"},
		&cli.IntFlag{Name: "http-port", Usage: "the port of both (default: the release's)"},
		&cli.StringFlag{Name: "script-path", Usage: "the `PATH` of auto.ipxe (default: the release's)"},
		&cli.StringFlag{Name: "binary-path", Usage: "the `PATH` of the iPXE programs (default: the release's)"},
		&cli.StringFlag{Name: "bios-file", Usage: "the iPXE program for BIOS (default: undionly.kpxe)"},
		&cli.StringFlag{Name: "x86-file", Usage: "the iPXE program for UEFI x86-64 (default: ipxe.efi)"},
		&cli.StringFlag{Name: "arm64-file", Usage: "the iPXE program for UEFI arm64 (default: the release's)"},
	}
}

// planOptions reads planFlags.
func (a *app) planOptions(c *cli.Context) (netboot.Options, error) {
	o := netboot.Options{
		Version: c.String("eksa-version"), Domain: c.String("domain"), Lease: c.Duration("lease"), Tag: c.String("tag"),
		UserClasses: c.StringSlice("user-class"), Interface: c.String("interface"), NoVLANOption: c.Bool("no-vlan-option"),
		ScriptURL: c.String("script-url"), BinaryURL: c.String("binary-url"),
		Layout: netboot.Layout{
			HTTPPort: c.Int("http-port"), ScriptPath: c.String("script-path"), BinaryPath: c.String("binary-path"),
			BIOS: c.String("bios-file"), EFI: c.String("x86-file"), ARM64: c.String("arm64-file"),
		},
	}
	var err error
	if o.TinkerbellIP, err = addressFlag(c, "tinkerbell-ip"); err != nil {
		return o, err
	}
	if o.BootstrapIP, err = addressFlag(c, "bootstrap-ip"); err != nil {
		return o, err
	}
	if c.IsSet("phase") {
		if o.Phase, err = netboot.ParsePhase(c.String("phase")); err != nil {
			return o, fault.Mark(err, fault.Usage)
		}
	}
	for _, text := range c.StringSlice("subnet") {
		subnet, err := netip.ParsePrefix(text)
		if err != nil {
			return o, usagef("--subnet %q is not of the form 192.0.2.0/24", text)
		}
		o.Subnets = append(o.Subnets, subnet)
	}
	if _, known, err := netboot.LayoutOf(o.Version); err == nil && !known {
		progress.Warnf(a.sink(), "EKS Anywhere %s is newer than what is known here; its paths are taken to be those of %s: try them with curl before the machines do", o.Version, netboot.LatestRelease)
	}
	return o, fault.Mark(o.Validate(), fault.Usage)
}

func addressFlag(c *cli.Context, name string) (netip.Addr, error) {
	if c.String(name) == "" {
		return netip.Addr{}, nil
	}
	ip, err := netip.ParseAddr(c.String(name))
	if err != nil {
		return ip, usagef("--%s %q is not an IP address", name, c.String(name))
	}
	return ip, nil
}

// readHardware reads the machines, and shows every fault of the file.
func (a *app) readHardware(c *cli.Context, o netboot.Options) ([]hardware.Machine, error) {
	name := c.String("hardware")
	if name == "" {
		return nil, usagef("name the machines with --hardware hardware.csv")
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fault.Mark(fmt.Errorf("opening the hardware list: %w", err), fault.Invalid)
	}
	defer f.Close()
	machines, warnings, err := hardware.Read(f, o.Rules())
	for _, w := range warnings {
		progress.Warnf(a.sink(), "%s:%s", name, w)
	}
	var wrong hardware.Faults
	if errors.As(err, &wrong) {
		return nil, fault.Mark(fmt.Errorf("reading %q: %s to mend:\n%s", name, count(len(wrong), "fault"), prefixLines(name+":", err.Error())), fault.Invalid)
	}
	return machines, err
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func prefixLines(prefix, text string) string {
	return prefix + strings.ReplaceAll(text, "\n", "\n"+prefix)
}

// loadPlan makes the plan that the flags describe.
func (a *app) loadPlan(c *cli.Context) (netboot.Options, *netboot.Plan, error) {
	o, err := a.planOptions(c)
	if err != nil {
		return o, nil, err
	}
	machines, err := a.readHardware(c, o)
	if err != nil {
		return o, nil, err
	}
	plan, err := netboot.New(o, machines)
	return o, plan, fault.Mark(err, fault.Usage)
}

func mode(c *cli.Context) (netboot.Mode, error) {
	chosen, n := netboot.Full, 0
	for name, m := range map[string]netboot.Mode{"full": netboot.Full, "fragment": netboot.Fragment, "proxy": netboot.Proxy} {
		if c.Bool(name) {
			chosen, n = m, n+1
		}
	}
	if n > 1 {
		return chosen, usagef("--full, --fragment and --proxy exclude one another; give one of them")
	}
	return chosen, nil
}

func (a *app) renderDHCP(c *cli.Context, s netboot.Server) error {
	m, err := mode(c)
	if err != nil {
		return err
	}
	_, plan, err := a.loadPlan(c)
	if err != nil {
		return err
	}
	files, err := s.Render(plan, m)
	if err != nil {
		return fault.Mark(err, fault.Invalid)
	}
	return a.writeConfig(c.String("output"), files)
}

// writeConfig writes one file where out says, or several into the directory
// out; without out, one file to standard output.
func (a *app) writeConfig(out string, files []netboot.File) error {
	info, err := os.Stat(out)
	isDir := err == nil && info.IsDir() || strings.HasSuffix(out, string(filepath.Separator))
	switch {
	case len(files) > 1 && out == "":
		return usagef("these are %d files; name a directory for them with -o DIR", len(files))
	case out == "":
		_, err := a.results().Write(files[0].Content)
		return err
	case len(files) > 1 || isDir:
		if err := os.MkdirAll(out, 0o755); err != nil {
			return fmt.Errorf("writing the configuration: %w", err)
		}
		for _, f := range files {
			if err := a.replaceFile(filepath.Join(out, f.Name), f.Content); err != nil {
				return err
			}
		}
		return nil
	}
	return a.replaceFile(out, files[0].Content)
}

// replaceFile puts a file in place at once: a server that starts meanwhile
// never reads a half of it.
func (a *app) replaceFile(name string, content []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*")
	if err != nil {
		return fmt.Errorf("writing %q: %w", name, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return fmt.Errorf("writing %q: %w", name, err)
	}
	a.note("wrote %s", name)
	return nil
}

// chosenServer is what --server names.
func chosenServer(c *cli.Context) (netboot.Server, error) {
	for _, s := range dhcpServers() {
		if s.Name() == c.String("server") {
			return s, nil
		}
	}
	return nil, usagef("--server %q is not one of %s", c.String("server"), serverNames())
}

// switchDHCP prints, as a patch, the difference between the phases, and how it
// takes effect.
func (a *app) switchDHCP(c *cli.Context) error {
	s, err := chosenServer(c)
	if err != nil {
		return err
	}
	m, err := mode(c)
	if err != nil {
		return err
	}
	changes, err := a.changes(c, s, m)
	if err != nil {
		return err
	}
	name := c.Args().First()
	if name != "" {
		if changes, err = changesOf(name, changes); err != nil {
			return fault.Mark(err, fault.Invalid)
		}
	}
	for _, change := range changes {
		if _, err := a.results().Write(diff.Diff(change.Name, change.Before, change.Name, change.After)); err != nil {
			return err
		}
	}
	return a.printSteps(s, orDefault(name, changes[0].Name))
}

// changes renders the phase that is left and the one that is switched to,
// which --phase names.
func (a *app) changes(c *cli.Context, s netboot.Server, m netboot.Mode) ([]netboot.Change, error) {
	o, err := a.planOptions(c)
	if err != nil {
		return nil, err
	}
	if !o.BootstrapIP.IsValid() {
		return nil, usagef("a switch needs both addresses: give --bootstrap-ip too")
	}
	if o.Phase == "" {
		o.Phase = netboot.Cluster
	}
	machines, err := a.readHardware(c, o)
	if err != nil {
		return nil, err
	}
	after, err := netboot.New(o, machines)
	if err != nil {
		return nil, fault.Mark(err, fault.Usage)
	}
	o.Phase = o.Phase.Other()
	before, err := netboot.New(o, machines)
	if err != nil {
		return nil, fault.Mark(err, fault.Usage)
	}
	if o.ScriptURL != "" || o.BinaryURL != "" {
		progress.Warnf(a.sink(), "--script-url and --binary-url are the same in both phases; their host is not switched")
	}
	return netboot.Changes(s, before, after, m)
}

// changesOf applies the changes to a site's own file.
func changesOf(name string, changes []netboot.Change) ([]netboot.Change, error) {
	text, err := readConfig(name)
	if err != nil {
		return nil, err
	}
	all := netboot.Change{Name: name}
	for _, change := range changes {
		all.Before = append(all.Before, change.Before...)
		all.After = append(all.After, change.After...)
	}
	applied, err := all.ApplyTo(name, text)
	return []netboot.Change{applied}, err
}

// printSteps says how the change takes effect, in lines that patch ignores.
func (a *app) printSteps(s netboot.Server, file string) error {
	text := "# Then:\n"
	for _, step := range s.Apply(file) {
		text += "#   " + step + "\n"
	}
	_, err := fmt.Fprint(a.results(), text)
	return err
}

// mostConfig is the largest configuration file read.
const mostConfig = 16 << 20

func readConfig(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > mostConfig {
		return nil, fmt.Errorf("reading %q: it is no regular file of at most %d MiB", name, mostConfig>>20)
	}
	return os.ReadFile(name)
}

// checkDHCP prints what is wrong with a configuration.
func (a *app) checkDHCP(c *cli.Context) error {
	s, err := chosenServer(c)
	if err != nil {
		return err
	}
	name := c.Args().First()
	if name == "" || c.NArg() > 1 {
		return usagef("name the one configuration file to check")
	}
	_, plan, err := a.loadPlan(c)
	if err != nil {
		return err
	}
	if _, err := readConfig(name); err != nil {
		return fault.Mark(fmt.Errorf("opening the configuration: %w", err), fault.Invalid)
	}
	result, err := check.Run(c.Context, check.Request{Server: s, Plan: plan, File: name, Open: readConfig, Proxy: c.Bool("proxy")})
	if err != nil {
		return err
	}
	if !result.Checked {
		a.note("the server's own check was not run: %s", result.Why)
	}
	for _, f := range result.Findings {
		if _, err := fmt.Fprintln(a.results(), f); err != nil {
			return err
		}
	}
	if n := result.Wrong(); n > 0 {
		return fault.Mark(fmt.Errorf("checking %q: %s; the machines would not boot", name, count(n, "thing")+" to mend"), fault.Invalid)
	}
	a.note("%s gives the machines of %s what they need to boot", name, c.String("hardware"))
	return nil
}
