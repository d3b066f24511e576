package main

import (
	"cmp"
	"net/url"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/net/http/httpproxy"

	"hookbuild/internal/trust"
	"hookbuild/internal/web"
)

// siteProxy returns the proxy that hookbuild.yaml names, for what the environment
// does not say; nil if it names none.
func (a *app) siteProxy() func(*url.URL) (*url.URL, error) {
	if a.site == nil || a.site.Network.Proxy.HTTPS+a.site.Network.Proxy.HTTP == "" {
		return nil
	}
	value := func(name string) string {
		return cmp.Or(a.getenv(name), a.getenv(strings.ToLower(name)), a.siteVariable(name))
	}
	config := httpproxy.Config{HTTPSProxy: value("HTTPS_PROXY"), HTTPProxy: value("HTTP_PROXY"), NoProxy: value("NO_PROXY")}
	return func(u *url.URL) (*url.URL, error) { return config.ProxyFunc()(u) }
}

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
	k, err := a.kitOf(c)
	if err != nil {
		return nil, err
	}
	if k != nil {
		o.Instead = k
	}
	applyCluster(cluster, &certificates, &o)
	if proxy := a.siteProxy(); proxy != nil {
		o.Proxy = proxy
	}
	if o.TLS, err = certificates.TLS(); err != nil {
		return nil, err
	}
	o.ForHost = certificates.ForHost
	a.web = web.New(o)
	return a.web, nil
}
