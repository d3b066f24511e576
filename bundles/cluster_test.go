package bundles

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"hookbuild/internal/fault"
)

const clusterFile = "../testdata/clusters/mirror.yaml"

func TestReadCluster(t *testing.T) {
	c, err := ReadCluster(clusterFile)
	if err != nil {
		t.Fatal(err)
	}
	got := *c
	got.Actions = nil
	want := Cluster{
		File: clusterFile, Name: "plant", Version: "v0.24.0",
		Registry: &RegistryMirror{
			Host: "mirror.example:5000", CA: "-----BEGIN CERTIFICATE-----\n", Authenticate: true, Unverified: true,
			Mirrors: []Mirror{{"public.ecr.aws", "mirror.example:5000/eks"}, {"registry.example/eks", "mirror.example:5000/copies/eks"}},
		},
		Proxy: &Proxy{HTTP: "http://proxy.example:3128", HTTPS: "http://proxy.example:3129", None: []string{"mirror.example", "10.0.0.0/8"}},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Error(diff)
	}
}

func TestSiteImages(t *testing.T) {
	c, err := ReadCluster(clusterFile)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile("../testdata/bundles/actions.yaml")
	if err != nil {
		t.Fatal(err)
	}
	b, err := Parse(data, "actions.yaml")
	if err != nil {
		t.Fatal(err)
	}
	images, err := b.Images(Options{SourceNames: Drop})
	if err != nil {
		t.Fatal(err)
	}
	own, missing, notes := c.Site(images)
	want := List{
		{Source: images[0].Reference(), Origin: clusterFile + ":37"},
		{Source: "registry.plant.example/tools/raid:2", Origin: clusterFile + ":39"},
	}
	if diff := cmp.Diff(want, own); diff != "" {
		t.Error(diff)
	}
	if len(missing) != 1 || !strings.Contains(missing[0], ":43: 127.0.0.1/embedded/raid is not in the bundle") || len(notes) > 0 {
		t.Errorf("missing are %q, the notes are %q", missing, notes)
	}
}

const clusterHead = "apiVersion: anywhere.eks.amazonaws.com/v1alpha1\nkind: Cluster\nmetadata: {name: c}\nspec:\n"

// TestMirrorWithoutNamespaces checks the defaults of EKS Anywhere: public.ecr.aws,
// port 443.
func TestMirrorWithoutNamespaces(t *testing.T) {
	c, err := parseCluster([]byte(clusterHead + "  registryMirrorConfiguration: {endpoint: 10.0.0.1}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Mirror{{"public.ecr.aws", "10.0.0.1:443"}}, c.Registry.Mirrors); diff != "" || c.Version != "" || c.Proxy != nil {
		t.Errorf("%+v\n%s", c, diff)
	}
}

func TestClusterRefused(t *testing.T) {
	for spec, want := range map[string]string{
		"  eksaVersion: latest\n":                                                                    "line 5: spec.eksaVersion: \"latest\" is not a release",
		"  eksaVersion: [v1]\n":                                                                      "line 5: spec.eksaVersion: it is not a single value",
		"  registryMirrorConfiguration: {port: \"5000\"}\n":                                          "line 5: spec.registryMirrorConfiguration: it has no endpoint",
		"  registryMirrorConfiguration:\n    endpoint: https://m\n":                                  "line 6: spec.registryMirrorConfiguration.endpoint",
		"  registryMirrorConfiguration: {endpoint: m, port: x}\n":                                    "registryMirrorConfiguration.port: \"x\" is not a port",
		"  registryMirrorConfiguration: {endpoint: m, authenticate: 'yes'}\n":                        "authenticate: \"yes\" is neither true nor false",
		"  registryMirrorConfiguration:\n    endpoint: m\n    endpoint: n\n":                         "line 7: spec.registryMirrorConfiguration.endpoint: the key is repeated; it is on line 6 already",
		"  registryMirrorConfiguration: {endpoint: m, ociNamespaces: x}\n":                           "ociNamespaces: it is not a list",
		"  registryMirrorConfiguration: {endpoint: m, ociNamespaces: [{namespace: x}]}\n":            "ociNamespaces[0]: it has no registry",
		"  registryMirrorConfiguration: {endpoint: m, ociNamespaces: [{registry: a},{registry: a}]}": "ociNamespaces[1]: the registry \"a\" is listed already",
		"  proxyConfiguration: {httpProxy: p:1}\n":                                                   "proxyConfiguration: it has no httpsProxy",
		"  proxyConfiguration: {httpProxy: 'u:secret@', httpsProxy: p:1}\n":                          "proxyConfiguration.httpProxy: it is not the address of a proxy",
		"  a: b\n---\n" + clusterHead + "  a: b\n":                                                   "a second Cluster",
	} {
		_, err := parseCluster([]byte(clusterHead + spec))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q", spec, err, want)
		}
	}
	_, err := ReadCluster("../testdata/bundles/actions.yaml")
	if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "actions.yaml") || !strings.Contains(err.Error(), "no object of kind Cluster") {
		t.Error(err)
	}
}

// FuzzCluster checks that mirrors are complete, and that addresses are addresses.
func FuzzCluster(f *testing.F) {
	data, err := os.ReadFile(clusterFile)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(data))
	f.Add(clusterHead + "  registryMirrorConfiguration: {endpoint: m}\n")
	f.Add(clusterHead + "---\nkind: TinkerbellDatacenterConfig\nspec: {hookImagesURLPath: \"http://192.0.2.1\"}\n")
	f.Add("kind: List\nitems:\n- {apiVersion: anywhere.eks.amazonaws.com/v1alpha1, kind: Cluster, spec: {eksaVersion: v0.26.1}}\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseCluster([]byte(text))
		if err != nil {
			return
		}
		for _, address := range []string{c.HookImagesURL, c.HookISOURL} {
			if address != "" && !strings.HasPrefix(strings.ToLower(address), "http") {
				t.Errorf("the address %q", address)
			}
		}
		if c.Registry == nil {
			return
		}
		for _, m := range c.Registry.Mirrors {
			if m.From == "" || !strings.HasPrefix(m.To, c.Registry.Host) {
				t.Errorf("the mirror %+v of %s", m, c.Registry.Host)
			}
		}
	})
}
