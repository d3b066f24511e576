package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"hookbuild/build/artifact"
	"hookbuild/build/ship"
	"hookbuild/bundles"
	"hookbuild/internal/fault"
	"hookbuild/internal/oci"
	"hookbuild/internal/progress"
	"hookbuild/internal/web"
	"hookbuild/serve"
)

func newServeCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:        "serve",
		Usage:       "serve a build or a pushed HookOS over HTTP, to machines and BMCs",
		Description: "The addresses are those for hookImagesURLPath and hookIsoURL of a cluster specification.",
		ArgsUsage:   "[DIR | REF]",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "listen", Value: ":8080", Usage: "listen on `HOST:PORT`"},
			&cli.StringFlag{Name: "url", Usage: "print `URL` as this server's address (default: http:// and this host's first address)"},
			&cli.StringFlag{Name: "tls-cert", Usage: "serve HTTPS with the certificates in `FILE` (PEM)"},
			&cli.StringFlag{Name: "tls-key", Usage: "read the certificate's key from `FILE` (PEM)"},
			&cli.DurationFlag{Name: "read-timeout", Value: serve.DefaultReadTimeout, Usage: "disconnect a client that sends or takes nothing for `TIME`"},
			&cli.StringFlag{Name: "check", Usage: "serve nothing; request every file in the checksums.txt of the server at `URL|FILE`, whole and in ranges; FILE is a cluster specification whose hookImagesURLPath and hookIsoURL are checked"},
			&cli.StringFlag{Name: "cluster", Usage: "compare this server with hookImagesURLPath and hookIsoURL of the cluster specification `FILE` before serving"},
		},
		Action: a.serve,
	}
}

func (a *app) serve(c *cli.Context) error {
	if c.NArg() > 1 {
		return usagef("serve takes at most one directory or reference")
	}
	if url := c.String("check"); url != "" {
		if c.NArg() > 0 {
			return usagef("--check %q asks a server, and reads no %q; leave one of them out (`hookbuild verify` checks a directory)", url, c.Args().First())
		}
		client, err := a.webClient(c)
		if err != nil {
			return err
		}
		if !web.IsURL(url) {
			if info, err := os.Stat(url); err == nil && info.IsDir() {
				return usagef("--check %q is a directory; give the URL of the server that serves it, or the file of a cluster specification (`hookbuild verify %s` checks the files)", url, url)
			}
			if scheme, _, other := strings.Cut(url, "://"); other && !exists(url) {
				return usagef("--check %q: hookbuild asks servers by http and https, not by %s", url, scheme)
			}
			host, _, _ := strings.Cut(url, "/")
			if _, _, err := net.SplitHostPort(host); err == nil && !exists(url) {
				return usagef("--check %q is neither a URL nor a file; write http://%s", url, url)
			}
			return a.checkCluster(c, client, url)
		}
		return serve.Check(c.Context, client, url, func(line string) { a.note("%s", line) })
	}
	if (c.String("tls-cert") == "") != (c.String("tls-key") == "") {
		return usagef("--tls-cert and --tls-key belong together; set both")
	}
	if c.Duration("read-timeout") <= 0 {
		return usagef("--read-timeout %s is not positive; write it as 30s", c.Duration("read-timeout"))
	}
	files, done, err := a.served(c)
	if err != nil {
		return err
	}
	defer done()
	if !slices.ContainsFunc(files.Names(), isBootable) {
		return fault.Invalidf("serving %q: it has no vmlinuz, initramfs or ISO image, so no machine boots from it; "+buildFirst, orDefault(c.Args().First(), filepath.Join(c.String("out"), artifact.DefaultName)))
	}
	listener, err := serve.Listen(c.String("listen"))
	if err != nil {
		return err
	}
	a.warnLoopback(c, listener.Addr())
	err = a.clusterLines(c, listener.Addr(), files.Names())
	if err == nil && c.IsSet("cluster") {
		err = a.compareCluster(c.String("cluster"), a.serverURL(c, listener.Addr()), files.Names())
	}
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	return serve.Run(c.Context, serve.Options{
		Listener: listener, Handler: files, Cert: c.String("tls-cert"), Key: c.String("tls-key"), ReadTimeout: c.Duration("read-timeout"), Note: func(line string) { a.note("%s", line) },
	})
}

// buildFirst is the remedy where there is nothing to serve.
const buildFirst = "run hookbuild all first, or name the directory, or a reference with its registry: registry.example/hookos:v1"

// served returns the files of the directory or reference that the command names, and
// a function to call at the end.
func (a *app) served(c *cli.Context) (_ *serve.Files, done func(), err error) {
	from, limit := c.Args().First(), c.Duration("read-timeout")
	note := func(line string) { a.note("%s", line) }
	if !isReference(from) {
		dir, err := artifact.DirOf(orDefault(from, filepath.Join(c.String("out"), artifact.DefaultName)))
		if err != nil {
			return nil, nil, err
		}
		files, err := serve.Open(dir, limit, note)
		if err != nil {
			return nil, nil, fault.Invalidf("serving %q: %w; "+buildFirst, dir, err)
		}
		a.warnDamaged(c.Context, dir)
		return files, func() {}, nil
	}
	if err := oci.CheckRegistry(from); err != nil {
		return nil, nil, fmt.Errorf("serving a HookOS of a registry: %w", err)
	}
	o, err := a.pullOptions(c)
	if err != nil {
		return nil, nil, err
	}
	fetched, err := ship.Fetch(c.Context, from, o)
	if err != nil {
		return nil, nil, err
	}
	var all []serve.Content
	for _, f := range fetched.Files {
		all = append(all, serve.Content{ReaderAt: f, Name: f.Name, Size: f.Size, Digest: f.SHA512})
	}
	a.note("serving %s, all as its digests and checksums say", fetched.Digest)
	return serve.New(all, limit, note), func() { _ = fetched.Close() }, nil // only read
}

// isReference reports whether the text names something in a registry: no such path
// exists, and the text begins with a host, or has a tag or digest.
func isReference(text string) bool {
	host, rest, ok := strings.Cut(text, "/")
	if _, err := os.Lstat(text); err == nil || !ok || host == "" || strings.HasPrefix(host, ".") {
		return false
	}
	return oci.IsRegistry(host) || strings.ContainsAny(rest, ":@")
}

// warnLoopback warns of an address that only this host reaches.
func (a *app) warnLoopback(c *cli.Context, addr net.Addr) {
	tcp, isTCP := addr.(*net.TCPAddr)
	if isTCP && tcp.IP.IsLoopback() && c.String("url") == "" {
		progress.Warnf(a.sink(), "only this host reaches %s; for machines, listen on all addresses (--listen :%d), or name the proxy in front with --url", addr, tcp.Port)
	}
}

// warnDamaged warns of the files in dir that are not what its checksums.txt says.
func (a *app) warnDamaged(ctx context.Context, dir string) {
	for _, name := range serve.Damaged(ctx, dir) {
		progress.Warnf(a.sink(), "%s does not have the checksum in %s; `hookbuild verify %s` says more", filepath.Join(dir, name), artifact.ChecksumsFile, dir)
	}
}

// clusterLines prints the lines of the cluster specification for this server.
func (a *app) clusterLines(c *cli.Context, addr net.Addr, names []string) error {
	base := a.serverURL(c, addr)
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

// serverURL returns the address of this server, without a slash at its end.
func (a *app) serverURL(c *cli.Context, addr net.Addr) string {
	switch {
	case c.String("url") != "":
		return strings.TrimSuffix(c.String("url"), "/")
	case c.String("tls-cert") != "":
		return "https://" + reachable(addr)
	}
	return "http://" + reachable(addr)
}

// bootNames are the files that EKS Anywhere's machines request: those of x86_64,
// unless the Hardware objects were edited.
func bootNames() []string { return []string{"vmlinuz-x86_64", "initramfs-x86_64"} }

// isBootable reports whether machines boot from a file of that name.
func isBootable(name string) bool {
	return artifact.IsBootFile(name) || strings.HasSuffix(name, ".iso")
}

// hookCluster reads the addresses of HookOS in a cluster specification.
func hookCluster(file string) (*bundles.Cluster, error) {
	cluster, err := bundles.ReadCluster(file)
	if err != nil {
		return nil, err
	}
	if !cluster.Datacenter {
		return nil, fault.Invalidf("reading the cluster specification %q: it has no TinkerbellDatacenterConfig, whose hookImagesURLPath and hookIsoURL say where machines get HookOS; add that object, or name the whole file of `eksctl anywhere create cluster -f`, or the server's URL", file)
	}
	if cluster.HookImagesURL == "" && cluster.HookISOURL == "" {
		return nil, fault.Invalidf("reading the cluster specification %q: its TinkerbellDatacenterConfig has neither hookImagesURLPath nor hookIsoURL, so machines boot the release's HookOS; add hookImagesURLPath", file)
	}
	return cluster, nil
}

// checkCluster checks the servers that a cluster specification names.
func (a *app) checkCluster(c *cli.Context, client *web.Client, file string) error {
	cluster, err := hookCluster(file)
	if err != nil {
		return err
	}
	note := func(line string) { a.note("%s", line) }
	var wrong []error
	if base := cluster.HookImagesURL; base != "" {
		if strings.HasSuffix(base, "/") {
			wrong = append(wrong, fault.Invalidf("hookImagesURLPath of %s ends in a slash, to which machines add another one; remove it", file))
		}
		wrong = append(wrong, serve.CheckBase(c.Context, client, base, bootNames(), note))
	}
	if cluster.HookISOURL != "" {
		if !strings.HasSuffix(cluster.HookISOURL, ".iso") {
			wrong = append(wrong, fault.Invalidf("hookIsoURL of %s does not end in .iso, which Tinkerbell requires", file))
		}
		wrong = append(wrong, serve.CheckISO(c.Context, client, cluster.HookISOURL, note))
	}
	return errors.Join(wrong...)
}

// compareCluster compares what is about to be served with a cluster specification. A
// file that machines would not find is an error; another address may be that of a
// proxy in front of this server.
func (a *app) compareCluster(file, base string, names []string) error {
	cluster, err := bundles.ReadCluster(file)
	if err != nil {
		return err
	}
	if !cluster.Datacenter {
		progress.Warnf(a.sink(), "%s has no TinkerbellDatacenterConfig, so where its machines get HookOS is not compared; name the whole file of `eksctl anywhere create cluster -f`", file)
	} else if cluster.HookImagesURL == "" && cluster.HookISOURL == "" {
		progress.Warnf(a.sink(), "the TinkerbellDatacenterConfig of %s has neither hookImagesURLPath nor hookIsoURL, so its machines boot the release's HookOS", file)
	}
	if url := cluster.HookImagesURL; url != "" {
		for _, name := range bootNames() {
			if !slices.Contains(names, name) {
				return fault.Invalidf("serving for %s: machines request %s/%s, which is not among the files; build it, or name another directory", file, url, name)
			}
		}
		if url != base {
			progress.Warnf(a.sink(), "hookImagesURLPath of %s is %s, and this server is %s", file, web.Show(url), base)
		}
	}
	if url := cluster.HookISOURL; url != "" {
		if name := path.Base(url); !slices.Contains(names, name) {
			return fault.Invalidf("serving for %s: BMCs request %s, and %s is not among the files; build it with --iso, or name another directory", file, web.Show(url), name)
		}
		if !strings.HasPrefix(url, base+"/") {
			progress.Warnf(a.sink(), "hookIsoURL of %s is %s, and this server is %s", file, web.Show(url), base)
		}
	}
	return nil
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
