package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"hookbuild/internal/bounded"
	"hookbuild/internal/fault"
	"hookbuild/internal/linediff"
	"hookbuild/internal/progress"
	"hookbuild/internal/words"
	"hookbuild/netboot"
	"hookbuild/netboot/check"
	"hookbuild/netboot/windows"
)

// chosenServer returns the server that --server names.
func chosenServer(c *cli.Context) (netboot.Server, error) {
	for _, s := range dhcpServers() {
		if s.Name() == c.String("server") {
			return s, nil
		}
	}
	if c.String("server") == "" {
		return nil, usagef("the configuration's server is not known; name it with --server (%s), or netboot.server in hookbuild.yaml", serverNames())
	}
	return nil, usagef("--server %q is not one of %s", c.String("server"), serverNames())
}

// switchDHCP prints the difference between the phases as a patch, and the steps
// that put it into effect.
func (a *app) switchDHCP(c *cli.Context) error {
	if c.NArg() > 1 {
		return usagef("%s: name one file to switch, or none", quoted(c.Args().Slice()))
	}
	s, err := chosenServer(c)
	if err != nil {
		return err
	}
	m, err := mode(c, s)
	if err != nil {
		return err
	}
	changes, err := a.changes(c, s, m)
	if err != nil {
		return err
	}
	name := c.Args().First()
	if name != "" {
		changes, err = changesOf(name, changes)
		if errors.Is(err, netboot.ErrChanged) {
			a.note("%s is already of phase %s: there is nothing to change", name, orDefault(c.String("phase"), string(netboot.Cluster)))
			return nil
		}
		if err != nil {
			return fault.Mark(err, fault.Invalid)
		}
	}
	for _, change := range changes {
		if _, err := a.results().Write(linediff.Unified(change.Name, change.Before, change.After)); err != nil {
			return err
		}
	}
	if m == netboot.Fragment {
		return a.printSteps(s, "")
	}
	return a.printSteps(s, orDefault(name, changes[0].Name))
}

// changes renders the phase before the switch and the phase after it, which
// --phase names.
func (a *app) changes(c *cli.Context, s netboot.Server, m netboot.Mode) ([]netboot.Change, error) {
	o, err := a.planOptions(c)
	if err != nil {
		return nil, err
	}
	if !o.BootstrapIP.IsValid() {
		return nil, usagef("a switch needs both addresses; add --bootstrap-ip")
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

// printSteps prints the steps that put the change into effect, as lines that
// patch ignores.
func (a *app) printSteps(s netboot.Server, file string) error {
	text := "# Then:\n"
	for _, step := range s.Apply(file) {
		text += "#   " + step + "\n"
	}
	_, err := fmt.Fprint(a.results(), text)
	return err
}

// mostConfig is the size limit of a configuration file.
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
		return nil, fmt.Errorf("reading %q: it is not a regular file of at most %d MiB", name, mostConfig>>20)
	}
	return bounded.ReadAll(f, mostConfig)
}

// checkDHCP prints what is wrong with a configuration.
func (a *app) checkDHCP(c *cli.Context) error {
	s, err := chosenServer(c)
	if err != nil {
		return err
	}
	name := c.Args().First()
	if name == "" || c.NArg() > 1 {
		return usagef("name one configuration file to check")
	}
	plan, err := a.loadPlan(c)
	if err != nil {
		return err
	}
	text, err := readConfig(name)
	if err != nil {
		return fault.Invalidf("opening the configuration: %w", err)
	}
	if windows.IsScript(text) {
		return fault.Invalidf("checking %q: it is the script that `hookbuild dhcp windows` writes, which is no configuration; run it on the server, then Export-DhcpServer -File dhcp.xml there, and check dhcp.xml with --server windows", name)
	}
	scope := check.Scope{Proxy: c.Bool("proxy"), Firmware: splitList(c.StringSlice("firmware"))}
	if err := knownFirmware(plan.Plan, scope.Firmware); err != nil {
		return err
	}
	request := check.Request{Server: s, Plan: plan.Plan, Other: plan.other(), At: plan.at, File: name, Open: readConfig, Scope: scope}
	if request.Other != nil {
		request.Change = a.changeRemedy(c, request)
	}
	result, err := check.Run(c.Context, request)
	if err != nil {
		return err
	}
	for _, f := range result.Findings {
		if _, err := fmt.Fprintf(a.results(), "%s: %s\n", f.Level, words.Line(f.String())); err != nil {
			return err
		}
	}
	if result.Unread {
		return unread(s, name)
	}
	return a.verdict(name, plan.Plan, result, scope)
}

// changeRemedy says how to change the file from the other phase to the one checked: by
// the command for it, as it can be typed, if the file is as hookbuild writes it.
func (a *app) changeRemedy(c *cli.Context, r check.Request) string {
	options := a.givenPlan(c)
	if r.Server.Name() == (windows.Server{}).Name() {
		return fmt.Sprintf("write the script again with `hookbuild dhcp windows%s --phase %s -o eksa-dhcp.ps1` and run it on the server", options, r.Plan.Phase)
	}
	for _, m := range r.Server.Modes() {
		if (m == netboot.Proxy) != r.Proxy {
			continue
		}
		changes, err := netboot.Changes(r.Server, r.Other, r.Plan, m)
		if err == nil {
			_, err = changesOf(r.File, changes)
		}
		if err != nil {
			continue
		}
		if m != netboot.Full {
			options += " --" + m.String()
		}
		return fmt.Sprintf("apply what `hookbuild dhcp switch --server %s%s --phase %s %s` prints", r.Server.Name(), options, r.Plan.Phase, words.Shell(r.File))
	}
	return fmt.Sprintf("replace %s by %s in it and in the files that it includes", r.Other.Address, r.Plan.Address)
}

// givenPlan returns the options of planFlags on the command line, without --phase, and
// --config, as text that a shell reads: " --name value". The file's settings hold anyway.
func (a *app) givenPlan(c *cli.Context) string {
	text := ""
	if slices.Contains(a.options, "config") {
		text += " --config " + words.Shell(c.String("config"))
	}
	for _, f := range planFlags() {
		name := f.Names()[0]
		if !slices.Contains(a.options, name) || name == "phase" {
			continue
		}
		switch f.(type) {
		case *cli.BoolFlag:
			text += fmt.Sprintf(" --%s=%t", name, c.Bool(name))
		case *cli.StringSliceFlag:
			for _, value := range c.StringSlice(name) {
				text += " --" + name + " " + words.Shell(value)
			}
		default:
			text += " --" + name + " " + words.Shell(fmt.Sprint(c.Value(name)))
		}
	}
	return text
}

// unread returns the error for a file that is not a configuration of the server. It
// names the server that the file is of.
func unread(s netboot.Server, name string) error {
	for _, other := range dhcpServers() {
		if other.Name() == s.Name() {
			continue
		}
		if config, _ := other.Parse(readConfig, name); config != nil {
			return fault.Invalidf("checking %q: it is not a readable configuration of %s, but one of %s; check it with --server %[3]s", name, s.Name(), other.Name())
		}
	}
	return fault.Invalidf("checking %q: it is not a readable configuration of %s, nor one of another server that hookbuild knows", name, s.Name())
}

// verdict returns an error if the findings keep machines from booting.
func (a *app) verdict(name string, plan *netboot.Plan, result check.Result, scope check.Scope) error {
	if !result.Checked {
		a.note("only hookbuild's checks were made: %s", result.Why)
	}
	kinds := strings.Join(scope.Firmware, ", ")
	if kinds == "" {
		kinds = check.DefaultFirmware
	}
	phase := ""
	if plan.OtherAddress.IsValid() {
		phase = fmt.Sprintf(" in phase %s", plan.Phase)
	}
	if n := result.Count(netboot.Wrong); n > 0 {
		return fault.Invalidf("checking %q: %s; machines with %s firmware would not boot%s", name, words.Count(n, "problem"), kinds, phase)
	}
	if n := result.Count(netboot.Unknown); n > 0 {
		return fault.Failedf("checking %q: found nothing wrong in what was evaluated, but %s; test the server itself with the requests of such a machine", name, words.Count(n, "answer")+" could not be evaluated")
	}
	a.note("%s: with this file, machines with %s firmware boot%s (--firmware chooses other kinds)", name, kinds, phase)
	return nil
}

// splitList splits the values of a repeatable flag at commas.
func splitList(values []string) []string {
	var list []string
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			if part = strings.TrimSpace(part); part != "" {
				list = append(list, part)
			}
		}
	}
	return list
}

// knownFirmware returns an error for a kind of firmware that no client of the
// plan has.
func knownFirmware(p *netboot.Plan, kinds []string) error {
	var known []string
	for _, c := range p.Clients {
		known = append(known, c.Firmware)
	}
	for _, k := range kinds {
		if !slices.Contains(known, k) {
			return usagef("--firmware %q is not one of %s", k, strings.Join(known, ", "))
		}
	}
	return nil
}
