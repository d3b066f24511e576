package main

import (
	"time"

	"github.com/urfave/cli/v2"

	"hookbuild/build"
	"hookbuild/embed"
)

func newEmbedCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:  "embed",
		Usage: "add images to an existing initramfs; needs neither Docker nor root",
		Flags: concat(
			[]cli.Flag{
				&cli.StringFlag{Name: "initramfs", Usage: "the initramfs to add to, a `FILE`"},
				&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "the `FILE` to write"},
				&cli.BoolFlag{Name: "from-bundle", Usage: "embed the action images of an EKS Anywhere bundle"},
			},
			bundleFlags(), imageFlags(), layoutFlags(), compressionFlags(),
		),
		Action: a.embed,
	}
}

func (a *app) embed(c *cli.Context) error {
	started := time.Now()
	if c.NArg() > 0 {
		return usagef("%q: the command takes no arguments; name images with --image", c.Args().First())
	}
	r := build.EmbedRequest{
		Initramfs: c.String("initramfs"), Output: c.String("output"),
		Layout: embed.Layout(c.String("layout")), DockerArch: orDefault(a.flagOr(c, "arch", "DOCKER_ARCH"), "amd64"),
	}
	if r.Initramfs == "" || r.Output == "" {
		return usagef("say which initramfs to read (--initramfs IN) and which to write (-o OUT)")
	}
	var err error
	if r.Segment, err = segmentOptions(c); err != nil {
		return err
	}
	if r.Embed, err = a.embedRequest(c, c.Bool("from-bundle")); err != nil {
		return err
	}
	b, err := a.newBuilder(c)
	if err != nil {
		return err
	}
	if err := b.EmbedInto(c.Context, r); err != nil {
		return err
	}
	a.note("done in %s", time.Since(started).Round(time.Millisecond))
	return nil
}
