package main

import (
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"hookbuild/internal/fault"
	"hookbuild/serve"
)

func newServeCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:      "serve",
		Usage:     "serve a build's artifacts over HTTP for hookImagesURLPath and hookIsoURL",
		ArgsUsage: "[DIR]",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "listen", Value: ":8080", Usage: "listen on `HOST:PORT`"},
			&cli.StringFlag{Name: "url", Usage: "print `URL` as this server's address (default: http:// and this host's first address)"},
			&cli.StringFlag{Name: "tls-cert", Usage: "serve HTTPS with the certificates in `FILE` (PEM)"},
			&cli.StringFlag{Name: "tls-key", Usage: "read the certificate's key from `FILE` (PEM)"},
			&cli.DurationFlag{Name: "read-timeout", Value: serve.DefaultReadTimeout, Usage: "disconnect a client that sends or takes nothing for `TIME`"},
			&cli.StringFlag{Name: "check", Usage: "serve nothing; request every file in the checksums.txt of the server at `URL`, whole and in ranges"},
		},
		Action: a.serve,
	}
}

func (a *app) serve(c *cli.Context) error {
	if c.NArg() > 1 {
		return usagef("serve takes at most one directory")
	}
	if url := c.String("check"); url != "" {
		client, err := a.webClient(c)
		if err != nil {
			return err
		}
		return serve.Check(c.Context, client, url, func(line string) { a.note("%s", line) })
	}
	if (c.String("tls-cert") == "") != (c.String("tls-key") == "") {
		return usagef("--tls-cert and --tls-key belong together; set both")
	}
	if c.Duration("read-timeout") <= 0 {
		return usagef("--read-timeout %s is not positive; write it as 30s", c.Duration("read-timeout"))
	}
	dir := c.Args().First()
	if dir == "" {
		dir = filepath.Join(c.String("out"), "hook")
	}
	files, err := serve.Open(dir, c.Duration("read-timeout"), func(line string) { a.note("%s", line) })
	if err != nil {
		return fault.Invalidf("serving %q: %w; run hookbuild all first, or name the directory", dir, err)
	}
	listener, err := serve.Listen(c.String("listen"))
	if err != nil {
		return err
	}
	if err := a.clusterLines(c, listener.Addr(), files.Names()); err != nil {
		return err
	}
	return serve.Run(c.Context, serve.Options{
		Listener: listener, Handler: files, Cert: c.String("tls-cert"), Key: c.String("tls-key"), ReadTimeout: c.Duration("read-timeout"),
	})
}

// clusterLines prints the lines of the cluster specification for this server.
func (a *app) clusterLines(c *cli.Context, addr net.Addr, names []string) error {
	base := strings.TrimSuffix(c.String("url"), "/")
	if base == "" {
		base = "http://" + reachable(addr)
		if c.String("tls-cert") != "" {
			base = "https://" + reachable(addr)
		}
	}
	lines := []string{"# TinkerbellDatacenterConfig, spec:", "hookImagesURLPath: " + base}
	slices.Sort(names)
	for _, name := range names {
		if filepath.Ext(name) == ".iso" {
			lines = append(lines, "hookIsoURL: "+base+"/"+name)
		}
	}
	_, err := fmt.Fprintln(a.results(), strings.Join(lines, "\n"))
	return err
}

// reachable returns an address with a host that machines can reach. If the server
// listens on all addresses, that is the first IPv4 address of this host.
func reachable(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return addr.String()
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsUnspecified() {
		return addr.String()
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return net.JoinHostPort("localhost", port)
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			return net.JoinHostPort(n.IP.String(), port)
		}
	}
	return net.JoinHostPort("localhost", port)
}
