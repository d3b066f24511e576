package main

import (
	"fmt"
	"os"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/urfave/cli/v2"

	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
	"hookbuild/netboot"
	"hookbuild/netboot/check"
)

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
		if changes, err = changesOf(name, changes); err != nil {
			return fault.Mark(err, fault.Invalid)
		}
	}
	for _, change := range changes {
		if _, err := a.results().Write(diff.Diff(change.Name, change.Before, change.Name, change.After)); err != nil {
			return err
		}
	}
	if m == netboot.Fragment {
		return a.printSteps(s, "")
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
	plan, err := a.loadPlan(c)
	if err != nil {
		return err
	}
	if _, err := readConfig(name); err != nil {
		return fault.Invalidf("opening the configuration: %w", err)
	}
	result, err := check.Run(c.Context, check.Request{Server: s, Plan: plan, File: name, Open: readConfig, Proxy: c.Bool("proxy")})
	if err != nil {
		return err
	}
	if !result.Checked {
		a.note("the server's own check was not run: %s", result.Why)
	}
	for _, f := range result.Findings {
		kind := "wrong"
		if f.Doubtful {
			kind = "doubtful"
		}
		if _, err := fmt.Fprintf(a.results(), "%s: %s\n", kind, f); err != nil {
			return err
		}
	}
	if n := result.Wrong(); n > 0 {
		return fault.Invalidf("checking %q: %s; the machines would not boot", name, count(n, "thing")+" to mend")
	}
	a.note("%s gives the machines of %s what they need to boot", name, c.String("hardware"))
	return nil
}
