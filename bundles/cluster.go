package bundles

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"hookbuild/internal/fault"
)

// Cluster is the part of an EKS Anywhere cluster specification that is about the
// HookOS of its machines.
type Cluster struct {
	File, Name string
	// Version is the release of EKS Anywhere, such as "v0.24.1", or "" if the
	// specification does not have it.
	Version string
	// Registry is the registry mirror, or nil without one.
	Registry *RegistryMirror
	// Proxy is the proxy, or nil without one.
	Proxy *Proxy
	// TinkerbellIP is the address of its Tinkerbell, in the TinkerbellDatacenterConfig;
	// the zero address if the specification does not have it.
	TinkerbellIP netip.Addr
	// Datacenter reports whether it has a TinkerbellDatacenterConfig.
	Datacenter bool
	// HookImagesURL and HookISOURL are hookImagesURLPath and hookIsoURL of its
	// TinkerbellDatacenterConfig; "" if it does not have them.
	HookImagesURL, HookISOURL string
	// Actions are the actions of its TinkerbellTemplateConfigs.
	Actions []Action
}

// RegistryMirror is a registryMirrorConfiguration.
type RegistryMirror struct {
	// Host has the form host:port.
	Host string
	// Mirrors are the registries that it mirrors.
	Mirrors []Mirror
	// CA is a certificate authority in PEM format, or "".
	CA string
	// Authenticate reports whether it requires a user name and a password.
	Authenticate bool
	// Unverified reports whether its certificate must not be checked.
	Unverified bool
}

// Proxy is a proxyConfiguration.
type Proxy struct {
	HTTP, HTTPS string // URLs
	None        []string
}

// clusterRegistry is the registry that a mirror without ociNamespaces mirrors.
const clusterRegistry = "public.ecr.aws"

// ReadCluster reads a cluster specification. It may hold several objects, one
// of which is the Cluster.
func ReadCluster(name string) (*Cluster, error) {
	data, err := readFile(name, "name the file of `eksctl anywhere create cluster -f`")
	if err != nil {
		return nil, fmt.Errorf("reading the cluster specification %q: %w", name, err)
	}
	c, err := parseCluster(data)
	if err != nil {
		return nil, fault.Invalidf("reading the cluster specification %q: %w", name, err)
	}
	c.File = name
	return c, nil
}

func parseCluster(data []byte) (*Cluster, error) {
	documents, err := readDocuments([]byte(withoutExpressions(string(data))))
	if err != nil {
		return nil, err
	}
	var c *Cluster
	var actions actionReader
	var hook hookURLs
	datacenter := false
	for _, d := range objects(documents) {
		switch kind := text(d, "kind"); {
		case kind == kindTemplateConfig:
			if err := actions.object(d); err != nil {
				return nil, err
			}
		case kind == kindDatacenterConfig:
			datacenter = true
			if err := hook.read(d); err != nil {
				return nil, err
			}
		case isCluster(d):
			if c != nil {
				return nil, fmt.Errorf("line %d: it has a second Cluster, after %q; name the specification of one cluster", d.Line, c.Name)
			}
			if c, err = readClusterObject(d); err != nil {
				return nil, err
			}
		}
	}
	if c == nil {
		return nil, fmt.Errorf("it has no object of kind Cluster with apiVersion %s/...; name the file of `eksctl anywhere create cluster -f`", group)
	}
	c.Datacenter = datacenter
	c.Actions, c.HookImagesURL, c.HookISOURL, c.TinkerbellIP = actions.All, hook.images, hook.iso, hook.tinkerbell
	return c, nil
}

// isCluster reports whether an object is the Cluster of a cluster specification.
func isCluster(object *yaml.Node) bool {
	return text(object, "kind") == "Cluster" && strings.HasPrefix(text(object, "apiVersion"), group+"/")
}

// objects returns the objects in documents, with those of lists.
func objects(documents []*yaml.Node) []*yaml.Node {
	var all []*yaml.Node
	for _, d := range documents {
		if text(d, "kind") == kindList {
			all = append(all, items(values(d, "items"))...)
			continue
		}
		all = append(all, d)
	}
	return all
}

// hookURLs are the addresses of a site's HookOS and of its Tinkerbell.
type hookURLs struct {
	images, iso string
	tinkerbell  netip.Addr
}

// textField is a key with a text, and where the text goes.
type textField struct {
	key string
	to  *string
}

// read reads a TinkerbellDatacenterConfig.
func (h *hookURLs) read(n *yaml.Node) error {
	spec, err := field{kindDatacenterConfig, n}.get("spec")
	if err != nil || spec == nil {
		return err
	}
	spec.path = "spec"
	for _, f := range []textField{{"hookImagesURLPath", &h.images}, {"hookIsoURL", &h.iso}} {
		value, at, err := spec.text(f.key)
		if err != nil {
			return err
		}
		if value == "" {
			continue
		}
		if u, err := url.Parse(value); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return at.errorf("it is not an http:// or https:// address")
		}
		*f.to = value
	}
	address, at, err := spec.text("tinkerbellIP")
	if err != nil || address == "" {
		return err
	}
	if h.tinkerbell, err = netip.ParseAddr(address); err != nil {
		return at.errorf("%q is not an IP address", address)
	}
	return nil
}

// field is the value at a path of keys, which messages name.
type field struct {
	path string
	*yaml.Node
}

// errorf returns an error with the field's line and path.
func (f field) errorf(format string, args ...any) error {
	return fmt.Errorf("line %d: %s: %w", f.Line, f.path, fmt.Errorf(format, args...))
}

// get returns the field below f, or nil if it is absent or null. A repeated key is an
// error.
func (f field) get(key string) (*field, error) {
	if f.Kind != yaml.MappingNode {
		return nil, f.errorf("it is not a mapping of keys to values")
	}
	found := under(f.Node, key)
	switch {
	case len(found) == 0, len(found) == 1 && found[0].Tag == "!!null":
		return nil, nil
	case len(found) > 1:
		return nil, field{f.path + "." + key, found[1]}.errorf("the key is repeated; it is on line %d already", found[0].Line)
	}
	return &field{f.path + "." + key, found[0]}, nil
}

// text returns the scalar below f as written, or "" if it is absent.
func (f field) text(key string) (string, *field, error) {
	v, err := f.get(key)
	if err != nil || v == nil {
		return "", v, err
	}
	if v.Kind != yaml.ScalarNode {
		return "", v, v.errorf("it is not a single value")
	}
	return v.Value, v, nil
}

func (f field) truth(key string) (bool, error) {
	value, at, err := f.text(key)
	if err != nil || at == nil {
		return false, err
	}
	b, err := strconv.ParseBool(value)
	if err != nil || at.Tag != "!!bool" {
		return false, at.errorf("%q is neither true nor false", value)
	}
	return b, nil
}

// list returns the elements below f, or nil if it is absent.
func (f field) list(key string) ([]field, error) {
	v, err := f.get(key)
	if err != nil || v == nil {
		return nil, err
	}
	if v.Kind != yaml.SequenceNode {
		return nil, v.errorf("it is not a list")
	}
	var all []field
	for i, n := range v.Content {
		all = append(all, field{fmt.Sprintf("%s[%d]", v.path, i), resolved(n)})
	}
	return all, nil
}

var releaseVersion = regexp.MustCompile(`^v\d+\.\d+\.\d+([-+].*)?$`)

func readClusterObject(n *yaml.Node) (*Cluster, error) {
	c := &Cluster{Name: text(n, "metadata", "name")}
	spec, err := field{"Cluster", n}.get("spec")
	if err != nil {
		return nil, err
	}
	if spec == nil {
		return nil, fmt.Errorf("line %d: the Cluster has no spec", n.Line)
	}
	spec.path = "spec"
	version, at, err := spec.text("eksaVersion")
	if err != nil {
		return nil, err
	}
	if version != "" && !releaseVersion.MatchString(version) {
		return nil, at.errorf("%q is not a release such as v0.24.1", version)
	}
	c.Version = version
	if c.Registry, err = readRegistry(spec); err != nil {
		return nil, err
	}
	c.Proxy, err = readProxy(spec)
	return c, err
}

func readRegistry(spec *field) (*RegistryMirror, error) {
	at, err := spec.get("registryMirrorConfiguration")
	if err != nil || at == nil {
		return nil, err
	}
	m := &RegistryMirror{}
	if m.Host, err = readEndpoint(at); err != nil {
		return nil, err
	}
	if m.CA, _, err = at.text("caCertContent"); err != nil {
		return nil, err
	}
	if m.Authenticate, err = at.truth("authenticate"); err != nil {
		return nil, err
	}
	if m.Unverified, err = at.truth("insecureSkipVerify"); err != nil {
		return nil, err
	}
	m.Mirrors, err = readNamespaces(at, m.Host)
	return m, err
}

// readEndpoint returns host:port. The default port is EKS Anywhere's.
func readEndpoint(at *field) (string, error) {
	host, where, err := at.text("endpoint")
	if err != nil {
		return "", err
	}
	if host == "" {
		return "", at.errorf("it has no endpoint; write the mirror's host name or address")
	}
	if strings.ContainsAny(host, "/ @") || strings.Contains(host, ":") && net.ParseIP(host) == nil {
		return "", where.errorf("%q is not a host name or an address; write the port under port, and omit the scheme and the path", host)
	}
	port, where, err := at.text("port")
	if err != nil {
		return "", err
	}
	if port == "" {
		port = "443"
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return "", where.errorf("%q is not a port from 1 to 65535", port)
	}
	return net.JoinHostPort(host, port), nil
}

// readNamespaces returns the mirrored registries as EKS Anywhere does: those in
// ociNamespaces or, without it, public.ecr.aws.
func readNamespaces(at *field, host string) ([]Mirror, error) {
	all, err := at.list("ociNamespaces")
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return []Mirror{{From: clusterRegistry, To: host}}, nil
	}
	var mirrors []Mirror
	for _, f := range all {
		registry, _, err := f.text("registry")
		if err != nil {
			return nil, err
		}
		namespace, _, err := f.text("namespace")
		if err != nil {
			return nil, err
		}
		if registry == "" {
			return nil, f.errorf("it has no registry; add the registry that is mirrored, such as %s", clusterRegistry)
		}
		if slices.ContainsFunc(mirrors, func(m Mirror) bool { return m.From == registry }) {
			return nil, f.errorf("the registry %q is listed already", registry)
		}
		mirrors = append(mirrors, Mirror{From: registry, To: strings.TrimSuffix(host+"/"+strings.Trim(namespace, "/"), "/")})
	}
	return mirrors, nil
}

func readProxy(spec *field) (*Proxy, error) {
	at, err := spec.get("proxyConfiguration")
	if err != nil || at == nil {
		return nil, err
	}
	p := &Proxy{}
	for _, f := range []textField{{"httpProxy", &p.HTTP}, {"httpsProxy", &p.HTTPS}} {
		value, where, err := at.text(f.key)
		if err != nil {
			return nil, err
		}
		if value == "" {
			return nil, at.errorf("it has no %s; EKS Anywhere requires both httpProxy and httpsProxy", f.key)
		}
		if *f.to, err = proxyURL(value); err != nil {
			return nil, where.errorf("%w", err)
		}
	}
	list, err := at.list("noProxy")
	if err != nil {
		return nil, err
	}
	for _, f := range list {
		if f.Kind != yaml.ScalarNode {
			return nil, f.errorf("it is not a single value")
		}
		p.None = append(p.None, f.Value)
	}
	return p, nil
}

// proxyURL adds the scheme, which EKS Anywhere does not require. The error does not
// show the value, which may contain a password.
func proxyURL(value string) (string, error) {
	if !strings.Contains(value, "://") {
		value = "http://" + value
	}
	u, err := url.Parse(value)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", fmt.Errorf("it is not the address of a proxy; write it as host:port")
	}
	return value, nil
}

// Site returns the cluster's action images that are not among images. Own are those
// that can be pulled by the name that a template uses. Missing are messages about
// images without which an action fails, notes about those that depend on the machine.
func (c *Cluster) Site(images []Image) (own List, missing, notes []string) {
	onBoard, pinned := map[string]bool{}, map[string]string{}
	for _, img := range images {
		pinned[withTag(img.Source)] = img.Reference()
		for _, n := range img.EmbedNames {
			onBoard[n] = true
		}
	}
	for _, a := range c.Actions {
		origin := fmt.Sprintf("%s:%d", c.File, a.Line)
		ref := withTag(a.Image)
		switch {
		case a.Image == "" || onBoard[ref]:
			continue
		case strings.Contains(a.Image, "{{"):
			notes = append(notes, fmt.Sprintf("%s: the image %s depends on the machine, so it is not embedded; add it with --image", origin, a.Image))
		case strings.HasPrefix(a.Image, EmbedPrefix):
			missing = append(missing, fmt.Sprintf("%s: %s is not in the bundle, and cannot be pulled by that name; add it with --image SRC=%s", origin, a.Image, a.Image))
		default:
			source := a.Image
			if known := pinned[ref]; known != "" {
				source = known // the bundle's image, under the name that the template uses
			}
			own = append(own, Line{Source: source, Origin: origin})
		}
		onBoard[ref] = true
	}
	return own, missing, notes
}
