package main

import (
	"cmp"
	"net/url"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/urfave/cli/v2"
	"golang.org/x/net/http/httpproxy"

	"hookbuild/bundles"
	"hookbuild/internal/bounded"
	"hookbuild/internal/fault"
	"hookbuild/internal/oci"
	"hookbuild/internal/progress"
	"hookbuild/internal/trust"
	"hookbuild/internal/web"
)

// clusterOf returns the cluster specification of --cluster, or nil if the flag is
// not set. The first call notes what is taken from it.
func (a *app) clusterOf(c *cli.Context) (*bundles.Cluster, error) {
	file := c.String("cluster")
	if !takesBundle(c) {
		return nil, nil // verify and serve only compare with it
	}
	if file == "" || a.cluster != nil {
		return a.cluster, nil
	}
	cluster, err := bundles.ReadCluster(file)
	if err != nil {
		return nil, err
	}
	if m := cluster.Registry; m != nil && m.CA == "" && len(c.StringSlice("kit")) == 0 {
		if err := a.mirrorAuthority(m); err != nil {
			return nil, err
		}
	}
	a.cluster = cluster
	a.noteCluster(c, cluster)
	return cluster, nil
}

// mirrorAuthority sets the mirror's certificate authority from the file that
// EKSA_REGISTRY_MIRROR_CA names. It is for specifications without caCertContent.
func (a *app) mirrorAuthority(m *bundles.RegistryMirror) error {
	file := a.getenv("EKSA_REGISTRY_MIRROR_CA")
	if file == "" {
		return nil
	}
	data, err := bounded.ReadFile(file, bounded.Small)
	if err != nil {
		return fault.Invalidf("reading the certificate authority that EKSA_REGISTRY_MIRROR_CA names: %w", err)
	}
	m.CA = string(data)
	return nil
}

// takesBundle reports whether the command has the flags of a bundle.
func takesBundle(c *cli.Context) bool {
	return c.Command != nil && slices.ContainsFunc(c.Command.Flags, func(f cli.Flag) bool { return f.Names()[0] == "kube-version" })
}

func (a *app) noteCluster(c *cli.Context, cluster *bundles.Cluster) {
	if v := cluster.Version; v != "" && !c.IsSet("bundle") {
		a.note("%s: EKS Anywhere %s", cluster.File, v)
	}
	if m := cluster.Registry; m != nil {
		var says []string
		for _, one := range m.Mirrors {
			says = append(says, one.From+" from "+one.To)
		}
		if m.CA != "" {
			says = append(says, "with its own certificate authority")
		}
		if m.Authenticate {
			says = append(says, "with REGISTRY_USERNAME and REGISTRY_PASSWORD")
		}
		if m.Unverified {
			says = append(says, "without checking its certificate")
		}
		a.note("%s: registry mirror: %s", cluster.File, strings.Join(says, ", "))
	}
	if p := cluster.Proxy; p != nil {
		a.note("%s: proxy %s for HTTPS, %s for HTTP, none for %s", cluster.File, web.Show(p.HTTPS), web.Show(p.HTTP), cmp.Or(strings.Join(p.None, ","), "no host"))
	}
}

// clusterImages returns the cluster's action images that the bundle lacks. It warns
// of those that cannot be pulled, unless the images on board are kept, which may
// have them.
func (a *app) clusterImages(c *cli.Context, cluster *bundles.Cluster, images []bundles.Image) bundles.List {
	own, missing, notes := cluster.Site(images)
	if c.Bool("keep-embedded") {
		notes, missing = append(notes, missing...), nil
	}
	for _, line := range own {
		a.note("%s: embedding the image %s, which a template uses", line.Origin, line.Source)
	}
	for _, note := range notes {
		a.note("%s", note)
	}
	for _, text := range missing {
		progress.Warnf(a.sink(), "%s", text)
	}
	return own
}

// applyCluster adds the cluster's mirror certificates and proxy to the options of
// the client.
func applyCluster(cluster *bundles.Cluster, certificates *trust.Store, o *web.Options) {
	if cluster == nil {
		return
	}
	if m := cluster.Registry; m != nil {
		if m.CA != "" {
			certificates.Hosts = map[string][]byte{m.Host: []byte(m.CA)}
		}
		if m.Unverified {
			certificates.Unverified = []string{m.Host}
		}
	}
	if p := cluster.Proxy; p != nil {
		config := httpproxy.Config{HTTPProxy: p.HTTP, HTTPSProxy: p.HTTPS, NoProxy: strings.Join(p.None, ",")}
		o.Proxy = func(u *url.URL) (*url.URL, error) { return config.ProxyFunc()(u) }
	}
}

// mirrors returns the mirrors of the command line, which take precedence, followed
// by those of the cluster.
func (a *app) mirrors(c *cli.Context) ([]oci.Mirror, error) {
	mirrors, err := parseMirrors(c)
	if err != nil {
		return nil, err
	}
	cluster, err := a.clusterOf(c)
	if err != nil || cluster == nil || cluster.Registry == nil {
		return mirrors, err
	}
	for _, m := range cluster.Registry.Mirrors {
		mirrors = append(mirrors, oci.Mirror(m))
	}
	return mirrors, nil
}

// keychain returns the login to the cluster's mirror, followed by those of docker
// login. It returns nil, which means only the latter, if the mirror needs no login.
func (a *app) keychain(c *cli.Context) (authn.Keychain, error) {
	cluster, err := a.clusterOf(c)
	if err != nil || cluster == nil || cluster.Registry == nil || !cluster.Registry.Authenticate || len(c.StringSlice("kit")) > 0 {
		return nil, err // a kit asks for no login
	}
	user, password := a.getenv("REGISTRY_USERNAME"), a.getenv("REGISTRY_PASSWORD")
	if user == "" || password == "" {
		return nil, usagef("the registry mirror %s in %s requires a login (authenticate: true); set REGISTRY_USERNAME and REGISTRY_PASSWORD", cluster.Registry.Host, cluster.File)
	}
	own := mirrorLogin{cluster.Registry.Host, &authn.Basic{Username: user, Password: password}}
	return authn.NewMultiKeychain(own, oci.DockerKeychain()), nil
}

// mirrorLogin is the login to one host.
type mirrorLogin struct {
	host  string
	login authn.Authenticator
}

// Resolve implements [authn.Keychain].
func (m mirrorLogin) Resolve(at authn.Resource) (authn.Authenticator, error) {
	if at.RegistryStr() == m.host {
		return m.login, nil
	}
	return authn.Anonymous, nil
}
