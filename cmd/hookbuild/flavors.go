package main

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"hookbuild/internal/words"
	"hookbuild/kernel/flavor"
)

func newFlavorsCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:  "flavors",
		Usage: "list the flavors, with architecture, kernel, template and tags",
		Description: "Flavors lists upstream's flavors and those that the checkout defines in kernel/flavors.yaml. " +
			"A star marks what is built if none is named: the flavors of hookbuild.yaml, or else the default.",
		Flags:  []cli.Flag{jsonFlag()},
		Action: a.listFlavors,
	}
}

func jsonFlag() cli.Flag { return &cli.BoolFlag{Name: "json", Usage: "print JSON"} }

// flavorRow is a flavor as `flavors --json` prints it.
type flavorRow struct {
	ID       string   `json:"id"`
	Arch     string   `json:"arch"`
	Kernel   string   `json:"kernel"`   // the series of a source kernel, or the name of Armbian's artifact
	Method   string   `json:"method"`   // source or armbian
	Template string   `json:"template"` // the name in linuxkit-templates/
	OutputID string   `json:"outputId"` // vmlinuz-<outputId> in the tarball
	Tags     []string `json:"tags,omitempty"`
	Own      bool     `json:"own"`     // defined by the checkout
	Default  bool     `json:"default"` // built if none is named
}

func (a *app) listFlavors(c *cli.Context) error {
	if c.NArg() > 0 {
		return usagef("%q: %s takes no arguments", c.Args().First(), a.command())
	}
	arch, err := a.dockerArch(c)
	if err != nil {
		return err
	}
	all, err := a.flavors(c)
	if err != nil {
		return err
	}
	built, err := a.wantedFlavors(c)
	if err != nil {
		return err
	}
	if built[0] == "" {
		built = []string{flavor.Default(orDefault(arch, "amd64"))}
	}
	rows := []flavorRow{}
	for _, f := range all.All() {
		if arch == "" || f.DockerArch() == arch {
			row, err := rowOf(all, f, slices.Contains(built, f.ID))
			if err != nil {
				return err
			}
			rows = append(rows, row)
		}
	}
	a.noteNoCheckout(c)
	if c.Bool("json") {
		enc := json.NewEncoder(a.results())
		enc.SetIndent("", "  ")
		return enc.Encode(rows)
	}
	return a.printTable(flavorTable(rows))
}

// noteNoCheckout says that upstream's flavors are all that is known.
func (a *app) noteNoCheckout(c *cli.Context) {
	if _, err := a.workspace(c); err != nil {
		a.note("there is no Hook checkout here or above, so the flavors are upstream's, without those of a %s; --hook-dir DIR names a checkout", flavor.File)
	}
}

// rowOf returns the row of a flavor. Its kernel may be that of another.
func rowOf(all flavor.Inventory, f flavor.Flavor, built bool) (flavorRow, error) {
	k := f
	if f.UseKernelID != "" {
		var err error
		if k, err = all.Find(f.UseKernelID); err != nil {
			return flavorRow{}, err
		}
	}
	row := flavorRow{
		ID: f.ID, Arch: f.DockerArch(), Kernel: k.Series, Method: string(k.Method), Template: f.Template,
		OutputID: f.OutputID(""), Tags: f.Tags, Own: f.Own, Default: built,
	}
	if k.Method == flavor.Armbian {
		row.Kernel = k.Artifact
	}
	return row, nil
}

func flavorTable(rows []flavorRow) *words.Table {
	t := &words.Table{Head: []string{"  FLAVOR", "ARCH", "KERNEL", "TEMPLATE", "TAGS"}}
	for _, r := range rows {
		mark := " "
		if r.Default {
			mark = "*"
		}
		t.Row(mark+" "+r.ID, r.Arch, r.Kernel, r.Template, strings.Join(r.Tags, " "))
	}
	return t
}
