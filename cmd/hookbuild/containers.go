package main

import (
	"os"

	"github.com/urfave/cli/v2"

	"hookbuild/build"
	"hookbuild/internal/words"
	"hookbuild/linuxkit/containers"
)

func newContainersCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:        "containers",
		Aliases:     []string{"linuxkit-containers"},
		Usage:       "build the checkout's container images that are not published",
		Description: "An image that Docker has, or the registry that its reference names, is not built.",
		Flags: []cli.Flag{
			builderFlag(),
			&cli.BoolFlag{Name: "no-build-containers", Usage: "fail if a container would have to be built (DO_BUILD_LK_CONTAINERS=no)"},
			&cli.BoolFlag{Name: "push", Usage: "push images that are not published yet (DO_PUSH=yes)"},
			&cli.StringFlag{Name: "export", Usage: "also write each image to `DIR` as an archive for docker load (EXPORT_LK_CONTAINERS=yes, EXPORT_LK_CONTAINERS_DIR)"},
		},
		Action: a.containers,
	}
}

func (a *app) containers(c *cli.Context) error {
	if c.NArg() > 0 {
		return usagef("%q: %s takes no arguments; choose the architecture with --arch", c.Args().First(), a.command())
	}
	r, err := a.containersRequest(c)
	if err != nil {
		return err
	}
	b, err := a.newBuilder(c)
	if err != nil {
		return err
	}
	found, err := b.Containers(c.Context, r)
	if err != nil {
		return err
	}
	return a.printContainers(found)
}

func (a *app) containersRequest(c *cli.Context) (r build.ContainersRequest, err error) {
	if r.DockerArch, err = a.dockerArch(c); err != nil {
		return r, err
	}
	r.DockerArch = orDefault(r.DockerArch, "amd64")
	if r.Engine, err = builderFor(c, r.DockerArch); err != nil {
		return r, err
	}
	if r.Workspace, err = a.workspace(c); err != nil {
		return r, err
	}
	r.Base = a.variable("HOOK_LK_CONTAINERS_OCI_BASE")
	if off := a.noBuild(c); off != "" {
		r.NoBuild, r.WhyNoBuild = true, "building is switched off; leave out "+off
	}
	r.Push = c.Bool("push") || truth(a.variable("DO_PUSH"))
	r.ExportDir = c.String("export")
	if r.ExportDir == "" && truth(a.variable("EXPORT_LK_CONTAINERS")) {
		r.ExportDir = orDefault(a.variablePath(c, "EXPORT_LK_CONTAINERS_DIR"), os.TempDir())
	}
	return r, nil
}

// printContainers prints one line for each container: its name, where it was
// found, and its reference.
func (a *app) printContainers(found []containers.Found) error {
	t := &words.Table{}
	for _, f := range found {
		t.Row(f.Name, string(f.How), f.Reference)
	}
	return a.printTable(t)
}
