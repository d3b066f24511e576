package main

import (
	"github.com/urfave/cli/v2"

	"hookbuild/bundles"
)

func newImagesCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:  "images",
		Usage: "list the images that a bundle embeds, in the format of images.txt",
		Flags: concat(bundleFlags(), imageFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "json", Usage: "print JSON with digests"},
			&cli.BoolFlag{Name: "pinned", Usage: "print sources with their digests, which older tools do not read"},
		}),
		Action: func(c *cli.Context) error {
			if c.NArg() > 0 {
				return usagef("%q: the command takes no arguments; name a manifest with --bundle", c.Args().First())
			}
			// Without bundle flags, images need no bundle.
			onlyImages := (c.IsSet("image") || c.IsSet("images-file")) && !c.IsSet("bundle") && !c.IsSet("eksa-version") && !c.IsSet("cluster")
			request, err := a.embedRequest(c, !onlyImages)
			if err != nil {
				return err
			}
			images, err := request.Images()
			if err != nil {
				return err
			}
			if c.Bool("json") {
				return bundles.WriteJSON(a.results(), request.Bundle, images)
			}
			return bundles.ListOf(images, c.Bool("pinned")).Write(a.results())
		},
	}
}
