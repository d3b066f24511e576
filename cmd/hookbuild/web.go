package main

import (
	"github.com/urfave/cli/v2"

	"hookbuild/internal/trust"
	"hookbuild/internal/web"
)

// webClient returns the client for everything that this command fetches.
func (a *app) webClient(c *cli.Context) (*web.Client, error) {
	if a.web != nil {
		return a.web, nil
	}
	certificates := trust.Store{Files: c.StringSlice("ca-file"), Dirs: trust.DockerDirs(a.getenv("HOME"))}
	cluster, err := a.clusterOf(c)
	if err != nil {
		return nil, err
	}
	o := web.Options{Insecure: c.StringSlice("insecure-registry"), Progress: a.sink()}
	applyCluster(cluster, &certificates, &o)
	if o.TLS, err = certificates.TLS(); err != nil {
		return nil, err
	}
	o.ForHost = certificates.ForHost
	a.web = web.New(o)
	return a.web, nil
}
