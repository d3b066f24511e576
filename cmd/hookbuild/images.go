package main

import (
	"github.com/urfave/cli/v2"

	"hookbuild/build/onboard"
	"hookbuild/bundles"
	"hookbuild/internal/web"
)

func newImagesCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:  "images",
		Usage: "list a bundle's images, in the format of images.txt",
		Flags: concat(bundleFlags(), imageFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "json", Usage: "print JSON with digests"},
			&cli.BoolFlag{Name: "pinned", Usage: "print sources with their digests, which older tools do not read"},
		}),
		Action: func(c *cli.Context) error {
			if c.NArg() > 0 {
				return usagef("%q: %s takes no arguments; name a manifest with --bundle", c.Args().First(), a.command())
			}
			// Without bundle flags, images need no bundle.
			onlyImages := (c.IsSet("image") || c.IsSet("images-file")) && !c.IsSet("bundle") && !c.IsSet("eksa-version") && !c.IsSet("cluster")
			request, err := a.embedRequest(c, !onlyImages)
			if err != nil {
				return err
			}
			arch, err := a.dockerArch(c)
			if err != nil {
				return err
			}
			images, need, err := request.Listed(orDefault(arch, "amd64"))
			if err != nil {
				return err
			}
			a.noteWorker(request, need)
			if c.Bool("json") {
				return bundles.WriteJSON(a.results(), request.Bundle, need, images)
			}
			return bundles.ListOf(images, c.Bool("pinned")).Write(a.results())
		},
	}
}

// noteWorker says where the worker comes from that is not in the list.
func (a *app) noteWorker(request *onboard.Embed, need *bundles.WorkerNeed) {
	switch {
	case need == nil:
	case request.WorkerFrom != "":
		a.note("the worker is not in this list: `all` and `embed` take it out of the HookOS %s", web.Show(request.WorkerFrom))
	case need.Commit == "":
		a.note("the worker is not in this list: `all` and `embed` take it out of the HookOS %s", web.Show(need.HookOS.URL))
	default:
		a.note("the worker is not in this list: `all` and `embed` take it out of the HookOS %s, else %s of commit %.12s", web.Show(need.HookOS.URL), bundles.Agent, need.Commit)
	}
}
