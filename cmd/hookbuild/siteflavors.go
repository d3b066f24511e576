package main

import (
	"cmp"

	"github.com/urfave/cli/v2"

	"hookbuild/internal/fault"
)

// siteFlavor returns the flavor of hookbuild.yaml that a command takes without an
// argument, or "".
func (a *app) siteFlavor() string {
	if a.flavor != "" || a.site == nil || len(a.site.Flavors) == 0 {
		return a.flavor
	}
	return a.site.Flavors[0]
}

// eachBuild runs do for what the lock has, with --locked, or for each flavor that
// is wanted.
func (a *app) eachBuild(c *cli.Context, do func(*cli.Context) error) error {
	return a.eachLocked(c, func(c *cli.Context) error {
		if a.locked != nil {
			return do(c)
		}
		return a.eachFlavor(c, func() error { return do(c) })
	})
}

// eachFlavor runs do for the flavor of the command line or, if it names none, for
// each one of hookbuild.yaml.
func (a *app) eachFlavor(c *cli.Context, do func() error) error {
	wanted, err := a.wantedFlavors(c)
	if err != nil {
		return err
	}
	if len(wanted) > 1 {
		if err := a.checkSeveral(c); err != nil {
			return err
		}
	}
	defer func() { a.flavor = "" }()
	for _, a.flavor = range wanted {
		if err := do(); err != nil {
			return err
		}
	}
	return nil
}

// wantedFlavors returns the flavors of hookbuild.yaml, of those for --arch where
// there are such; one "" where the file does not count.
func (a *app) wantedFlavors(c *cli.Context) ([]string, error) {
	none := []string{""}
	if a.site == nil || len(a.site.Flavors) == 0 || c.NArg() > 0 || c.IsSet("yaml") {
		return none, nil
	}
	arch, err := a.dockerArch(c)
	if err != nil || arch == "" {
		return a.site.Flavors, err
	}
	inventory, err := a.flavors(c)
	if err != nil {
		return nil, err
	}
	var fitting []string
	for _, id := range a.site.Flavors {
		f, err := inventory.Find(id)
		if err != nil {
			return nil, a.explainFlavor(c, err)
		}
		if f.DockerArch() == arch {
			fitting = append(fitting, id)
		}
	}
	if len(fitting) == 0 {
		return a.site.Flavors, nil // flavorOf reports the contradiction
	}
	return fitting, nil
}

// explainFlavor says of an unknown flavor where the file names it, if it does, or
// that it seems to be a variable.
func (a *app) explainFlavor(c *cli.Context, err error) error {
	if c.NArg() > 0 {
		return cmp.Or(checkAssignment(c.Args().First()), err)
	}
	if a.siteFlavor() == "" {
		return err
	}
	return fault.Invalidf("%s:%d: flavors: %s", a.site.Path, a.site.Line("flavors"), err.Error())
}

// checkSeveral refuses names that each flavor would write anew.
func (a *app) checkSeveral(c *cli.Context) error {
	switch {
	case a.variable("FORCE_OUTPUT_ID") != "":
		return usagef("%s lists several flavors, which cannot all have the output id %q; name one flavor", a.site.Path, a.variable("FORCE_OUTPUT_ID"))
	case c.String("export") != "":
		return usagef("%s lists several flavors, and --export %q is one image; name one flavor", a.site.Path, c.String("export"))
	}
	return nil
}
