package main

import (
	"github.com/urfave/cli/v2"

	"hookbuild/internal/trust"
	"hookbuild/internal/web"
)

// webClient returns the client for all that this command fetches.
func (a *app) webClient(c *cli.Context) (*web.Client, error) {
	if a.web != nil {
		return a.web, nil
	}
	certificates := trust.Store{Files: c.StringSlice("ca-file"), Dirs: trust.DockerDirs(a.getenv("HOME"))}
	general, err := certificates.TLS()
	if err != nil {
		return nil, err
	}
	a.web = web.New(web.Options{
		TLS: general, ForHost: certificates.ForHost, Insecure: c.StringSlice("insecure-registry"), Progress: a.sink(),
	})
	return a.web, nil
}
